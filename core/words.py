"""How numbers, instants and names are written for people: the same way on every page and chart. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

from core.records import Evidence, Score

MINUS, DASH, THIN = "\u2212", "\u2013", "\u202f"
ABSENT = DASH
# What a reader of markdown makes a link of by itself, also where signs are escaped: addresses, www. and mail.
_LINK = re.compile(r":(?=//)|www(?=\.)|@(?=\w)", re.IGNORECASE)
JOINER = "\u2060"  # no width, no break
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~$:^-])")
METRIC_LABELS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "kappa": "Cohen's kappa",
    "macro_f1": "Macro F1",
    "mcc": "Matthews correlation",
    "log_loss": "Log-loss",
    "brier": "Brier score",
    "roc_auc": "ROC AUC",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R\u00b2",
}
IN_POINTS = {"accuracy", "balanced_accuracy", "macro_f1"}  # differences of these are told in points of a hundred


def metric_label(metric: str) -> str:
    """A metric's name for people."""
    return METRIC_LABELS.get(metric, metric)


def plain(text: object) -> str:
    """Text of a user's own (names, labels, files) with every sign that markdown would act on taken literally."""
    return _MARKDOWN.sub(r"\\\1", _LINK.sub(rf"\g<0>{JOINER}", str(text).replace("\n", " ")))


def count(n: int) -> str:
    """5912 -> 5,912."""
    return f"{n:,}"


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun: 1 row, 2 rows."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def number(value: float | None) -> str:
    """A score: three decimals below a hundred, fewer above, powers of ten far above or below; absent as a dash."""
    if value is None:
        return ABSENT
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        text = f"{value:.4g}"
    else:
        text = f"{value:.3f}" if size < 100 else f"{value:,.1f}"
    return text.replace("-", MINUS)


def odds(evidence: float) -> str:
    """Evidence as "x : 1": two digits that count, whole numbers from ten on."""
    if evidence >= 1e6:
        return "over a million : 1"
    return f"{evidence:,.0f} : 1" if evidence >= 10 else f"{evidence:.2g} : 1"


def score(found: Score | None) -> str:
    """A score's value."""
    return number(found.value if found else None)


def interval(found: Score | None) -> str | None:
    """0.860-0.915; None when there is none."""
    if found is None or found.low is None or found.high is None:
        return None
    return f"{number(found.low)}{DASH}{number(found.high)}"


def interval_text(found: Score | None) -> str:
    """95 % interval with the rows it rests on, for a sentence."""
    if found is None or found.value is None:
        return "not measured" + (f": {found.reason}" if found and found.reason else "")
    span = interval(found)
    rows = f"n = {found.n:,}"
    if found.n_effective is not None:
        rows += f", as much as {max(1, round(found.n_effective)):,} independent rows"
    return f"95{THIN}% interval {span}, {rows}" if span else rows


def points(value: float | None, metric: str) -> str:
    """A signed difference of two scores: +4.1 points, or +0.041 where a metric is no share."""
    if value is None:
        return ABSENT
    text = f"{value * 100:+.1f} points" if metric in IN_POINTS else f"{value:+.3f}"
    return text.replace("-", MINUS)


def share(value: float | None) -> str:
    """0.383 -> 38 %."""
    return ABSENT if value is None else f"{value * 100:.0f}{THIN}%"


def seconds(value: float) -> str:
    """A duration in its natural unit."""
    if value < 10:
        return f"{value:.1f}{THIN}s"
    if value < 120:
        return f"{value:.0f}{THIN}s"
    if value < 7200:
        return f"{value / 60:.0f}{THIN}min"
    return f"{value / 3600:.0f}{THIN}h" if value < 172_800 else f"{value / 86_400:.0f} days"


def ago(at: datetime, now: datetime, zone: tzinfo) -> str:
    """Under a day relative ("4 minutes ago"), else "21 Nov, 14:05"; a year only when it is another one."""
    passed = now - at
    if timedelta(0) <= passed < timedelta(days=1):
        minutes = int(passed.total_seconds() // 60)
        if minutes < 1:
            return "just now"
        return f"{counted(minutes, 'minute')} ago" if minutes < 60 else f"{counted(minutes // 60, 'hour')} ago"
    local = at.astimezone(zone)
    year = f" {local.year}" if local.year != now.astimezone(zone).year else ""
    return f"{local.day} {local:%b}{year}, {local:%H:%M}"


LOWER_IS_BETTER = {"log_loss", "brier", "mae", "rmse"}


def standing(found: Score | None, threshold: float, metric: str, *, least: int = 0) -> tuple[str, str]:
    """State (well, bad, unknown) and the sentence that tells it with the figures it rests on.

    Args:
        least: rows below which a score is shown, but not judged.
    """
    label = metric_label(metric)
    if found is None or found.value is None:
        why = f" {found.reason}" if found is not None and found.reason else ""
        return (
            "unknown",
            f"**{label} is not measured yet.** It appears with the first labelled rows after the first model.{why}",
        )
    short = found.value > threshold if metric in LOWER_IS_BETTER else found.value < threshold
    side = (
        ("above" if metric in LOWER_IS_BETTER else "below")
        if short
        else ("below" if metric in LOWER_IS_BETTER else "above")
    )
    span = interval(found)
    doubt = f" (95{THIN}% interval {span})" if span else ""
    rows = counted(found.n, "labelled row")
    sentence = (
        f"**{label} is {number(found.value)}** on the newest {rows}{doubt}, {side} the threshold of {threshold:.2f}."
    )
    if found.n < least:
        return "unknown", f"{sentence} It is judged from {counted(least, 'row')} on."
    return ("bad" if short else "well"), sentence


def wall(at: datetime | None, zone: tzinfo) -> datetime | None:
    """Wall time in the zone without its name, as tables take it; absent stays absent."""
    return None if at is None else at.astimezone(zone).replace(tzinfo=None)


def set_aside(evidence: Evidence | None) -> tuple[str, ...]:
    """A sentence for each batch that a check could not score or read."""
    return tuple(
        f"Batch {entry['batch']} is set aside, its rows are not measured: {entry['cause']}"
        + (" Undo it, correct its rows and store them again." if entry["code"] == "batch_not_scored" else "")
        for entry in (evidence.set_aside if evidence else ())
    )
