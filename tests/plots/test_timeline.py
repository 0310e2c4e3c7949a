"""Charts over time, and the heading that is computed from their points."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go
import pytest

from core.drift.history import DriftTrend
from core.plots import (
    Axes,
    EffectSeries,
    Event,
    Point,
    ScoreHistory,
    effect_over_time,
    palette,
    performance_finding,
    performance_over_time,
    points_of,
    trend_series,
    versions,
)
from core.records import Score
from core.text.vocabulary import EVENTS

COLORS = palette("light")
START = datetime(2026, 10, 13, 12, tzinfo=UTC)


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def line(*values: float | None, version: int | None = None) -> list[Point]:
    return [
        Point(
            at=at(i), value=v, low=None if v is None else v - 0.02, high=None if v is None else v + 0.02, n=500,
            version=version, rows_seen=500 * (i + 1),
        )
        for i, v in enumerate(values)
    ]  # fmt: skip


def texts(fig: go.Figure) -> list[str]:
    return [a.text for a in fig.layout.annotations]


def named(fig: go.Figure, beginning: str) -> Any:
    return next(t for t in fig.data if (t.hovertemplate or "").startswith(beginning))


# --- performance --------------------------------------------------------------------------------------------------


def test_the_chart_draws_every_line_with_its_name_and_last_value() -> None:
    fig = performance_over_time(
        ScoreHistory(measured=line(0.9, 0.85, 0.887), estimated=line(None, None, 0.86), never=line(0.9, 0.7, 0.681)),
        colors=COLORS,
        threshold=0.8,
        events=[Event(at=at(1), kind="promoted", text="v11")],
    )
    assert {"Measured 0.887", "Estimated 0.860", "Never retrained 0.681", "Threshold 0.80", "▲ v11"} == set(texts(fig))
    measured, estimated, never = (named(fig, n) for n in ("Accuracy", "Estimated", "Never retrained"))
    assert list(measured.y) == [0.9, 0.85, 0.887] and measured.customdata[0][0] == " (0.880–0.920, n = 500)"
    assert measured.line.color == COLORS.current and estimated.line.dash == "5px,3px" and never.line.width < 2
    assert fig.layout.paper_bgcolor == "rgba(0,0,0,0)" and not fig.layout.showlegend
    assert fig.layout.xaxis.fixedrange and fig.layout.yaxis.fixedrange and fig.layout.hovermode == "x unified"
    low, high = fig.layout.yaxis.range
    assert 0.5 < low < 0.66 and 0.92 < high <= 1.01


def test_the_axis_is_cut_to_the_data_and_never_beyond_what_scores_can_be() -> None:
    low, high = performance_over_time(
        ScoreHistory(measured=[Point(at=at(i), value=v) for i, v in enumerate((0.97, 0.99, 1.0))]), colors=COLORS
    ).layout.yaxis.range
    assert low > 0.9 and 1.0 < high <= 1.01
    low, high = performance_over_time(ScoreHistory(measured=line(1200.0, 1500.0)), colors=COLORS).layout.yaxis.range
    assert low < 1200 and high > 1500


def test_gaps_stay_gaps() -> None:
    fig = performance_over_time(ScoreHistory(measured=line(0.9, 0.8, None, 0.85, 0.86)), colors=COLORS)
    measured = named(fig, "Accuracy")
    assert measured.y[2] is None and measured.connectgaps is False
    assert sum(t.fill == "toself" for t in fig.data) == 2  # a band on each side of the gap


def test_a_single_point_is_drawn() -> None:
    fig = performance_over_time(ScoreHistory(measured=line(0.75)), colors=COLORS, threshold=0.7, axes=Axes(x="rows"))
    assert list(fig.layout.xaxis.tickvals) == [500] and "Measured 0.750" in texts(fig)


@pytest.mark.parametrize("points", [[], [Point(at=START, value=None)]])
def test_nothing_to_draw_is_an_error(points: list[Point]) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        performance_over_time(ScoreHistory(measured=points), colors=COLORS)


def test_instants_are_written_in_the_readers_zone() -> None:
    fig = performance_over_time(ScoreHistory(measured=line(0.9, 0.8)), colors=COLORS, axes=Axes(zone="Asia/Tokyo"))
    assert named(fig, "Accuracy").x[0].isoformat() == "2026-10-13T21:00:00"
    fig = performance_over_time(ScoreHistory(measured=line(0.9, 0.8)), colors=COLORS, axes=Axes(zone=None))
    assert named(fig, "Accuracy").x[0].isoformat() == "2026-10-13T12:00:00"


@pytest.mark.parametrize(
    ("days", "form"), [(0.001, "%H:%M:%S"), (0.5, "%H:%M"), (2, "%-d %b, %H:%M"), (30, "%-d %b"), (900, "%b %Y")]
)
def test_ticks_suit_the_span(days: float, form: str) -> None:
    points = [Point(at=at(0), value=0.9), Point(at=at(days), value=0.8)]
    assert performance_over_time(ScoreHistory(measured=points), colors=COLORS).layout.xaxis.tickformat == form


def test_many_points_are_thinned_and_the_dip_stays() -> None:
    values = [0.9 + 0.001 * math.sin(i) for i in range(20_000)]
    values[7_777] = 0.31
    points = [Point(at=START + timedelta(minutes=i), value=v) for i, v in enumerate(values)]
    fig = performance_over_time(ScoreHistory(measured=points), colors=COLORS)
    measured = named(fig, "Accuracy")
    assert len(measured.y) <= 2_000 and min(measured.y) == 0.31
    assert len(fig.to_json()) < 400_000


def test_points_of_a_metric_and_gaps_where_it_could_not_be_determined() -> None:
    class Stored:
        def __init__(self, day: int, scores: dict[str, Score]) -> None:
            self.at, self.rows_seen, self.n, self.model_version, self.scores = at(day), 500 * day, 500, 3, scores

    found = points_of(
        [Stored(1, {"accuracy": Score(metric="accuracy", value=0.8, low=0.7, high=0.9)}), Stored(2, {})], "accuracy"
    )
    assert [(p.value, p.low, p.version, p.rows_seen) for p in found] == [(0.8, 0.7, 3, 500), (None, None, 3, 1000)]


# --- events -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind, mark in EVENTS.items() if not mark.tick])
def test_every_kind_of_event_has_its_sign_and_line(kind: str) -> None:
    fig = performance_over_time(
        ScoreHistory(measured=line(*[0.9] * 10)), colors=COLORS, events=[Event(at=at(4), kind=kind, text="v2")]
    )
    mark = EVENTS[kind]
    (sign,) = [a for a in fig.layout.annotations if a.text.startswith(mark.sign)]
    assert sign.text == (f"{mark.sign} v2" if mark.named else mark.sign)
    assert sign.font.color == getattr(COLORS, mark.role) and mark.words in sign.hovertext
    assert sum(s.line.dash == "1px,2px" for s in fig.layout.shapes) == 1


def test_crowded_events_keep_the_weightier_and_among_equals_the_later() -> None:
    events = [Event(at=at(20 + i / 10), kind="promoted", text=f"v{i}") for i in range(5)]
    events += [Event(at=at(20), kind="drift"), Event(at=at(20), kind="retrain"), Event(at=at(5), kind="drift")]
    fig = performance_over_time(ScoreHistory(measured=line(*[0.9] * 40)), colors=COLORS, events=events)
    assert [t for t in texts(fig) if t[0] in "▲◆↻"] == ["▲ v4", "◆"]


def test_refreshes_are_ticks_on_the_axis() -> None:
    events = [Event(at=at(i), kind="refreshed", text=f"v{i}") for i in range(30)]
    fig = performance_over_time(ScoreHistory(measured=line(*[0.9] * 40)), colors=COLORS, events=events)
    ticks = next(t for t in fig.data if t.marker.symbol == "line-ns-open")
    assert len(ticks.x) == 30 and not fig.layout.shapes


def test_events_outside_the_span_or_of_an_unknown_kind_are_left_out() -> None:
    events = [Event(at=at(-3), kind="drift"), Event(at=at(99), kind="promoted"), Event(at=at(1), kind="moon")]
    fig = performance_over_time(ScoreHistory(measured=line(0.9, 0.8, 0.7)), colors=COLORS, events=events)
    assert not fig.layout.shapes and texts(fig) == ["Measured 0.700"]


# --- finding ------------------------------------------------------------------------------------------------------


def switched(*parts: tuple[int, list[float]]) -> list[Point]:
    values = [(v, version) for version, part in parts for v in part]
    return [Point(at=at(i), value=v, version=version) for i, (v, version) in enumerate(values)]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], "Accuracy has not been measured yet"),
        (line(0.9, 0.88), "Accuracy has always been above 0.80, now 0.880"),
        (line(0.7, 0.75), "Accuracy has always been below 0.80, now 0.750"),
        (line(0.9, 0.7, 0.75), "Accuracy fell below 0.80 once and is still below it: 0.750"),
        (line(0.9, 0.7, 0.9, version=1), "Accuracy fell below 0.80 once and recovered with the same model"),
        (switched((1, [0.9, 0.7]), (2, [0.9])), "Accuracy fell below 0.80 once and recovered with a new model"),
        (
            switched((1, [0.9, 0.7]), (2, [0.9, 0.7]), (3, [0.9])),
            "Accuracy fell below 0.80 twice and recovered with a new model both times",
        ),
        (
            switched((1, [0.9, 0.7]), (2, [0.9, 0.7, 0.9])),
            "Accuracy fell below 0.80 twice and recovered, once with a new model",
        ),
        (line(*[0.9, 0.7] * 4), "Accuracy was below 0.80 in 4 of 8 measurements, now 0.700"),
    ],
)
def test_performance_findings(points: list[Point], expected: str) -> None:
    assert performance_finding(points, threshold=0.8) == expected


def test_a_promotion_event_counts_as_a_new_model() -> None:
    events = [Event(at=at(1.5), kind="promoted", text="v2")]
    assert performance_finding(line(0.9, 0.7, 0.9), events, 0.8).endswith("recovered with a new model")


def test_findings_of_errors_turn_around() -> None:
    found = performance_finding(line(1.0, 3.0), threshold=2.0, metric="mae")
    assert found == "Mean absolute error rose above 2.00 once and is still above it: 3.000"
    assert performance_finding(line(0.5), threshold=None) == "Accuracy is 0.500"


# --- drift and versions -------------------------------------------------------------------------------------------


def test_drifted_features_are_named_and_the_others_counted() -> None:
    days = tuple(at(i) for i in range(4))
    series = [
        EffectSeries(name="temperature", at=days, effects=(0.0, 0.1, 0.2, 0.34), drifted=True),
        *[
            EffectSeries(name=f"more{i}", at=days, effects=(0.0, 0.1, 0.1, 0.12 + i / 100), drifted=True)
            for i in range(3)
        ],
        *[EffectSeries(name=f"s{i}", at=days, effects=(0.01, None, 0.02, 0.01), drifted=False) for i in range(5)],
    ]
    fig = effect_over_time(series, 0.1, colors=COLORS)
    assert set(texts(fig)) == {
        "temperature 0.34", "more2 0.14", "more1 0.13", "Minimum effect 0.10", "1 more drifted · 5 steady",
    }  # fmt: skip
    assert fig.layout.yaxis.range[0] == 0.0 and len(fig.data) == 9
    with pytest.raises(ValueError, match="nothing to draw"):
        effect_over_time([], 0.1, colors=COLORS)


def test_trends_are_thinned_by_their_largest_effects_and_keep_their_gaps() -> None:
    n = 1_000
    effects = tuple(0.5 if i == 777 else None if i < 8 else 0.1 for i in range(n))
    trend = DriftTrend(
        name="a", kind="numeric", against_reference=effects, against_previous=(None,) * n,
        alarms=(False,) * (n - 1) + (True,), miss_rates=(0.0,) * n, evidence=(*(None,) * 8, *(0.5,) * (n - 9), 300.0),
    )  # fmt: skip
    (found,) = trend_series([at(i) for i in range(n)], [trend])
    assert len(found.effects) == len(found.at) <= 250 and found.drifted
    assert max(e for e in found.effects if e is not None) == 0.5
    assert found.effects[0] is None and found.at[-1] == at(n - 1)
    (steps,) = trend_series([at(i) for i in range(n)], [trend], "against_previous")
    assert not steps.drifted and set(steps.effects) == {None}
    (evidence,) = trend_series([at(i) for i in range(n)], [trend], "evidence")
    assert evidence.drifted and evidence.effects[-1] == 300.0
    assert trend_series([], []) == []


def test_versions_show_who_served_when() -> None:
    spans = [
        (1, at(0), at(6), "promoted", None),
        (2, at(6), at(9), "promoted", "better by <b>0.02</b>"),
        (1, at(9), None, "rolled_back", "worse than v1"),
    ]
    fig = versions(spans, now=at(12), colors=COLORS)
    assert [b.text for b in fig.data] == ["v1", "v2", "<b>v1</b>"]
    assert [b.marker.pattern.shape for b in fig.data] == ["", "", "/"]
    assert fig.data[1].x[0] == timedelta(days=3) / timedelta(milliseconds=1)
    assert "&lt;b&gt;0.02" in fig.data[1].hovertemplate and "25 Oct, 12:00" not in fig.data[0].hovertemplate
    with pytest.raises(ValueError, match="nothing to draw"):
        versions([], now=at(0), colors=COLORS)
