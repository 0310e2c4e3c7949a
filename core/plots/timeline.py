"""Charts over time: performance, drift effects, serving versions; and the heading of the performance chart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from core import words
from core.drift.history import DriftTrend
from core.plots.frame import (
    BOTTOM,
    TOP,
    WIDTH,
    Axes,
    Axis,
    EventLike,
    Frame,
    Point,
    Stroke,
    add_events,
    add_threshold,
    cut,
    direct_labels,
    draw_line,
    instant,
    mark_last,
    quiet_line,
    time_ticks,
    wall_time,
)
from core.plots.theme import SMALL, Label, Palette, Scale, figure, mixed, plain, scale, tint, write
from core.records import SERVING, EventKind, Outcome, is_worse, sides
from core.text.vocabulary import EVENTS

MOST_DROPS = 3  # more mean a score that hovers around the threshold, and are not counted individually
TREND_POINTS = 250  # maximum of a feature's line: more would be sent and drawn, but not be visible
LEAST_EVIDENCE, MOST_EVIDENCE = -2, 6  # powers of ten on the axis; values beyond are drawn at the edge
NAMED = 3  # maximum drifted features with their own colour and name


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectSeries:
    """The drift effect of one feature over time."""

    name: str
    at: tuple[datetime, ...]
    effects: tuple[float | None, ...]
    drifted: bool  # drifted at the end
    rows_seen: tuple[int, ...] = ()


Shown = Literal["against_reference", "against_previous", "evidence"]


def trend_series(
    times: Sequence[datetime], trends: Sequence[DriftTrend], shown: Shown = "against_reference"
) -> list[EffectSeries]:
    """One series per feature over the batches; with many batches the largest value of each stretch is shown.

    Args:
        times: instants of the batches.
        shown: the effect against the reference, or against the batch before each one; or the evidence so far.
    """
    step = -(-len(times) // TREND_POINTS) or 1
    starts = range(0, len(times), step)
    ends = tuple(times[min(i + step, len(times)) - 1] for i in starts)
    series = []
    for trend in trends:
        values = getattr(trend, shown)
        effects = tuple(max((v for v in values[i : i + step] if v is not None), default=None) for i in starts)
        newest = bool(trend.alarms and trend.alarms[-1])
        drifted = {"against_reference": newest, "against_previous": False, "evidence": trend.moved}[shown]
        series.append(EffectSeries(name=trend.name, at=ends, effects=effects, drifted=drifted))
    return series


AXES = Axes()


# --- performance --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreHistory:
    """A metric over time, each line in order."""

    measured: Sequence[Point]
    estimated: Sequence[Point] = ()  # without labels; dashed
    never: Sequence[Point] = ()  # score of the first model without retraining
    metric_label: str = "Accuracy"  # name of the measured line in the hover


def performance_over_time(
    scores: ScoreHistory,
    *,
    colors: Palette,
    threshold: float | None = None,
    events: Sequence[EventLike] = (),
    axes: Axes = AXES,
) -> go.Figure:
    """Measured score with its band, the estimates after it, and the score of the first model without retraining.

    Args:
        threshold: the policy's; drawn as a line with its name.

    Raises:
        ValueError: no point has a value.
    """
    points, estimated, never, height = scores.measured, scores.estimated, scores.never, axes.height
    frame = Frame([*points, *estimated, *never], x=axes.x, zone=axes.zone, height=height)
    values = [v for p in [*points, *estimated, *never] for v in (p.value, p.low, p.high) if v is not None]
    limits = cut(scale([*values, *([threshold] if threshold is not None else [])]), values)
    fig = figure(colors, height=height, top=TOP if events else 12, bottom=BOTTOM)
    frame.set_axes(fig, limits, decimals=3)
    labels: list[Label] = []
    for name, line, color, style in (
        ("Never retrained", never, colors.reference, {"dash": "1.4px,3px", "width": 1.4}),
        ("Estimated", estimated, colors.estimated, {"dash": "5px,3px", "width": 2.0}),
        ("Measured", points, colors.current, {"width": 2.2}),
    ):
        if any(p.value is not None for p in line):
            shown = plain(scores.metric_label) if name == "Measured" else name
            stroke = Stroke(name=shown, color=color, style=style, band=name != "Never retrained")
            last = draw_line(fig, frame, line, stroke)
            ink = colors.muted if name == "Never retrained" else color
            labels.append(
                Label(
                    f"{name} {words.number_on_chart(last.value or 0.0)}",
                    ink,
                    frame.px(last),
                    frame.py(last.value, limits),
                )
            )
    if any(p.value is not None for p in points):
        mark_last(fig, frame, points, colors)
    if threshold is not None:
        no_room_below = threshold - limits.low < 0.1 * (limits.high - limits.low)
        add_threshold(
            fig, threshold, f"Threshold {threshold:.2f}", colors=colors, color=colors.bad, above=no_room_below
        )
    direct_labels(fig, frame, limits, labels, [(points, 1.0), (estimated, 0.7), (never, 0.3)], threshold)
    add_events(fig, events, frame=frame, colors=colors, floor=limits.low)
    return fig


def performance_finding(
    points: Sequence[Point],
    events: Sequence[EventLike] = (),
    threshold: float | None = None,
    *,
    metric: str = "accuracy",
) -> str:
    """The heading of the performance chart: how often the score was worse than the threshold, and whether a new model helped.

    `Accuracy fell below 0.70 twice and recovered with a new model both times`.
    """
    label = words.metric_label(metric)
    known = [p for p in points if p.value is not None]
    if not known:
        return f"{label} has not been measured yet"
    last = known[-1].value or 0.0
    if threshold is None:
        return f"{label} is {words.number_on_chart(last)}"
    bad = [is_worse(p.value or 0.0, threshold, metric) for p in known]
    side, good = sides(metric)
    limit = f"{threshold:.2f}"
    if not any(bad):
        return f"{label} has always been {good} {limit}, now {words.number_on_chart(last)}"
    if all(bad):
        return f"{label} has always been {side} {limit}, now {words.number_on_chart(last)}"
    starts, ends = _drops(bad)
    if len(starts) > MOST_DROPS:
        return f"{label} was {side} {limit} in {sum(bad)} of {len(bad)} measurements, now {words.number_on_chart(last)}"
    verb = "fell below" if side == "below" else "rose above"
    text = f"{label} {verb} {limit} {_times(len(starts))}"
    recovered = [e for e in ends if e is not None]
    helped = sum(_new_model_between(known, s, e, events) for s, e in zip(starts, ends, strict=True) if e is not None)
    if ends[-1] is None:
        return f"{text} and is still {side} it: {words.number_on_chart(last)}"
    if not helped:
        return f"{text} and recovered with the same model"
    if helped < len(recovered):
        return f"{text} and recovered, {_times(helped)} with a new model"
    each = {1: "", 2: " both times"}.get(helped, " each time")
    return f"{text} and recovered with a new model{each}"


def _drops(bad: Sequence[bool]) -> tuple[list[int], list[int | None]]:
    """Start of each bad stretch, and the first good position after it (None = none yet)."""
    starts = [i for i, b in enumerate(bad) if b and (i == 0 or not bad[i - 1])]
    return starts, [next((j for j in range(i, len(bad)) if not bad[j]), None) for i in starts]


def _new_model_between(points: Sequence[Point], start: int, end: int, events: Sequence[EventLike]) -> bool:
    """Whether another model served between the last good score before a drop and the first good one after it."""
    first, last = points[max(0, start - 1)], points[end]
    versions = [p.version for p in points[max(0, start - 1) : end + 1] if p.version is not None]
    return len(set(versions)) > 1 or any(e.kind in SERVING and first.at <= e.at <= last.at for e in events)


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


# --- drift --------------------------------------------------------------------------------------------------------


def effect_over_time(
    series: Sequence[EffectSeries],
    gate: float,
    events: Sequence[EventLike] = (),
    *,
    colors: Palette,
    height: int = 286,
    x: Axis = "time",
    zone: str | None = None,
) -> go.Figure:
    """Drift effect of each feature against the reference: drifted ones coloured and named, the others grey.

    Raises:
        ValueError: no feature was ever tested.
    """
    values = [e for s in series for e in s.effects if e is not None]
    top = scale([0.0, gate * 1.3, *values], floor=0.0, pad=0.16)
    limit = _Limit(value=gate, text=f"Minimum effect {gate:.2f}", scale=Scale(0.0, top.high, top.step))
    frame = Frame([p for s in series for p in _effect_points(s)], x=x, zone=zone, height=height)
    return _features_over_time(series, limit, frame, events, colors=colors)


def evidence_over_time(
    series: Sequence[EffectSeries],
    needed: float,
    events: Sequence[EventLike] = (),
    *,
    colors: Palette,
    height: int = 286,
    zone: str | None = None,
) -> go.Figure:
    """The evidence on each feature after each batch, in powers of ten: features that have shifted coloured and named.

    Raises:
        ValueError: no feature was ever tested.
    """
    low, high = LEAST_EVIDENCE, MOST_EVIDENCE
    logs = [
        replace(
            s, effects=tuple(None if e is None else math.log10(min(max(e, 10.0**low), 10.0**high)) for e in s.effects)
        )
        for s in series
    ]
    top = max([math.log10(needed) + 1.0, *(e for s in logs for e in s.effects if e is not None)])
    limits = Scale(float(low), min(math.ceil(top), high) + 0.3, 1.0)
    frame = Frame([p for s in logs for p in _effect_points(s)], x="time", zone=zone, height=height)
    limit = _Limit(
        value=math.log10(needed),
        text=f"Alarm at {needed:g}",
        scale=limits,
        label=lambda value: words.number_on_chart(10.0**value),
    )
    fig = _features_over_time(logs, limit, frame, events, colors=colors)
    steps = range(low, int(limits.high) + 1, 2)
    fig.update_yaxes(tickmode="array", tickvals=list(steps), ticktext=[f"{10.0**n:,.10g}" for n in steps])
    for trace in fig.data:
        if trace.hovertemplate:
            hovers = [["" if y is None else words.number_on_chart(10.0**y)] for y in trace.y]
            name = trace.hovertemplate.split(" <b>")[0]
            trace.update(customdata=hovers, hovertemplate=f"{name} <b>%{{customdata[0]}}</b><extra></extra>")
    return fig


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """The limit that the lines are compared with, and the axis for both."""

    value: float
    text: str
    scale: Scale
    label: Callable[[float], str] = "{:.2f}".format


def _features_over_time(
    series: Sequence[EffectSeries], limit: _Limit, frame: Frame, events: Sequence[EventLike], *, colors: Palette
) -> go.Figure:
    """One line per feature: those beyond the limit at the end coloured and named, the others grey."""
    lines = {s.name: _effect_points(s) for s in series}
    fig = figure(colors, height=frame.height, top=TOP if events else 12, bottom=BOTTOM)
    frame.set_axes(fig, limit.scale, decimals=2)

    def newest(s: EffectSeries) -> float:
        return next((e for e in reversed(s.effects) if e is not None), 0.0)

    drifted = sorted((s for s in series if s.drifted), key=newest, reverse=True)
    named = drifted[:NAMED]
    labels: list[Label] = []
    budget = max(2, 2_000 // max(1, len(series)))
    for s in [s for s in series if s not in named]:
        color = tint(colors.watch, 0.45) if s.drifted else tint(colors.reference, 0.55)
        quiet_line(fig, frame, lines[s.name], color, budget)
    for s, color in reversed(list(zip(named, (colors.current, colors.second, colors.text), strict=False))):
        last = draw_line(
            fig,
            frame,
            lines[s.name],
            Stroke(name=plain(s.name, at_most=30), color=color, style={"width": 2.0}, band=False, decimals=2),
        )
        labels.append(
            Label(
                f"{plain(s.name, at_most=24)} {limit.label(last.value or 0.0)}",
                color,
                frame.px(last),
                frame.py(last.value, limit.scale),
            )
        )
    others = len(series) - len(drifted)
    more = len(drifted) - len(named)
    add_threshold(fig, limit.value, limit.text, colors=colors, color=colors.watch, above=True)
    direct_labels(fig, frame, limit.scale, labels[::-1], [(lines[s.name], 1.0) for s in named], limit.value)
    rest = " · ".join(t for t in (f"{more} more drifted" if more else "", f"{others} steady" if others else "") if t)
    if rest and named:
        write(fig, colors, rest, 1, 0, xref="paper", yref="paper", xanchor="right", yanchor="bottom", yshift=4)
    add_events(fig, events, frame=frame, colors=colors, floor=limit.scale.low)
    return fig


def _effect_points(series: EffectSeries) -> list[Point]:
    rows = series.rows_seen or (0,) * len(series.at)
    return [Point(at=a, value=e, rows_seen=r) for a, e, r in zip(series.at, series.effects, rows, strict=True)]


# --- versions -----------------------------------------------------------------------------------------------------


def versions(
    spans: Sequence[tuple[int, datetime, datetime | None, str, str | None]],
    *,
    now: datetime,
    colors: Palette,
    height: int = 130,
    zone: str | None = None,
) -> go.Figure:
    """Which version served when: a bar per span, its label inside where it fits, hatched when it began with a rollback.

    Args:
        spans: version, from, to (None = still serving), event, reason; in order.

    Raises:
        ValueError: no span.
    """
    if not spans:
        raise ValueError("No version has served yet: there is nothing to draw.")
    fig = figure(colors, height=height, top=14, bottom=BOTTOM, hover="closest")
    here = ZoneInfo(zone or "UTC")
    first, last = spans[0][1], max([now, *(to for _, _, to, _, _ in spans if to is not None)])
    total = max((last - first).total_seconds(), 1.0)
    for i, (version, start, end, event, reason) in enumerate(spans):
        seconds = max(((end or last) - start).total_seconds(), 0.0)
        serving = end is None
        color = colors.current if serving else mixed(colors.current, colors.page, (0.42, 0.26)[i % 2])
        until = "now" if serving else instant((end or last).astimezone(here))
        fits = seconds / total * WIDTH > 8 * len(f"v{version}") + 6
        fig.add_bar(
            x=[max(seconds, total * 0.003) * 1000],
            base=[wall_time(start, here)],
            y=["serving"],
            orientation="h",
            width=0.62,
            marker={
                "color": color,
                "line": {"width": 1, "color": colors.page},
                "pattern": {
                    "shape": "/" if event == Outcome.ROLLED_BACK else "",
                    "fgcolor": colors.page,
                    "size": 7,
                    "fillmode": "overlay",
                },
            },
            text=f"<b>v{version}</b>" if serving else f"v{version}",
            textposition="inside" if fits else "none",
            insidetextanchor="middle",
            textfont={"size": SMALL, "color": colors.page if serving else colors.text},
            hovertemplate=(
                f"v{version}, {instant(start.astimezone(here))} to {until}"
                f"<br>{EVENTS[EventKind(event)].words if event in EVENTS else plain(event)}"
                + (f": {plain(reason, at_most=70)}" if reason else "")
                + "<extra></extra>"
            ),
        )
    fig.update_layout(barmode="overlay", bargap=0)
    fig.update_xaxes(type="date", **time_ticks(first.astimezone(here), last.astimezone(here)))
    fig.update_yaxes(visible=False)
    return fig
