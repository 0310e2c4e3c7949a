"""Sentences about a score: its interval with the rows it is based on, and how it compares with a threshold."""

from __future__ import annotations

from core.records import Score, is_worse, sides
from core.text.reasons import sentence
from core.words import THIN, counted, interval, metric_label, number


def interval_text(score: Score | None) -> str:
    """95 % interval with the rows it is based on, for a sentence."""
    if score is None or score.value is None:
        return "not measured" + (f": {sentence(score.reason)}" if score and score.reason else "")
    span = interval(score)
    rows = f"n = {score.n:,}"
    if score.n_effective is not None:
        rows += f", equivalent to {max(1, round(score.n_effective)):,} independent rows"
    return f"95{THIN}% interval {span}, {rows}" if span else rows


def score_state(score: Score | None, threshold: float, metric: str, *, least: int = 0) -> tuple[str, str]:
    """State (well, bad, unknown) and the sentence for it, with the figures behind it.

    Args:
        least: rows below which a score is shown, but not judged.
    """
    label = metric_label(metric)
    if score is None or score.value is None:
        why = f" {sentence(score.reason)}" if score is not None and score.reason else ""
        return (
            "unknown",
            f"**{label} is not measured yet.** It appears with the first labelled rows after the first model.{why}",
        )
    short = is_worse(score.value, threshold, metric)
    wrong, right = sides(metric)
    side = wrong if short else right
    span = interval(score)
    doubt = f" (95{THIN}% interval {span})" if span else ""
    rows = counted(score.n, "labelled row")
    text = f"**{label} is {number(score.value)}** on the newest {rows}{doubt}, {side} the threshold of {threshold:.2f}."
    if score.n < least:
        return "unknown", f"{text} At least {counted(least, 'row')} are needed to compare it with the threshold."
    return ("bad" if short else "well"), text
