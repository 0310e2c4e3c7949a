"""Charts of one moment: what they show is what the records hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from core import plots
from core.drift.distribution import Distribution, distribution
from core.performance.arrival import ArrivalCurve, arrival_curve
from core.performance.calibration import calibration
from core.performance.confusion import confusion
from core.performance.segments import Slice
from core.plots import Point, palette
from core.records import Candidate, Comparison, EstimatePoint, Feature, Score, as_written

LIGHT = palette("light")
EVIL = "<a href='https://example.org'>x</a>"


def texts(fig: go.Figure) -> list[str]:
    return [a.text for a in fig.layout.annotations]


def numbers(shift: float) -> Distribution:
    rng = np.random.default_rng(0)
    a, b = rng.normal(24, 2.5, 2_000), np.r_[rng.normal(24, 2.5, 1_400), rng.normal(24 + shift, 1.5, 600)]
    return distribution(pd.Series(a), pd.Series(b), Feature(name="temperature", kind="numeric"))


def words(reference: list[str], current: list[str]) -> Distribution:
    return distribution(
        pd.Series(reference, dtype="str"), pd.Series(current, dtype="str"), Feature(name="site", kind="categorical")
    )


def slice_of(name: str, score: float, stands_out: bool) -> Slice:
    return Slice(
        name=name, feature="x", n=120, share=0.2, score=score, low=score - 0.05, high=score + 0.04, overall=0.87,
        difference=score - 0.87, stands_out=stands_out,
    )  # fmt: skip


def candidate(name: str, value: float | None, weight: float | None) -> Candidate:
    score = Score(metric="accuracy", value=value, low=value and value - 0.03, high=value and value + 0.03, n=500)
    return Candidate(
        name=name, family="f", window="all", n_rows=1_000, score=score, loss=None, weight=weight, fitted=True
    )


def compared(value: float | None, low: float | None = None, high: float | None = None) -> Comparison:
    score = Score(metric="accuracy", value=0.9)
    difference = None if value is None else Score(metric="accuracy", value=value, low=low, high=high, n=500)
    return Comparison(n=500, metric="accuracy", champion=score, challenger=score, difference=difference)


def arrived(n: int = 400, *, waiting: int = 40, hours: float = 30.0) -> ArrivalCurve:
    """Labels that came one after the other, the rest still waits."""
    now = datetime(2026, 3, 9, tzinfo=UTC)
    came = [now - timedelta(days=9) + timedelta(hours=hours * i / n) for i in range(n - waiting)]
    return arrival_curve([now - timedelta(days=9)] * n, [*came, *[None] * waiting], now)


CHARTS: dict[str, Callable[[Any], go.Figure]] = {
    "numbers": lambda c: plots.distribution_chart(numbers(12), colors=c, unit="°C"),
    "categories": lambda c: plots.distribution_chart(words([EVIL, "b"], ["b", "c"]), colors=c),
    "slices": lambda c: plots.slices([slice_of(EVIL, 0.8, True)], colors=c),
    "race": lambda c: plots.race([candidate(EVIL, 0.8, 0.4)], colors=c),
    "comparison": lambda c: plots.comparison(compared(0.02, 0.01, 0.03), colors=c),
    "confusion": lambda c: plots.confusion_matrix(confusion([EVIL, "b"], ["b", "b"], [EVIL, "b"]), colors=c),
    "calibration": lambda c: plots.calibration_curve(
        calibration(["a"] * 9, np.full((9, 2), 0.5), ["a", "b"]), colors=c
    ),
    "probabilities": lambda c: plots.probabilities([EVIL, "b"], [0.2, 0.8], colors=c),
    "arrival": lambda c: plots.label_arrival(arrived(), colors=c),
}


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_in_the_house_style_and_takes_text_of_users_as_text(name: str, mode: str) -> None:
    fig = CHARTS[name](palette(mode))
    layout = fig.layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)" and not layout.showlegend
    assert layout.xaxis.fixedrange and layout.yaxis.fixedrange and "Source Sans" in layout.font.family
    document = fig.to_json()
    assert "<a href" not in document and "NaN" not in document
    assert len(document) < 60_000 and json.loads(document)


# --- distributions ------------------------------------------------------------------------------------------------


def test_the_new_region_is_shaded_and_reported() -> None:
    found = numbers(12)
    assert found.region is not None
    fig = plots.distribution_chart(found, colors=LIGHT, unit="°C")
    (shade,) = fig.layout.shapes
    assert shade.x0 == found.region.low and shade.x1 == found.edges[-1]
    assert (
        found.region.text == "above 30"
        and "above 30: 1 % → <b>31 %</b>" in texts(fig)
        and {"Reference", "Current"} <= set(texts(fig))
    )
    assert fig.layout.xaxis.ticksuffix == " °C" and fig.layout.yaxis.tickformat == ".0%"
    reference, current = fig.data
    assert reference.fill == "tozeroy" and reference.line.shape == current.line.shape == "hvh"
    assert tuple(current.y[1:-1]) == found.current


def test_without_a_shift_nothing_is_shaded() -> None:
    same = pd.Series(np.random.default_rng(1).normal(size=500))
    found = distribution(same, same, Feature(name="x", kind="numeric"))
    assert not plots.distribution_chart(found, colors=LIGHT).layout.shapes


def test_new_and_vanished_categories_are_marked() -> None:
    found = words(["east"] * 50 + ["west"] * 50, ["east"] * 40 + ["moon"] * 60)
    fig = plots.distribution_chart(found, colors=LIGHT)
    assert texts(fig).count("<b>new</b>") == 1 and texts(fig).count("<b>gone</b>") == 1
    assert list(fig.layout.yaxis.ticktext) == ["moon", "east", "west"]
    assert tuple(fig.data[1].x) == found.reference and tuple(fig.data[2].x) == found.current


# --- performance --------------------------------------------------------------------------------------------------


def test_only_slices_that_stand_out_are_red() -> None:
    fig = plots.slices([slice_of("hot", 0.79, True), slice_of("night", 0.86, False)], colors=LIGHT)
    dots = [t for t in fig.data if t.mode == "markers"]
    assert [d.marker.color for d in dots] == [LIGHT.bad, LIGHT.current]
    assert {"hot", "<b>0.790</b>", "night", "<b>0.860</b>", "all rows 0.870"} == set(texts(fig))
    assert "120 rows, 20 % of all" in dots[0].hovertemplate


def test_a_race_shows_votes_and_leaves_out_who_was_not_scored() -> None:
    fig = plots.race(
        [candidate("boosting", 0.81, 0.7), candidate("logistic", 0.7, None), candidate("lost", None, None)],
        colors=LIGHT,
    )
    assert texts(fig) == ["boosting · vote 70 %", "<b>0.810</b>", "logistic", "<b>0.700</b>"]
    assert [t.marker.color for t in fig.data if t.mode == "markers"] == [LIGHT.current, LIGHT.reference]


@pytest.mark.parametrize(
    ("low", "high", "role"), [(0.004, 0.038, "well"), (-0.038, -0.004, "bad"), (-0.01, 0.03, "current")]
)
def test_a_comparison_is_coloured_only_when_its_interval_leaves_zero_out(low: float, high: float, role: str) -> None:
    fig = plots.comparison(compared((low + high) / 2, low, high), colors=LIGHT)
    (dot,) = [t for t in fig.data if t.mode == "markers"]
    assert dot.marker.color == getattr(LIGHT, role)
    left, right = fig.layout.xaxis.range
    assert left < min(low, 0) and right > max(high, 0) and fig.layout.shapes[0].x0 == 0
    assert {"challenger better →", "← champion better"} <= set(texts(fig))


def test_a_confusion_shows_share_and_count() -> None:
    fig = plots.confusion_matrix(confusion(["a"] * 4 + ["b"] * 4, ["a"] * 3 + ["b"] * 5, ["a", "b"]), colors=LIGHT)
    assert [t.split("<br>")[0] for t in texts(fig)] == ["75 %", "25 %", "0 %", "100 %"]
    assert ">3<" in texts(fig)[0] and list(fig.layout.yaxis.range) == [1.5, -0.5]  # first class at the top
    many = [str(i) for i in range(12)]
    assert not texts(plots.confusion_matrix(confusion(many, many, many), colors=LIGHT))


def test_calibration_has_its_diagonal_and_intervals() -> None:
    rng = np.random.default_rng(1)
    proba = rng.dirichlet([1, 1], 400)
    found = calibration([int(rng.choice(2, p=p)) for p in proba], proba, [0, 1])
    fig = plots.calibration_curve(found, colors=LIGHT)
    (curve,) = fig.data
    assert list(curve.y) == [p.observed for p in found.points] and len(curve.error_y.array) == len(found.points)
    diagonal = fig.layout.shapes[0]
    assert (diagonal.x0, diagonal.x1) == (diagonal.y0, diagonal.y1)


def test_the_arrival_of_labels_is_a_step_line_with_its_interval_and_its_median() -> None:
    curve = arrived()
    fig = plots.label_arrival(curve, colors=LIGHT)
    low, high, line = fig.data
    assert low.fill is None and high.fill == "tonexty" and line.line.shape == "hv"
    assert line.x[0] == 0.0 and line.y[0] == 0.0 and line.y[-1] == line.y[-2] == pytest.approx(0.9)
    assert all(a <= y <= b for a, y, b in zip(low.y, line.y, high.y, strict=True))
    assert len(line.x) <= 205
    assert fig.layout.xaxis.title.text == "h after the row"
    (median,) = fig.layout.shapes
    assert median.x0 == pytest.approx((curve.median_s or 0.0) / 3600) and median.y1 == 0.5
    assert {"median", "<b>90 %</b> arrived"} == set(texts(fig))


@pytest.mark.parametrize(("hours", "unit"), [(300.0, "days"), (1.0, "min"), (0.02, "s")])
def test_delays_are_reported_in_the_unit_that_fits(hours: float, unit: str) -> None:
    fig = plots.label_arrival(arrived(hours=hours, waiting=0), colors=LIGHT)
    assert fig.layout.xaxis.title.text == f"{unit} after the row"


def test_labels_that_come_with_their_rows_are_one_step() -> None:
    now = datetime(2026, 3, 9, tzinfo=UTC)
    fig = plots.label_arrival(arrival_curve([now] * 3, [now, now, None], now + timedelta(days=4)), colors=LIGHT)
    assert list(fig.data[2].x) == [0, 0, 4] and fig.layout.xaxis.title.text == "days after the row"
    assert plots.label_arrival(arrival_curve([now], [now], now), colors=LIGHT).data


def test_estimates_become_points_with_gaps_where_nothing_was_reported() -> None:
    at = datetime(2026, 3, 9, tzinfo=UTC)
    known = Score(metric="accuracy", value=0.8, low=0.7, high=0.9, n=50)
    lost = Score(metric="accuracy", value=None, reason=as_written("too few rows"))
    estimates = [
        EstimatePoint(at=at, rows_seen=9, n=50, batch_id=1, cycle_id=1, model_version=3, estimates=e, realised={}, trust={})
        for e in ({"accuracy": known}, {"accuracy": lost}, {})
    ]  # fmt: skip
    points = plots.estimated_points(estimates, "accuracy")
    assert points[0] == Point(at=at, value=0.8, low=0.7, high=0.9, n=50, version=3, rows_seen=9)
    assert [p.value for p in points] == [0.8, None, None]


def test_what_a_chart_cannot_show_is_not_sent() -> None:
    at = datetime(2026, 3, 9, 1, 2, 3, 456_789, tzinfo=UTC)
    (found,) = plots.light([Point(at=at, value=1 / 3, low=0.000123456789, high=None, n=7)])
    assert (found.at.microsecond, found.value, found.low, found.high, found.n) == (0, 0.33333, 0.00012346, None, 7)


def test_probabilities_stand_in_order_and_the_rest_together() -> None:
    fig = plots.probabilities([f"c{i}" for i in range(13)], [0.04] * 12 + [0.52], colors=LIGHT)
    (bars,) = fig.data
    assert bars.text[0] == "<b>52 %</b>" and fig.layout.yaxis.ticktext[0] == "c12"
    assert fig.layout.yaxis.ticktext[-1] == "3 others" and bars.x[-1] == pytest.approx(0.12)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.slices([], colors=LIGHT),
        lambda: plots.race([], colors=LIGHT),
        lambda: plots.race([candidate("lost", None, None)], colors=LIGHT),
        lambda: plots.comparison(compared(None), colors=LIGHT),
        lambda: plots.probabilities([], [], colors=LIGHT),
        lambda: plots.label_arrival(arrived(3, waiting=3), colors=LIGHT),
    ],
)
def test_nothing_to_draw_is_an_error(draw: Callable[[], go.Figure]) -> None:
    with pytest.raises(ValueError, match=r"no |nothing"):
        draw()
