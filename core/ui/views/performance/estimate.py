"""What the newest batch was estimated to score, how far such estimates were off, and whether they are trusted."""

from __future__ import annotations

from collections.abc import Sequence

from core import words
from core.performance.realised import past_error
from core.records import EstimateGrade, EstimatePoint, Score
from core.text import reasons


def sentence(guesses: Sequence[EstimatePoint], metric: str) -> str:
    """All of that in words; nothing where nothing was estimated."""
    if not guesses:
        return ""
    newest = guesses[-1]
    guess = newest.estimates.get(metric)
    if guess is None:
        return f"{words.metric_label(metric)} is not estimated without labels."
    if guess.value is None:
        return f"Not estimated without labels: {words.plain(reasons.sentence(guess.reason).rstrip('.'))}."
    told = _newest(newest, guess, metric)
    error = past_error(guesses, metric)
    if error.value is not None:
        told += f" Such estimates were off by {words.score(error)} on average over {words.counted(error.n, 'batch', 'batches')}."
    grade = newest.trust.get(metric, EstimateGrade())
    if grade.trusted is False:
        why = reasons.why_not_trusted(grade.reason).rstrip(".")
        return f"{told} **Not trusted:** {words.plain(why)}."
    return told if grade.trusted else f"{told} Labels have not graded it yet."


def _newest(newest: EstimatePoint, guess: Score, metric: str) -> str:
    """The estimate itself, and what its labels said if they came."""
    band = f" (95{words.THIN}% band {words.interval(guess)})" if words.interval(guess) else ""
    said = f":violet[**estimated {words.score(guess)}**]{band}"
    if metric in newest.realised:
        return (
            f"Before its labels came, the newest batch was {said}; they said {words.number(newest.realised[metric])}."
        )
    if newest.realised:
        return f"Before its labels came, the newest batch was {said}; those labels alone cannot tell it."
    return f"Without labels so far, the newest {words.counted(newest.n, 'row')} are {said}."


def cell(guess: Score | None) -> str | None:
    """An estimate with its band, for a table; absent when there is none."""
    span = words.interval(guess)
    return f"{words.score(guess)} ({span})" if guess is not None and guess.value is not None and span else None
