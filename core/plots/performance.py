"""Charts of a single point in time: slices, confusion, calibration, a comparison, a race, class probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, overload

import plotly.graph_objects as go

from core import words
from core.performance.arrival import ArrivalCurve
from core.performance.calibration import Calibration
from core.performance.confusion import Confusion
from core.performance.segments import Slice
from core.plots.frame import Point
from core.plots.theme import SMALL, Palette, Scale, figure, mixed, plain, scale, thin, tint, write
from core.records import Candidate, Comparison, EstimatePoint, Score

ROW = 44  # height in pixels of a row with name, dot and interval
MOST_CANDIDATES = 14  # maximum candidates of a race that are drawn
MOST_WRITTEN = 8  # maximum classes of a confusion matrix with numbers in its cells
MOST_STEPS = 200  # maximum steps of the arrival curve that are drawn
UNITS = (
    (172_800.0, 86_400.0, "days"),
    (7_200.0, 3_600.0, "h"),
    (120.0, 60.0, "min"),
    (0.0, 1.0, "s"),
)  # from this many seconds, seconds per unit, unit


def slices(weakest: Sequence[Slice], *, colors: Palette, height: int = 240, lower_is_better: bool = False) -> go.Figure:
    """Score of each slice with its interval against all rows; red where the slice stands out as worse.

    Raises:
        ValueError: no slice.
    """
    if not weakest:
        raise ValueError("There is no slice to draw.")
    overall = weakest[0].overall
    rows = [
        _Row(s.name, s.score, s.low, s.high, colors.bad if s.stands_out else colors.current,
             f"{words.counted(s.n, 'row')}, {words.share_in_finding(s.share)} of all")
        for s in weakest
    ]  # fmt: skip
    ends = [v for s in weakest for v in (s.low, s.high)]
    limits = scale([*ends, overall], pad=0.04, ticks=3)
    if not lower_is_better:
        limits = Scale(limits.low, min(limits.high, 1.0 if max(ends) <= 1 else limits.high), limits.step)
    fig = _rows(rows, limits, colors, max(height, 52 + ROW * len(rows)))
    _vertical(fig, overall, colors, f"all rows {overall:.{_decimals(limits)}f}", limits)
    return fig


def race(candidates: Sequence[Candidate], *, colors: Palette, height: int | None = None) -> go.Figure:
    """Score of each candidate with its interval, in the order given; those with a vote in colour, the others grey.

    Raises:
        ValueError: no candidate was scored.
    """
    scored = [c for c in candidates if c.score.value is not None][:MOST_CANDIDATES]
    if not scored:
        raise ValueError("No candidate was scored: there is nothing to draw.")
    rows = []
    for c in scored:
        value = c.score.value or 0.0
        low = value if c.score.low is None else c.score.low
        high = value if c.score.high is None else c.score.high
        vote = f" · vote {words.share_in_finding(c.weight)}" if c.weight else ""
        rows.append(
            _Row(c.name + vote, value, low, high, colors.current if c.weight else colors.reference,
                 f"{words.counted(c.score.n, 'row')}{f', {c.score.method}' if c.score.method else ''}")
        )  # fmt: skip
    limits = scale([v for r in rows for v in (r.low, r.high)], pad=0.05, ticks=3)
    return _rows(rows, limits, colors, height or 40 + ROW * len(rows))


def comparison(result: Comparison, *, colors: Palette, height: int = 120) -> go.Figure:
    """Challenger minus champion on the same rows, with the interval and the line of no difference.

    Raises:
        ValueError: there is no difference to draw (no champion to compare with).
    """
    difference = result.difference
    if difference is None or difference.value is None:
        raise ValueError("There is no difference to draw: no champion to compare with.")
    value = difference.value
    low = value if difference.low is None else difference.low
    high = value if difference.high is None else difference.high
    color = colors.well if low > 0 else colors.bad if high < 0 else colors.current
    reach = max(abs(low), abs(high), 0.005) * 1.25
    limits = scale([-reach, reach], pad=0.02)
    fig = figure(colors, height=height, top=26, hover="closest")
    fig.update_xaxes({**limits.axis(), "tickformat": f"+.{max(2, limits.decimals)}f"}, showline=False, showgrid=True)
    fig.update_yaxes(visible=False, range=[-1, 1])
    fig.add_shape(type="line", x0=0, x1=0, yref="paper", y0=0, y1=1, line={"color": colors.muted, "width": 1.2})
    _interval(fig, low, high, 0.0, color)
    detail = f"{low:+.3f} to {high:+.3f}, {words.counted(result.n, 'row')}"
    _dot(fig, value, 0.0, color, f"challenger minus champion <b>{value:+.3f}</b><br>{detail}", size=12)
    write(fig, colors, f"<b>{value:+.3f}</b>", value, 0, yshift=16, color=color)
    for text, x, anchor in (("challenger better →", 1, "right"), ("← champion better", 0, "left")):
        write(fig, colors, text, x, 1, xref="paper", yref="paper", xanchor=anchor, yanchor="bottom", yshift=2)
    return fig


def confusion_matrix(table: Confusion, *, colors: Palette, height: int = 240) -> go.Figure:
    """Share of each actual class by predicted class, with the counts below; one hue."""
    k = len(table.classes)
    names = [plain(c, at_most=12) for c in table.classes]
    z = [[0.0 if s is None else s for s in row] for row in table.shares]
    deep = mixed(colors.current, colors.page, 0.72)
    fig = figure(colors, height=max(height, 64 + 34 * k), top=6, bottom=44, hover="closest")
    fig.add_heatmap(
        z=z, x=list(range(k)), y=list(range(k)), zmin=0, zmax=1, xgap=2, ygap=2, showscale=False,
        colorscale=[[0, mixed(colors.current, colors.page, 0.05)], [1, deep]],
        customdata=[[f"{words.counted(n, 'row')} of {names[i]} predicted as {names[j]}" for j, n in enumerate(row)]
                    for i, row in enumerate(table.counts)],
        hovertemplate="<b>%{z:.1%}</b>, %{customdata}<extra></extra>",
    )  # fmt: skip
    # With many classes numbers only fit in the hover. Added all at once: plotly copies the existing ones on each addition.
    fig.layout.annotations = [
        {
            "x": j, "y": i, "showarrow": False,
            "font": {"size": SMALL, "color": colors.text if share < 0.6 or colors.mode == "dark" else "#FFFFFF"},
            "text": f"{words.share_in_finding(share)}<br><span style='font-size:11px'>{table.counts[i][j]:,}</span>",
        }
        for i, row in enumerate(table.shares) if k <= MOST_WRITTEN
        for j, share in enumerate(row) if share is not None
    ]  # fmt: skip
    fig.update_xaxes(
        tickvals=list(range(k)),
        ticktext=names,
        showline=False,
        title=_title("predicted", colors),
        range=[-0.5, k - 0.5],
    )
    fig.update_yaxes(
        tickvals=list(range(k)), ticktext=names, showgrid=False, title=_title("actual", colors), range=[k - 0.5, -0.5]
    )
    return fig


def calibration_curve(curve: Calibration, *, colors: Palette, height: int = 240) -> go.Figure:
    """Observed against predicted probability with intervals; on the diagonal they are equal."""
    if not curve.points:
        raise ValueError("There is no calibration point to draw.")
    xs = [p.predicted for p in curve.points]
    ends = [v for p in curve.points for v in (p.predicted, p.low, p.high)]
    low, high = max(0.0, min(ends) - 0.04), min(1.02, max(ends) + 0.04)
    step = 0.2 if high - low > 0.5 else 0.1
    axis = Scale(low, high, step).axis(percent=True)
    fig = figure(colors, height=height, bottom=44, hover="closest")
    fig.update_xaxes(**axis, title=_title("predicted probability", colors))
    fig.update_yaxes(**axis, title=_title("observed frequency", colors))
    fig.add_shape(
        type="line", x0=low, y0=low, x1=high, y1=high, line={"color": colors.muted, "width": 1.3, "dash": "dot"}
    )
    fig.add_scatter(
        x=xs, y=[p.observed for p in curve.points], mode="lines+markers", line={"color": colors.current, "width": 2},
        marker={"size": 7, "color": colors.current},
        error_y={"type": "data", "symmetric": False, "array": [p.high - p.observed for p in curve.points],
                 "arrayminus": [p.observed - p.low for p in curve.points], "color": tint(colors.current, 0.45),
                 "thickness": 1.5, "width": 0},
        customdata=[f"{p.low:.0%}–{p.high:.0%}, n = {p.n:,}" for p in curve.points],
        hovertemplate="predicted %{x:.0%}, observed <b>%{y:.0%}</b> (%{customdata})<extra></extra>",
    )  # fmt: skip
    for text, x, y, xa, ya in (
        ("above: underconfident", 0, 1, "left", "top"),
        ("below: overconfident", 1, 0, "right", "bottom"),
    ):
        write(fig, colors, text, x, y, xref="paper", yref="paper", xanchor=xa, yanchor=ya, xshift=4 if x == 0 else -4)
    return fig


def label_arrival(curve: ArrivalCurve, *, colors: Palette, height: int = 240) -> go.Figure:
    """Share of the labels that arrived within a given time, with its interval; flat to the end if rows are still waiting.

    Raises:
        ValueError: no label has arrived.
    """
    if not curve.delays_s:
        raise ValueError("No label has arrived yet: there is nothing to draw.")
    last = curve.delays_s[-1]
    end = max(last, min(curve.followed_s, 1.5 * last) if last else curve.followed_s) or 1.0
    size, unit = next((size, unit) for least, size, unit in UNITS if end >= least)
    steps = thin(curve.share_arrived, MOST_STEPS)
    xs = [_short(s) for s in (0.0, *(curve.delays_s[i] / size for i in steps), end / size)]
    shares, low, high = (
        [0.0, *(_short(side[i]) for i in steps), _short(side[-1])]
        for side in (curve.share_arrived, curve.low, curve.high)
    )
    fig = figure(colors, height=height, bottom=44, hover="closest")
    fig.update_xaxes(
        {**scale([0.0, end / size], floor=0.0, pad=0.02).axis(), "title": _title(f"{unit} after the row", colors)}
    )
    fig.update_yaxes(range=[0.0, 1.04], tick0=0.0, dtick=0.25, tickformat=".0%")
    for side, fill in ((low, None), (high, "tonexty")):
        fig.add_scatter(
            x=xs, y=side, mode="lines", line={"width": 0, "shape": "hv"}, hoverinfo="skip", fill=fill,
            fillcolor=tint(colors.current, 0.14),
        )  # fmt: skip
    fig.add_scatter(
        x=xs, y=shares, mode="lines", line={"color": colors.current, "width": 2.2, "shape": "hv"},
        customdata=[f"{a:.0%}–{b:.0%}" for a, b in zip(low, high, strict=True)],
        hovertemplate=f"within %{{x:.3g}} {unit} <b>%{{y:.0%}}</b> (%{{customdata}})<extra></extra>",
    )  # fmt: skip
    if curve.median_s is not None:
        fig.add_shape(
            type="line", x0=curve.median_s / size, x1=curve.median_s / size, y0=0, y1=0.5,
            line={"color": colors.muted, "width": 1.2, "dash": "dot"},
        )  # fmt: skip
        write(fig, colors, "median", curve.median_s / size, 0, xanchor="left", yanchor="bottom", xshift=4)
    arrived = words.share_in_finding(curve.share_arrived[-1])
    above = curve.share_arrived[-1] < 0.8
    write(
        fig, colors, f"<b>{arrived}</b> arrived", 1, curve.share_arrived[-1], xref="paper", xanchor="right",
        yanchor="bottom" if above else "top", yshift=4 if above else -6, color=colors.current,
    )  # fmt: skip
    return fig


def estimated_points(estimates: Sequence[EstimatePoint], metric: str) -> list[Point]:
    """The estimates of one metric as the dashed line of `performance_over_time`; values that could not be estimated are gaps."""
    none = Score(metric=metric, value=None)
    return [
        Point(at=p.at, value=s.value, low=s.low, high=s.high, n=p.n, version=p.model_version, rows_seen=p.rows_seen)
        for p in estimates
        for s in (p.estimates.get(metric, none),)
    ]


def light(points: Sequence[Point]) -> list[Point]:
    """The points with only the digits that a chart shows, which halves the data sent to the browser."""
    return [
        dataclasses.replace(
            p, at=p.at.replace(microsecond=0), value=_short(p.value), low=_short(p.low), high=_short(p.high)
        )
        for p in points
    ]


@overload
def _short(value: float) -> float: ...
@overload
def _short(value: None) -> None: ...
def _short(value: float | None) -> float | None:
    """Five digits of a number; None stays None."""
    return None if value is None else float(f"{value:.5g}")


def probabilities(
    classes: Sequence[Any], chances: Sequence[float], *, colors: Palette, height: int | None = None, most: int = 10
) -> go.Figure:
    """Probability of each class, the most likely first and in colour; classes beyond `most` are summed up.

    Raises:
        ValueError: no class.
    """
    pairs = sorted(zip((str(c) for c in classes), chances, strict=True), key=lambda p: -p[1])
    if not pairs:
        raise ValueError("There is no class to draw.")
    rest = sum(p for _, p in pairs[most:])
    shown = pairs[:most] + ([(f"{len(pairs) - most:,} others", rest)] if len(pairs) > most else [])
    fig = figure(colors, height=height or 16 + 30 * len(shown), top=4, bottom=4, right=54, hover="closest")
    rows = list(range(len(shown)))[::-1]
    fig.add_bar(
        x=[p for _, p in shown], y=rows, orientation="h", width=0.58,
        marker={"color": [colors.current] + [tint(colors.reference, 0.55)] * (len(shown) - 1), "cornerradius": 3},
        text=[f"<b>{words.share_in_finding(p)}</b>" if i == 0 else words.share_in_finding(p) for i, (_, p) in enumerate(shown)],
        textposition="outside", cliponaxis=False, textfont={"color": colors.text, "size": SMALL},
        customdata=[plain(c) for c, _ in shown], hovertemplate="%{customdata}: <b>%{x:.3f}</b><extra></extra>",
    )  # fmt: skip
    fig.update_xaxes(visible=False, range=[0, 1])
    fig.update_yaxes(
        tickvals=rows, ticktext=[plain(c, at_most=20) for c, _ in shown], showgrid=False, tickfont={"color": colors.text},
        range=[-0.6, len(shown) - 0.4],
    )  # fmt: skip
    return fig


# --- rows of name, dot and interval -------------------------------------------------------------------------------


class _Row:
    """One row of a chart of names, dots and intervals."""

    def __init__(self, name: str, value: float, low: float, high: float, color: str, detail: str) -> None:
        self.name, self.value, self.low, self.high, self.color, self.detail = name, value, low, high, color, detail


def _rows(rows: Sequence[_Row], limits: Scale, colors: Palette, height: int) -> go.Figure:
    """The name above its interval at the left edge, the value at the right edge."""
    fig = figure(colors, height=height, top=6, hover="closest")
    fig.update_xaxes(**limits.axis())
    fig.update_yaxes(visible=False, range=[-0.55, len(rows) - 0.35])
    decimals = _decimals(limits)
    for y, row in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
        _interval(fig, row.low, row.high, y, row.color)
        value = f"{row.value:,.{decimals}f}"
        interval = f"{row.low:,.{decimals}f}–{row.high:,.{decimals}f}"
        _dot(fig, row.value, y, row.color, f"{plain(row.name)} <b>{value}</b> ({interval})<br>{row.detail}")
        ink = colors.muted if row.color == colors.reference else row.color
        for text, x, anchor, color in (
            (plain(row.name, at_most=42), 0, "left", colors.text), (f"<b>{value}</b>", 1, "right", ink),
        ):  # fmt: skip
            write(fig, colors, text, x, y, xref="paper", xanchor=anchor, yshift=16, color=color)
    return fig


def _decimals(limits: Scale) -> int:
    """Decimals of values on an axis: one more than its ticks, at most three for scores."""
    return min(3, limits.decimals + 1) if limits.high <= 1.5 else limits.decimals + 1


def _interval(fig: go.Figure, low: float, high: float, y: float, color: str) -> None:
    fig.add_scatter(
        x=[low, high], y=[y, y], mode="lines", line={"color": tint(color, 0.5), "width": 3.5}, hoverinfo="skip"
    )


def _dot(fig: go.Figure, x: float, y: float, color: str, text: str, size: int = 10) -> None:
    fig.add_scatter(
        x=[x], y=[y], mode="markers", marker={"color": color, "size": size}, hovertemplate=f"{text}<extra></extra>"
    )


def _vertical(fig: go.Figure, value: float, colors: Palette, text: str, limits: Scale) -> None:
    """The line for all rows, its name at the bottom on the side with room."""
    fig.add_shape(
        type="line",
        x0=value,
        x1=value,
        yref="paper",
        y0=0,
        y1=1,
        line={"color": colors.muted, "width": 1.4, "dash": "dot"},
    )
    right = value > (limits.low + limits.high) / 2
    write(
        fig, colors, text, value, 0, yref="paper", yanchor="bottom", xanchor="right" if right else "left",
        xshift=-4 if right else 4,
    )  # fmt: skip


def _title(text: str, colors: Palette) -> dict[str, Any]:
    return {"text": text, "font": {"size": SMALL, "color": colors.muted}, "standoff": 6}
