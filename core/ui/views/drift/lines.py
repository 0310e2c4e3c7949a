"""The features as lines of a table: what is seen of each, and what the download holds besides."""

from __future__ import annotations

from core.drift.history import Course
from core.records import DriftScore
from core.text.reasons import sentence
from core.ui.views.drift.reading import Seen

Line = dict[str, object]  # by column
STATES = {True: "▲ Drifted", False: "✓ Steady", None: "? Not judged"}
COURSE_BATCHES = 30  # of the small course in the table


def state_of(score: DriftScore) -> str:
    """Drifted, steady or not judged, with its sign."""
    return STATES[score.drifted if score.judged else None]


def shown(seen: Seen) -> list[Line]:
    """The features by what matters, with their course over the batches."""
    courses = _courses(seen)
    return [
        {**_seen_of(seen, score, courses.get(score.name)), "Course": _effects(courses.get(score.name))}
        for score in seen.report.ranked
    ]


def whole(seen: Seen) -> list[Line]:
    """The same for a download: without the course, but with the figures of the test."""
    courses = _courses(seen)
    return [
        {**_seen_of(seen, score, courses.get(score.name)), **_tested(score, courses.get(score.name))}
        for score in seen.report.ranked
    ]


def _courses(seen: Seen) -> dict[str, Course]:
    return {course.name: course for course in seen.course.courses} if seen.course else {}


def _seen_of(seen: Seen, score: DriftScore, course: Course | None) -> Line:
    since = course.since if course else None
    return {
        "Feature": score.name,
        "State": state_of(score),
        "Effect": score.effect,
        "Weight": seen.report.importance.get(score.name) if seen.report.importance else None,
        "Missing": score.miss_rate_current,
        "New": score.new_share,
        "Since": seen.course.batches[since].at if seen.course and since is not None else None,
    }


def _tested(score: DriftScore, course: Course | None) -> Line:
    return {
        "Evidence": next((e for e in reversed(course.evidence) if e is not None), None) if course else None,
        "Gate": score.gate,
        "Test": score.test,
        "Statistic": score.statistic,
        "p": score.p_value,
        "Missing before": score.miss_rate_reference,
        "Vanished": score.vanished_share,
        "Reason": sentence(score.reason),
    }


def _effects(course: Course | None) -> list[float]:
    """Of the newest batches, against the reference."""
    return [effect or 0.0 for effect in course.against_reference[-COURSE_BATCHES:]] if course else []
