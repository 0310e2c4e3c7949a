"""The estimated score of the newest batch, the error of past estimates, and whether they are trusted."""

from __future__ import annotations

from collections.abc import Sequence

from core import words
from core.performance.realised import past_error
from core.records import EstimateGrade, EstimatePoint, Score
from core.text import reasons


def sentence(guesses: Sequence[EstimatePoint], metric: str) -> str:
    """All of that in a sentence; empty where nothing was estimated."""
    if not guesses:
        return ""
    newest = guesses[-1]
    guess = newest.estimates.get(metric)
    if guess is None:
        return f"{words.metric_label(metric)} is not estimated without labels."
    if guess.value is None:
        return f"Not estimated without labels: {words.plain(reasons.sentence(guess.reason).rstrip('.'))}."
    text = _newest(newest, guess, metric)
    error = past_error(guesses, metric)
    if error.value is not None:
        text += f" Past estimates were off by {words.score(error)} on average over {words.counted(error.n, 'batch', 'batches')}."
    grade = newest.trust.get(metric, EstimateGrade())
    if grade.trusted is False:
        why = reasons.why_not_trusted(grade.reason).rstrip(".")
        return f"{text} **Not trusted:** {words.plain(why)}."
    return text if grade.trusted else f"{text} It has not been checked against labels yet."


def _newest(newest: EstimatePoint, guess: Score, metric: str) -> str:
    """The estimate itself, and the measured score if its labels have arrived."""
    band = f" (95{words.THIN}% band {words.interval(guess)})" if words.interval(guess) else ""
    estimate = f":violet[**estimated at {words.score(guess)}**]{band}"
    if metric in newest.realised:
        return f"Before its labels arrived, the newest batch was {estimate}; the labels gave {words.number(newest.realised[metric])}."
    if newest.realised:
        return f"Before its labels arrived, the newest batch was {estimate}; those labels alone are not enough to measure it."
    return f"The newest {words.counted(newest.n, 'row')} have no labels yet and are {estimate}."


def cell(guess: Score | None) -> str | None:
    """An estimate with its band, for a table; absent when there is none."""
    span = words.interval(guess)
    return f"{words.score(guess)} ({span})" if guess is not None and guess.value is not None and span else None
