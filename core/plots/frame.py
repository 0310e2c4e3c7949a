"""Shared parts of the charts over time: points and events and how they are drawn, lines with bands, direct labels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from core import words
from core.plots.theme import SMALL, Label, Palette, Scale, place, plain, thin, tint, write
from core.records import EventKind, Score
from core.text.vocabulary import EVENTS

Axis = Literal["time", "rows"]
WIDTH = 560  # assumed width of a chart in pixels when texts are placed; approximate is enough
NARROW = 0.6  # signs and names are placed as if the chart were narrower by this factor, as on a phone
TOP, BOTTOM = 34, 28  # margins: the row of signs above, the ticks below


class EventLike(Protocol):
    """Anything with an instant, a position and a kind: `Event`, or the loop's own events."""

    @property
    def at(self) -> datetime: ...
    @property
    def rows_seen(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def text(self) -> str: ...


class MeasurementLike(Protocol):
    """A stored measurement."""

    @property
    def at(self) -> datetime: ...
    @property
    def rows_seen(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def model_version(self) -> int | None: ...
    @property
    def scores(self) -> dict[str, Score]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a line over time. None is a gap."""

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    version: int | None = None
    rows_seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of an EventKind."""

    at: datetime
    kind: str
    text: str = ""
    rows_seen: int = 0


def points_of(history: Sequence[MeasurementLike], metric: str) -> list[Point]:
    """The points of one metric; measurements that lack it, or could not determine it, are gaps."""
    empty = Score(metric=metric, value=None)
    return [
        Point(at=m.at, value=s.value, low=s.low, high=s.high, n=m.n, version=m.model_version, rows_seen=m.rows_seen)
        for m in history
        for s in (m.scores.get(metric, empty),)
    ]


# --- axes ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """Size and units of a chart over time."""

    x: Axis = "time"  # instants, or the number of rows seen (if rows arrived faster than a time axis can show)
    height: int = 250  # pixels
    zone: str | None = None  # time zone of displayed instants; None = UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """How a line is drawn."""

    name: str  # name in its hover
    color: str
    style: Mapping[str, Any]  # plotly's settings: width, dash
    band: bool = True  # drawn with its interval
    decimals: int = 3


class Frame:
    """Maps instants or row counts to the x axis, and both axes to pixels for placing texts."""

    def __init__(self, points: Sequence[Point], *, x: Axis, zone: str | None, height: int) -> None:
        known = [p for p in points if p.value is not None]
        if not known:
            raise ValueError("No point has a value: there is nothing to draw.")
        self.by_rows = x == "rows"
        self.zone = ZoneInfo(zone or "UTC")
        self.first = min(self.number(p) for p in known)
        self.last = max(self.number(p) for p in known)
        self.height = height
        self.plot_height = float(height - TOP - BOTTOM)

    def number(self, p: Point | EventLike) -> float:
        """Position as a number: rows, or seconds."""
        return float(p.rows_seen) if self.by_rows else p.at.timestamp()

    def value(self, p: Point | EventLike) -> Any:
        """Position as plotly expects it: instants as wall time of the zone."""
        return p.rows_seen if self.by_rows else wall_time(p.at, self.zone)

    def px(self, p: Point | EventLike) -> float:
        span = self.last - self.first
        return (self.number(p) - self.first) / span * WIDTH if span else WIDTH / 2

    def py(self, value: float | None, limits: Scale) -> float:
        return ((value or 0.0) - limits.low) / (limits.high - limits.low) * self.plot_height

    def set_axes(self, fig: go.Figure, limits: Scale, *, decimals: int) -> None:
        """Range and ticks of both axes."""
        fig.update_yaxes(**limits.axis(least_decimals=2), hoverformat=f".{decimals}f")
        if self.by_rows:
            pad = max(1.0, (self.last - self.first) * 0.005)
            one = self.first == self.last
            ticks = {"tickvals": [self.last]} if one else {"nticks": 6}
            fig.update_xaxes(range=[self.first - pad, self.last + pad], tickformat=",d", hoverformat=",d", **ticks)
            fig.update_xaxes(
                ticksuffix=" rows",
                showticksuffix="all" if one else "last",
                unifiedhovertitle={"text": "%{x:,d} rows seen"},
            )
            return
        first, last = (datetime.fromtimestamp(s, tz=UTC).astimezone(self.zone) for s in (self.first, self.last))
        pad_t = max(timedelta(seconds=1), (last - first) * 0.005)
        fig.update_xaxes(
            type="date",
            range=[(first - pad_t).replace(tzinfo=None), (last + pad_t).replace(tzinfo=None)],
            **time_ticks(first, last),
        )


def wall_time(at: datetime, zone: ZoneInfo) -> datetime:
    """Wall time in the zone, which is what plotly writes."""
    return at.astimezone(zone).replace(tzinfo=None)


def instant(at: datetime) -> str:
    return f"{at.day} {at:%b, %H:%M}"


def time_ticks(first: datetime, last: datetime) -> dict[str, Any]:
    """Tick and hover formats for a span of time."""
    span = last - first
    if span > timedelta(days=300):
        form = "%b %Y"
    elif span > timedelta(days=4):
        form = "%-d %b"
    elif span > timedelta(hours=20):
        form = "%-d %b, %H:%M"
    else:
        form = "%H:%M" if span > timedelta(minutes=10) else "%H:%M:%S"
    year = " %Y" if span > timedelta(days=300) else ""
    return {"tickformat": form, "hoverformat": f"%-d %b{year}, %H:%M", "nticks": 7}


def cut(limits: Scale, values: Sequence[float]) -> Scale:
    """The axis without room above 1 for scores that cannot exceed it, or below 0 for those that cannot fall below."""
    high = min(limits.high, 1.01) if max(values) <= 1.0 else limits.high
    low = max(limits.low, -0.01) if min(values) >= 0.0 else limits.low
    return Scale(low, high, limits.step)


def draw_line(
    fig: go.Figure,
    frame: Frame,
    points: Sequence[Point],
    stroke: Stroke,
) -> Point:
    """A line, its band under it, and its hover; returns its last point with a value."""
    thinned = [points[i] for i in thin([p.value for p in points], 900 if stroke.band else 2_000)]
    xs = [frame.value(p) for p in thinned]
    if stroke.band:
        _band(fig, frame, thinned, stroke.color)
    fig.add_scatter(
        x=xs,
        y=[p.value for p in thinned],
        mode="lines" if sum(p.value is not None for p in thinned) > 1 else "markers",
        line={"color": stroke.color, "shape": "linear", **stroke.style},
        marker={"color": stroke.color, "size": 5},
        customdata=[[_detail(p)] for p in thinned],
        hovertemplate=f"{stroke.name} <b>%{{y:.{stroke.decimals}f}}</b>%{{customdata[0]}}<extra></extra>",
        connectgaps=False,
    )
    return next(p for p in reversed(points) if p.value is not None)


def _band(fig: go.Figure, frame: Frame, points: Sequence[Point], color: str) -> None:
    """The interval around a line, one closed shape per stretch without gaps."""
    stretch: list[Point] = []
    for p in [*points, None]:
        if p is not None and p.low is not None and p.high is not None:
            stretch.append(p)
            continue
        if len(stretch) > 1:
            xs = [frame.value(q) for q in stretch]
            fig.add_scatter(
                x=xs + xs[::-1],
                y=[q.high for q in stretch] + [q.low for q in stretch[::-1]],
                mode="lines",
                line={"width": 0},
                fill="toself",
                fillcolor=tint(color, 0.14),
                hoverinfo="skip",
            )
        stretch = []


def quiet_line(fig: go.Figure, frame: Frame, points: Sequence[Point], color: str, budget: int) -> None:
    thinned = [points[i] for i in thin([p.value for p in points], budget)]
    fig.add_scatter(
        x=[frame.value(p) for p in thinned], y=[p.value for p in thinned], mode="lines",
        line={"color": color, "width": 1.1}, hoverinfo="skip",
    )  # fmt: skip


def _detail(p: Point) -> str:
    """Interval, rows and version in the hover."""
    parts = (
        [f"{words.number_on_chart(p.low)}–{words.number_on_chart(p.high)}"]
        if p.low is not None and p.high is not None
        else []
    )
    parts += [f"n = {p.n:,}"] if p.n else []
    parts += [f"v{p.version}"] if p.version is not None else []
    return f" ({', '.join(parts)})" if parts else ""


def mark_last(fig: go.Figure, frame: Frame, points: Sequence[Point], colors: Palette) -> None:
    last = next(p for p in reversed(points) if p.value is not None)
    fig.add_scatter(
        x=[frame.value(last)], y=[last.value], mode="markers", hoverinfo="skip", cliponaxis=False,
        marker={"color": colors.current, "size": 8, "line": {"color": colors.page, "width": 1.5}},
    )  # fmt: skip


def direct_labels(
    fig: go.Figure,
    frame: Frame,
    limits: Scale,
    labels: Sequence[Label],
    lines: Sequence[tuple[Sequence[Point], float]],
    level: float | None = None,
) -> None:
    """Names and last values at the lines' ends, placed where they cover least.

    Args:
        lines: each with a weight for how important it is that all of it stays visible.
        level: of a horizontal line over the whole width.
    """
    taken: list[tuple[float, float, float]] = []
    for line, weight in lines:
        spots = [(frame.px(p) * NARROW, frame.py(p.value, limits), weight) for p in line if p.value is not None]
        # The line between two points counts too: a few positions along it.
        for (x0, y0, _), (x1, y1, _) in itertools.pairwise(spots):
            taken += [(x0 + (x1 - x0) * t / 4, y0 + (y1 - y0) * t / 4, weight) for t in range(4)]
        taken += spots[-1:]
    if level is not None:
        taken += [(WIDTH * NARROW * t / 40, frame.py(level, limits), 0.5) for t in range(41)]
    ordered = sorted(labels, key=lambda label: -label.y)
    narrow = [Label(label.text, label.color, label.x * NARROW, label.y) for label in ordered]
    for label, shift in zip(ordered, place(narrow, taken, height=frame.plot_height), strict=True):
        fig.add_annotation(
            text=label.text, xref="paper", x=label.x / WIDTH, xanchor="right",
            y=limits.low + label.y / frame.plot_height * (limits.high - limits.low), yshift=shift, showarrow=False,
            font={"size": SMALL, "color": label.color}, bgcolor=tint(_ground(fig), 0.82), borderpad=1,
        )  # fmt: skip


def _ground(fig: go.Figure) -> str:
    return str(fig.layout.hoverlabel.bgcolor)


def add_threshold(fig: go.Figure, value: float, text: str, *, colors: Palette, color: str, above: bool = False) -> None:
    """A dashed line over the whole width, its name at the left below it (or above)."""
    fig.add_shape(
        type="line", xref="paper", x0=0, x1=1, y0=value, y1=value,
        line={"color": color, "width": 1.3, "dash": "4px,3px"}, layer="above",
    )  # fmt: skip
    write(
        fig, colors, text, 0, value, xref="paper", xanchor="left", yanchor="bottom" if above else "top",
        yshift=1 if above else -1, color=color,
    )  # fmt: skip


def add_events(fig: go.Figure, events: Sequence[EventLike], *, frame: Frame, colors: Palette, floor: float) -> None:
    """Dotted lines with a sign above the plot; where signs would overlap, the more important stays; among equals, the later.

    Refreshes are frequent routine events: they are small ticks on the axis. Events outside the drawn span are left out.
    """
    inside = [e for e in events if frame.first <= frame.number(e) <= frame.last]
    for event, named in _room(inside, frame):
        mark = EVENTS[EventKind(event.kind)]
        color = getattr(colors, mark.role)
        at = frame.value(event)
        fig.add_shape(
            type="line", x0=at, x1=at, yref="paper", y0=0, y1=1, line={"color": color, "width": 1.1, "dash": "1px,2px"}
        )
        fig.add_annotation(
            text=f"{mark.sign} {plain(event.text, at_most=14)}" if named else mark.sign,
            x=at, yref="paper", y=1, yanchor="bottom", yshift=3, showarrow=False, font={"size": SMALL, "color": color},
            hovertext=f"{instant(event.at.astimezone(frame.zone))}: {mark.words} {plain(event.text)}",
        )  # fmt: skip
    ticks = [e for e in inside if e.kind in EVENTS and EVENTS[EventKind(e.kind)].tick]
    if ticks:
        thinned = ticks[:: max(1, len(ticks) // 500)]
        fig.add_scatter(
            x=[frame.value(e) for e in thinned], y=[floor] * len(thinned), mode="markers", cliponaxis=False,
            marker={"symbol": "line-ns-open", "size": 7, "color": colors.well, "line": {"width": 1.2}},
            hovertemplate=[f"{EVENTS[EventKind(e.kind)].words} {plain(e.text)}<extra></extra>" for e in thinned],
        )  # fmt: skip


def _room(events: Sequence[EventLike], frame: Frame) -> list[tuple[EventLike, bool]]:
    """The events whose sign fits, each with whether its text fits too."""
    fitting: list[tuple[float, float, EventLike, bool]] = []
    drawn = [e for e in events if e.kind in EVENTS and not EVENTS[EventKind(e.kind)].tick]
    for event in sorted(drawn, key=lambda e: (EVENTS[EventKind(e.kind)].rank, -frame.number(e))):
        px = frame.px(event) * NARROW
        text = 8 + 7.0 * len(event.text[:14])
        for named in (True, False) if EVENTS[EventKind(event.kind)].named and event.text else (False,):
            half = (16 + text) / 2 if named else 8.0
            if all(abs(px - other) >= half + width for other, width, _, _ in fitting):
                fitting.append((px, half, event, named))
                break
    return [(event, named) for _, _, event, named in fitting]
