"""Shared parts of all charts: colours, layout, number formats, direct labels, thinning.

Colours are an argument, since the page knows whether it is light or dark. Text from users is escaped, because plotly
interprets texts as a kind of HTML.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

CONFIG: dict[str, Any] = {"displayModeBar": False}
FONT = '"Source Sans", "Source Sans Pro", sans-serif'
FONT_SIZE = 13
SMALL = 12
CHARACTER_PX = 6.3  # mean width at font size SMALL, for placing texts next to each other
LINE_PX = 15.0
MAX_POINTS = 2_000  # maximum of a trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Colours by role. Their contrast with the page is at least 4.5, except `reference`: lines only."""

    mode: str  # light | dark
    text: str
    muted: str
    current: str  # measured, current
    estimated: str
    reference: str  # reference, never retrained: lines only
    second: str
    well: str
    watch: str
    bad: str
    page: str
    card: str
    grid: str
    border: str


LIGHT = Palette(
    mode="light", text="#1B2733", muted="#5B6875", current="#0B5CAD", estimated="#A23B8F", reference="#7C8794",
    second="#C25700", well="#0E7C66", watch="#A15C00", bad="#B3261E", page="#FFFFFF", card="#F4F6F8", grid="#E8ECF0",
    border="#DDE3E9",
)  # fmt: skip
DARK = Palette(
    mode="dark", text="#E6EBF0", muted="#9AA7B4", current="#6CB2F2", estimated="#E7A3DF", reference="#7F8C99",
    second="#FF9D57", well="#4CC9A8", watch="#F2B24B", bad="#FF8A75", page="#11171D", card="#1A222B", grid="#26303A",
    border="#2E3944",
)  # fmt: skip


def palette(mode: str | None) -> Palette:
    """The colours of the page's theme; light when it is unknown."""
    return DARK if mode == "dark" else LIGHT


def tint(color: str, alpha: float) -> str:
    """A `#RRGGBB` colour made transparent."""
    r, g, b = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{alpha:g})"


def mixed(color: str, under: str, share: float) -> str:
    """`share` of one `#RRGGBB` colour over another, opaque."""
    pairs = [(int(color[i : i + 2], 16), int(under[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02X}" for a, b in pairs)


def plain(text: object, *, at_most: int = 0) -> str:
    """A user's text escaped so that plotly shows it literally, cut to `at_most` characters (0 = no limit)."""
    words = str(text)
    if at_most and len(words) > at_most:
        words = words[: at_most - 1] + "…"
    return html.escape(words, quote=False)


def figure(
    colors: Palette,
    *,
    height: int,
    left: int = 8,
    right: int = 8,
    top: int = 12,
    bottom: int = 28,
    hover: str = "x unified",
) -> go.Figure:
    """An empty figure in the house style: transparent, no legend, fixed axes, light grid."""
    axis = {
        "fixedrange": True,
        "gridcolor": colors.grid,
        "linecolor": colors.border,
        "zeroline": False,
        "tickfont": {"color": colors.muted, "size": SMALL},
        "automargin": True,
    }
    return go.Figure(
        layout={
            "template": None,
            "height": height,
            "margin": {"l": left, "r": right, "t": top, "b": bottom, "pad": 2},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": FONT_SIZE, "color": colors.text},
            "showlegend": False,
            "hovermode": hover,
            "hoverlabel": {
                "bgcolor": colors.page, "bordercolor": colors.border,
                "font": {"family": FONT, "size": SMALL, "color": colors.text},
            },
            "dragmode": False,
            "xaxis": {**axis, "showgrid": False, "showline": True},
            "yaxis": {**axis, "showgrid": True, "showline": False},
        }
    )  # fmt: skip


def write(fig: go.Figure, colors: Palette, text: str, x: Any, y: Any, **options: Any) -> None:
    """A direct label on the chart: small, without arrow, on a nearly opaque background."""
    defaults = {
        "showarrow": False,
        "font": {"size": SMALL, "color": options.pop("color", colors.muted), "family": FONT},
        "bgcolor": tint(colors.page, 0.82),
        "borderpad": 1,
    }
    fig.add_annotation(text=text, x=x, y=y, **{**defaults, **options})


# --- axes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """Range and ticks of a value axis."""

    low: float
    high: float
    step: float

    @property
    def decimals(self) -> int:
        """Number of decimals that its ticks need."""
        return max(0, -math.floor(math.log10(self.step) + 1e-9))

    def axis(self, *, percent: bool = False, least_decimals: int = 0) -> dict[str, Any]:
        """The plotly settings of such an axis."""
        first = math.ceil(self.low / self.step - 1e-9) * self.step
        form = f".{max(0, self.decimals - 2)}%" if percent else f",.{max(self.decimals, least_decimals)}f"
        return {"range": [self.low, self.high], "tick0": first, "dtick": self.step, "tickformat": form}


def scale(values: Iterable[float], *, pad: float = 0.08, ticks: int = 4, floor: float | None = None) -> Scale:
    """An axis fitted to the values, with about `ticks` round ticks.

    Args:
        values: at least one, finite.
        floor: the lower end of the axis, if given.
    """
    known = list(values)
    low, high = min(known), max(known)
    span = (high - low) or max(abs(high) * 0.1, 0.01)
    low, high = (low - span * pad if floor is None else floor), high + span * pad
    if high <= low:
        high = low + span
    rough = (high - low) / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / rough)))
    return Scale(low, high, step)


# --- labels that do not cover each other --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Label:
    """A text and its preferred position, in pixels from the plot's lower left corner, right-aligned at x."""

    text: str
    color: str
    x: float
    y: float


def place(labels: Sequence[Label], taken: Sequence[tuple[float, float, float]], *, height: float) -> list[float]:
    """Offset in pixels above (or below) its position for each label, so that it covers least.

    Args:
        taken: points of the lines in the same pixels, and how important (0 to 1) it is that they stay visible.
        height: of the plot.
    """
    boxes: list[tuple[float, float, float]] = []  # left, right, middle
    shifts: list[float] = []
    for label in labels:
        left, right = label.x - CHARACTER_PX * len(label.text) - 4, label.x
        near = [(y, weight) for x, y, weight in taken if left <= x <= right]

        def cost(
            shift: float,
            label: Label = label,
            near: list[tuple[float, float]] = near,
            left: float = left,
            right: float = right,
        ) -> float:
            y = label.y + shift
            covered = min(
                1.0, sum(w * (abs(v - y) < LINE_PX * 0.62) for v, w in near) / 4
            )  # a dip counts as much as a plain
            clash = sum(abs(y - m) < LINE_PX and left < r and right > x for x, r, m in boxes)
            outside = max(0.0, LINE_PX / 2 - y) + max(0.0, y - height + LINE_PX / 2)
            return 10 * clash + 6 * covered + outside + abs(shift) / 14

        shift = min((s * sign for s in (13, 18, 24, 32, 42, 54) for sign in (1, -1)), key=cost)
        shifts.append(shift)
        boxes.append((left, right, label.y + shift))
    return shifts


# --- thinning -----------------------------------------------------------------------------------------------------


def thin(values: Sequence[float | None], at_most: int = MAX_POINTS) -> list[int]:
    """Positions to keep so that a line of at most `at_most` points shows every dip: the lowest and highest of each bucket.

    The first and the last value always stay; a gap (None) remains if it fills its bucket.
    """
    n = len(values)
    if n <= at_most:
        return list(range(n))
    buckets = max(1, (at_most - 2) // 2)
    keep = {0, n - 1}
    for b in range(buckets):
        span = range(1 + b * (n - 2) // buckets, 1 + (b + 1) * (n - 2) // buckets)
        known = [(v, i) for i in span if (v := values[i]) is not None]
        if known:
            keep.update((min(known)[1], max(known)[1]))
        elif len(span):
            keep.add(span[0])
    return sorted(keep)
