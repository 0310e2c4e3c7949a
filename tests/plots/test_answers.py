"""Charts about answers: what they show is what the records hold."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from core import plots, words
from core.plots import palette

EVIL = "<a href='https://example.org'>x</a>"
TODAY = date(2026, 3, 2)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_contributions_stand_in_the_order_of_their_size_with_their_sign(mode: str) -> None:
    colors = palette(mode)
    found = [("size", 2.0, 0.1), ("colour", EVIL, -0.4), ("gone", None, 0.0)]
    fig = plots.contributions(found, colors=colors)
    (bars,) = fig.data
    assert list(bars.x) == [-0.4, 0.1, 0.0]
    assert list(bars.text) == ["\u22120.4", "+0.1", "0"]
    assert list(bars.marker.color)[:2] == [colors.second, colors.current]
    assert fig.layout.yaxis.ticktext[1:] == ("size = 2", "gone = missing")
    assert fig.layout.xaxis.range[0] < -0.4 and fig.layout.xaxis.range[1] > 0.1
    assert "<a" not in fig.to_json()


def test_the_rest_of_many_contributions_stand_together() -> None:
    found = [(f"f{i}", float(i), 1.0 / (i + 1)) for i in range(25)]
    fig = plots.contributions(found, colors=palette("light"), most=10)
    assert fig.layout.yaxis.ticktext[-1] == "15 others"
    assert sum(fig.data[0].x) == pytest.approx(sum(amount for *_, amount in found))


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "0"), (1e-6, "0"), (-0.25, "\u22120.25"), (1.23456, "+1.23"), (-12345.6, "\u221212,346")],
)
def test_amounts_are_written_with_their_sign(amount: float, text: str) -> None:
    assert words.contribution(amount) == text


def test_nothing_to_explain_is_refused_and_nothing_but_zeros_is_drawn() -> None:
    with pytest.raises(ValueError, match="no feature"):
        plots.contributions([], colors=palette("light"))
    assert plots.contributions([("a", 1.0, 0.0)], colors=palette("light")).layout.xaxis.range[1] > 0


def test_guard_hits_are_stacked_by_day_and_named_with_their_number() -> None:
    found = [
        (TODAY, "out_of_range", 3),
        (TODAY, "out_of_range", 2),
        (TODAY - timedelta(days=1), "unseen_category", 1),
        (TODAY - timedelta(days=90), "low_confidence", 7),
    ]
    fig = plots.guard_hits(found, colors=palette("light"), until=TODAY, days=10)
    assert [bars.name for bars in fig.data] == ["out of range", "unseen category"]
    assert list(fig.data[0].y) == [0] * 9 + [5] and list(fig.data[1].y) == [0] * 8 + [1, 0]
    assert [a.text for a in fig.layout.annotations] == [
        "<b>out of range</b> 5 predictions", "<b>unseen category</b> 1 prediction",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="No guard was triggered"):
        plots.guard_hits(found[3:], colors=palette("light"), until=TODAY)
