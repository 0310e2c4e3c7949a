"""What is said of a score: its interval with the rows it rests on, and how it stands to a threshold."""

from __future__ import annotations

from core.records import Score, is_worse, sides
from core.text.reasons import sentence
from core.words import THIN, counted, interval, metric_label, number


def interval_text(found: Score | None) -> str:
    """95 % interval with the rows it rests on, for a sentence."""
    if found is None or found.value is None:
        return "not measured" + (f": {sentence(found.reason)}" if found and found.reason else "")
    span = interval(found)
    rows = f"n = {found.n:,}"
    if found.n_effective is not None:
        rows += f", as much as {max(1, round(found.n_effective)):,} independent rows"
    return f"95{THIN}% interval {span}, {rows}" if span else rows


def standing(found: Score | None, threshold: float, metric: str, *, least: int = 0) -> tuple[str, str]:
    """State (well, bad, unknown) and the sentence that tells it with the figures it rests on.

    Args:
        least: rows below which a score is shown, but not judged.
    """
    label = metric_label(metric)
    if found is None or found.value is None:
        why = f" {sentence(found.reason)}" if found is not None and found.reason else ""
        return (
            "unknown",
            f"**{label} is not measured yet.** It appears with the first labelled rows after the first model.{why}",
        )
    short = is_worse(found.value, threshold, metric)
    wrong, right = sides(metric)
    side = wrong if short else right
    span = interval(found)
    doubt = f" (95{THIN}% interval {span})" if span else ""
    rows = counted(found.n, "labelled row")
    said = f"**{label} is {number(found.value)}** on the newest {rows}{doubt}, {side} the threshold of {threshold:.2f}."
    if found.n < least:
        return "unknown", f"{said} It is judged from {counted(least, 'row')} on."
    return ("bad" if short else "well"), said
