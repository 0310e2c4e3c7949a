"""The features as lines of a table: what is shown of each, and what the download has in addition."""

from __future__ import annotations

from core.drift.history import DriftTrend
from core.records import DriftScore
from core.text.reasons import sentence
from core.ui.views.drift.reading import Seen

Line = dict[str, object]  # by column
STATES = {True: "▲ Drifted", False: "✓ Steady", None: "? Not tested"}
TREND_BATCHES = 30  # of the small trend chart in the table


def state_of(score: DriftScore) -> str:
    """Drifted, steady or not tested, with its sign."""
    return STATES[score.drifted if score.judged else None]


def shown(seen: Seen) -> list[Line]:
    """The features by importance, with their trend over the batches."""
    trends = _trends(seen)
    return [
        {**_seen_of(seen, score, trends.get(score.name)), "Trend": _effects(trends.get(score.name))}
        for score in seen.report.ranked
    ]


def whole(seen: Seen) -> list[Line]:
    """The same for a download: without the trend, but with the figures of the test."""
    trends = _trends(seen)
    return [
        {**_seen_of(seen, score, trends.get(score.name)), **_tested(score, trends.get(score.name))}
        for score in seen.report.ranked
    ]


def _trends(seen: Seen) -> dict[str, DriftTrend]:
    return {trend.name: trend for trend in seen.history.trends} if seen.history else {}


def _seen_of(seen: Seen, score: DriftScore, trend: DriftTrend | None) -> Line:
    since = trend.since if trend else None
    return {
        "Feature": score.name,
        "State": state_of(score),
        "Effect": score.effect,
        "Importance": seen.report.importance.get(score.name) if seen.report.importance else None,
        "Missing": score.miss_rate_current,
        "New": score.new_share,
        "Since": seen.history.batches[since].at if seen.history and since is not None else None,
    }


def _tested(score: DriftScore, trend: DriftTrend | None) -> Line:
    return {
        "Evidence": next((e for e in reversed(trend.evidence) if e is not None), None) if trend else None,
        "Minimum effect": score.gate,
        "Test": score.test,
        "Statistic": score.statistic,
        "p": score.p_value,
        "Missing before": score.miss_rate_reference,
        "Vanished": score.vanished_share,
        "Reason": sentence(score.reason),
    }


def _effects(trend: DriftTrend | None) -> list[float]:
    """Of the newest batches, against the reference."""
    return [effect or 0.0 for effect in trend.against_reference[-TREND_BATCHES:]] if trend else []
