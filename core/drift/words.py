"""How shares, changes, p-values and lists of names are written in findings. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence


def share(value: float) -> str:
    """A fraction without decimals: `38 %`; what would read as none or all but is not: `< 1 %`, `> 99 %`."""
    if 0.0 < value <= 0.005:
        return "< 1 %"
    if 0.995 <= value < 1.0:
        return "> 99 %"
    return f"{value:.0%}".replace("%", " %")


def number(value: float, step: float | None = None) -> str:
    """A number with the decimals that a difference of `step` needs to be seen; of its own size without one."""
    size = abs(step if step else value)
    if size == 0 or not math.isfinite(size):
        return f"{value:,.0f}" if math.isfinite(value) else str(value)
    decimals = (1 if step else 2) - math.floor(math.log10(size))
    if decimals > 6 or abs(value) >= 1e12:
        return f"{value:.3g}"
    text = f"{value:,.{max(0, decimals)}f}"
    return "0" if text.strip("-0.") == "" else text


def score(value: float) -> str:
    """A measured score with three decimals; one too large or too small for them in powers of ten: `1.234e+75`."""
    size = abs(value)
    return f"{value:.3f}" if size == 0 or 1e-4 <= size < 1e6 else f"{value:.4g}"


def change(before: float, after: float) -> str:
    """`24.1 → 29.8`, with as many decimals as the difference needs."""
    step = abs(after - before)
    return f"{number(before, step)} → {number(after, step)}"


def shares(before: float, after: float) -> str:
    """`1 % → 38 %`."""
    return f"{share(before)} → {share(after)}"


def p_value(p: float) -> str:
    """`p < 0.001`, `p = 0.012`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def counted(n: int, what: str) -> str:
    """`1 feature`, `2,000 features`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def listed(names: Sequence[str], *, at_most: int = 3) -> str:
    """`a, b and c`, or `a, b, c and 4 more`."""
    shown = list(names[:at_most])
    if len(names) > at_most:
        return f"{', '.join(shown)} and {len(names) - at_most:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
