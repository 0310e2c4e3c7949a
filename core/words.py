"""How numbers, shares, durations, instants and names are written for people: every format has its one place here. Pure.

Two formats of one kind differ on purpose, and have names of their own: what is shown takes typographic signs and a dash where
there is no value; what findings and decisions say takes plain signs, as it did when such sentences were stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

from core.records import METRICS, Evidence, Score

MINUS, DASH, THIN = "\u2212", "\u2013", "\u202f"
ABSENT = DASH
# What a reader of markdown makes a link of by itself, also where signs are escaped: addresses, www. and mail.
_LINK = re.compile(r":(?=//)|www(?=\.)|@(?=\w)", re.IGNORECASE)
JOINER = "\u2060"  # no width, no break
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~$:^-])")


def metric_label(metric: str) -> str:
    """A metric's name for people."""
    return METRICS[metric].label if metric in METRICS else metric


def metric_in_finding(metric: str) -> str:
    """A metric's name within a sentence: "mean error", "balanced accuracy"."""
    known = METRICS.get(metric)
    return (known.in_finding if known else "") or metric.replace("_", " ")


def metric_in_reason(metric: str) -> str:
    """A metric's name within a reason that is recorded."""
    return METRICS[metric].in_reason or METRICS[metric].label


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


def score(measured: Score | None) -> str:
    """A score's value."""
    return number(measured.value if measured else None)


def interval(measured: Score | None) -> str | None:
    """0.860-0.915; None when there is none."""
    if measured is None or measured.low is None or measured.high is None:
        return None
    return f"{number(measured.low)}{DASH}{number(measured.high)}"


def points(value: float | None, metric: str) -> str:
    """A signed difference of two scores: +4.1 points, or +0.041 where a metric is no share."""
    if value is None:
        return ABSENT
    text = f"{value * 100:+.1f} points" if metric in METRICS and METRICS[metric].in_points else f"{value:+.3f}"
    return text.replace("-", MINUS)


def number_on_chart(value: float) -> str:
    """The same beside a line or an axis, which has one size of numbers: never in powers of ten."""
    return (f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}").replace("-", MINUS)


def signed(value: float) -> str:
    """A difference of scores: +0.04, −0.56."""
    return "0.00" if abs(value) < 0.005 else f"{value:+.2f}".replace("-", MINUS)


def contribution(amount: float) -> str:
    """A feature's part in an answer with its sign, in three figures: +0.21, −1.4."""
    if abs(amount) < 5e-4:
        return "0"
    written = f"{amount:+.3g}" if abs(amount) < 1000 else f"{amount:+,.0f}"
    return written.replace("-", MINUS)


def three_figures(value: float) -> str:
    """A part of an answer, or what it is counted from, in three figures: 0.21, −1.4."""
    return f"{value:,.3g}".replace("-", MINUS)


def share(value: float | None) -> str:
    """0.383 -> 38 %."""
    return ABSENT if value is None else f"{value * 100:.0f}{THIN}%"


def share_as_set(value: float) -> str:
    """A share that somebody has set, with all its digits: `0.2 %`, `30 %`."""
    return f"{value * 100:g} %"


def seconds(value: float) -> str:
    """A duration in its natural unit."""
    if value < 10:
        return f"{value:.1f}{THIN}s"
    if value < 120:
        return f"{value:.0f}{THIN}s"
    if value < 7200:
        return f"{value / 60:.0f}{THIN}min"
    return f"{value / 3600:.0f}{THIN}h" if value < 172_800 else f"{value / 86_400:.0f} days"


def duration(value: float) -> str:
    """Seconds in the largest unit of which there are at least two, spelt out: a policy's own settings."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if value >= 2 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} seconds"


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


# --- findings, which are stored with the results: plain signs, and no rounding to 0 or 100 % ---------------------


def share_in_finding(value: float) -> str:
    """A fraction without decimals: `38 %`; what would read as none or all but is not: `< 1 %`, `> 99 %`."""
    if 0.0 < value <= 0.005:
        return "< 1 %"
    if 0.995 <= value < 1.0:
        return "> 99 %"
    return f"{value:.0%}".replace("%", " %")


def figure(value: float, step: float | None = None) -> str:
    """A number with the decimals that a difference of `step` needs to be seen; of its own size without one."""
    size = abs(step if step else value)
    if size == 0 or not math.isfinite(size):
        return f"{value:,.0f}" if math.isfinite(value) else str(value)
    decimals = (1 if step else 2) - math.floor(math.log10(size))
    if decimals > 6 or abs(value) >= 1e12:
        return f"{value:.3g}"
    text = f"{value:,.{max(0, decimals)}f}"
    return "0" if text.strip("-0.") == "" else text


def plain_score(value: float) -> str:
    """A measured score with three decimals; one too large or too small for them in powers of ten: `1.234e+75`."""
    size = abs(value)
    return f"{value:.3f}" if size == 0 or 1e-4 <= size < 1e6 else f"{value:.4g}"


def change(before: float, after: float) -> str:
    """`24.1 → 29.8`, with as many decimals as the difference needs."""
    step = abs(after - before)
    return f"{figure(before, step)} → {figure(after, step)}"


def share_change(before: float, after: float) -> str:
    """`1 % → 38 %`."""
    return f"{share_in_finding(before)} → {share_in_finding(after)}"


def p_value(p: float) -> str:
    """`p < 0.001`, `p = 0.012`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def listed(names: Sequence[str], *, at_most: int = 3) -> str:
    """`a, b and c`, or `a, b, c and 4 more`."""
    shown = list(names[:at_most])
    if len(names) > at_most:
        return f"{', '.join(shown)} and {len(names) - at_most:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


# --- instants and sentences ------------------------------------------------------------------------------------------


def wall(at: datetime | None, zone: tzinfo) -> datetime | None:
    """Wall time in the zone without its name, as tables take it; absent stays absent."""
    return None if at is None else at.astimezone(zone).replace(tzinfo=None)


def set_aside(evidence: Evidence | None) -> tuple[str, ...]:
    """A sentence for each batch that a check could not score or read."""
    return tuple(
        f"Batch {entry.batch} is skipped and its rows are not measured: {entry.cause}"
        + (" Undo it, correct its rows and store them again." if entry.code == "batch_not_scored" else "")
        for entry in (evidence.set_aside if evidence else ())
    )
