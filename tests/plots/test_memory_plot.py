"""The matrix of forgetting: every cell is what the record holds, and the sentence follows from the numbers."""

from __future__ import annotations

import dataclasses

import pytest

from core.plots import palette
from core.plots.memory import _contrast, memory_alt, memory_finding, memory_matrix
from core.records import FrozenRegime, Memory

LIGHT = palette("light")


def memory(*lines: tuple[float | None, ...], metric: str = "accuracy", bwt: float | None = None) -> Memory:
    k = len(lines[-1])
    regimes = tuple(FrozenRegime(number=i + 1, row=1000 * (i + 1), n=50) for i in range(k))
    return Memory(metric=metric, regimes=regimes, matrix=lines, bwt=bwt)


FORGETS = memory((0.98, None, None), (0.54, 0.94, None), (0.08, 0.12, 0.98), bwt=-0.86)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_each_cell_says_its_value_and_the_last_line_how_far_it_is_from_then(mode: str) -> None:
    colors = palette(mode)
    fig = memory_matrix(FORGETS, colors=colors)
    cells = {(a.x, a.y): a.text for a in fig.layout.annotations}
    assert cells == {
        (0, 0): "0.98",
        (0, 1): "0.54",
        (1, 1): "0.94",
        (0, 2): "<b>0.08</b><br><span style='font-size:11px'>−0.90</span>",
        (1, 2): "<b>0.12</b><br><span style='font-size:11px'>−0.82</span>",
        (2, 2): "<b>0.98</b>",
    }
    assert list(fig.layout.yaxis.ticktext) == ["end of 1", "end of 2", "<b>now</b>"]
    assert list(fig.layout.xaxis.ticktext) == ["1<br>1,000", "2<br>2,000", "3<br>3,000"]
    assert [(s.x0, s.y0) for s in fig.layout.shapes] == [(-0.5, -0.5), (0.5, 0.5)]
    assert fig.data[0].z[0][1] is None  # not met yet: blank
    assert "50 frozen rows of regime 1" in fig.data[0].customdata[2][0]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("tenth", range(11))
def test_every_number_can_be_read_on_its_cell(mode: str, tenth: int) -> None:
    colors = palette(mode)
    fig = memory_matrix(memory((0.0, None, None), (tenth / 10, 1.0, None), (0.5, 0.5, 0.5)), colors=colors)
    from core.plots.theme import mixed

    (_, light), (_, deep) = fig.data[0].colorscale
    for a in fig.layout.annotations:
        ground = mixed(deep, light, fig.data[0].z[a.y][a.x])
        assert _contrast(a.font.color, ground) >= 4.5


def test_of_errors_the_lower_is_deeper() -> None:
    found = memory((0.2, None), (0.9, 0.3), metric="mae", bwt=-0.7)
    z = memory_matrix(found, colors=LIGHT).data[0].z
    assert z[0][0] > z[1][1] > z[1][0]
    assert "it forgets the regimes before row 2,000" in memory_finding(found)


@pytest.mark.parametrize(
    ("bwt", "now", "said"),
    [
        (-0.9, 0.08, "Backward transfer −0.90: it forgets the regimes before row 2,000"),
        (-0.02, 0.96, "Backward transfer −0.02: it still knows the regimes before row 2,000"),
        (0.0, 0.98, "Backward transfer 0.00: it still knows the regimes before row 2,000"),
    ],
)
def test_the_sentence_follows_from_backward_transfer_and_its_doubt(bwt: float, now: float, said: str) -> None:
    assert memory_finding(memory((0.98, None), (now, 0.9), bwt=bwt)) == said


def test_a_past_that_is_known_better_than_then_is_reported() -> None:
    assert "better than at their end" in memory_finding(memory((0.5, None), (0.9, 0.9), bwt=0.4))


def test_one_regime_has_nothing_to_forget() -> None:
    found = memory((0.9,))
    assert "nothing to forget" in memory_finding(found)
    assert [a.text for a in memory_matrix(found, colors=LIGHT).layout.annotations] == ["<b>0.90</b>"]


def test_those_who_do_not_see_it_can_read_the_figures() -> None:
    assert memory_alt(FORGETS) == (
        "regime 1: 0.98 at its end, 0.08 now, regime 2: 0.94 at its end, 0.12 now and regime 3: 0.98 now"
    )


def test_a_line_is_named_by_the_newest_regime_in_it_even_where_an_older_one_was_let_go() -> None:
    found = dataclasses.replace(
        memory((0.9, None), (0.5, 0.8)),
        regimes=(FrozenRegime(number=7, row=70, n=50), FrozenRegime(number=8, row=80, n=25)),
    )
    assert list(memory_matrix(found, colors=LIGHT).layout.yaxis.ticktext) == ["end of 7", "<b>now</b>"]


def test_nothing_scored_is_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        memory_matrix(memory((None,)), colors=LIGHT)
