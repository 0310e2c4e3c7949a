"""Exact ranks and distances by buckets, held against sorting everything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.drift import distances, ranks
from core.drift.ranks import SORTED_ROWS, Pair, compared, rank_counts

Make = Callable[[np.random.Generator, int], np.ndarray]
SHAPES: dict[str, Make] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "lognormal": lambda rng, n: rng.lognormal(0, 4, n),
    "many zeros": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.lognormal(0, 3, n)),
    "whole numbers": lambda rng, n: rng.integers(-50, 50, n).astype(float),
    "large whole numbers": lambda rng, n: rng.integers(-(10**15), 10**15, n).astype(float),
    "decimals": lambda rng, n: rng.normal(100, 3, n).round(1),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.3, rng.choice([np.inf, -np.inf], n), rng.normal(size=n)),
    "whole and infinite": lambda rng, n: np.where(rng.random(n) < 1e-3, np.inf, rng.integers(0, 9, n)),
    "two signs of zero": lambda rng, n: rng.choice([-0.0, 0.0, 1.5], n),
    "ends of double precision": lambda rng, n: rng.uniform(-1, 1, n) * 1.7e308,
    "next to zero": lambda rng, n: rng.normal(size=n) * 1e-310,
    "narrow and far from zero": lambda rng, n: 1e9 + rng.normal(size=n) * 1e-6,
    "two scales": lambda rng, n: rng.normal(size=n) * np.where(rng.random(n) < 0.5, 1e-12, 1e12),
    "instants": lambda rng, n: 1.7e9 + rng.exponential(size=n).cumsum(),
    "hardly anything but one value": lambda rng, n: np.where(rng.random(n) < 1e-3, 7.7, 3.3),
    "sensors that take turns": lambda rng, n: rng.normal(size=n) + 100.0 * (np.arange(n) % 3),
}
VALUES = st.lists(
    st.integers(-5, 5).map(float) | st.floats(allow_nan=False) | st.sampled_from([0.1, 0.2, -0.0]), min_size=1, max_size=60
)  # fmt: skip


def exact(a: np.ndarray, b: np.ndarray) -> tuple[float, tuple[float, float]]:
    """KS distance and medians from the sorted samples."""
    points, one, other = np.unique(np.concatenate([a, b])), np.sort(a), np.sort(b)
    gaps = np.searchsorted(one, points, "right") / len(a) - np.searchsorted(other, points, "right") / len(b)
    low, high = ((x[(len(x) - 1) // 2], x[len(x) // 2]) for x in (one, other))
    return float(np.abs(gaps).max()), tuple(x if x == y else x / 2 + y / 2 for x, y in (low, high))


def assert_exact(found: Pair, a: np.ndarray, b: np.ndarray) -> None:
    ks, medians = exact(a, b)
    assert found.ks == pytest.approx(ks, abs=1e-12) and found.error == 0.0
    assert found.medians == medians and found.sizes == (len(a), len(b))
    assert found.counts.sum(axis=0).min() > 0
    assert (found.constant is not None) == (len(np.unique(np.concatenate([a, b]))) == 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n", "m"), [(200, 150), (SORTED_ROWS // 2, SORTED_ROWS // 2 + 1), (60_000, 3_000)])
def test_distance_medians_and_ranks_are_exact_for_any_shape(shape: str, n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = SHAPES[shape](rng, n), SHAPES[shape](rng, m)
    for other in (b, b * 0.99):
        assert_exact(compared(a, other), a, other)
    asked = np.unique(np.r_[rng.choice(a, 40), b[:20], np.nextafter(a[:20], np.inf)])
    ordered = np.sort(a)
    for found, side in zip(rank_counts(a, asked), ("left", "right"), strict=True):
        np.testing.assert_array_equal(found, np.searchsorted(ordered, asked, side))  # type: ignore[call-overload]


@pytest.mark.parametrize("shape", ["normal", "lognormal", "decimals", "many zeros"])
def test_distance_and_p_are_those_of_scipy(shape: str) -> None:
    rng = np.random.default_rng(5)
    a, b = SHAPES[shape](rng, 14_000), SHAPES[shape](rng, 9_000) * 1.02
    expected = stats.ks_2samp(a, b, method="asymp")
    found = distances.kolmogorov_smirnov(compared(a, b))
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES)
def test_buckets_are_exact_for_any_values(first: list[float], second: list[float]) -> None:
    a, b = np.array(first), np.array(second)
    with pytest.MonkeyPatch.context() as patched:  # so that a handful of values goes through buckets
        patched.setattr(ranks, "SORTED_ROWS", 1)
        assert_exact(compared(a, b), a, b)
        points = np.unique(b)
        for found, side in zip(rank_counts(a, points), ("left", "right"), strict=True):
            np.testing.assert_array_equal(found, np.searchsorted(np.sort(a), points, side))  # type: ignore[call-overload]


def test_zero_has_one_sign() -> None:
    a, b = np.r_[np.full(30_000, -0.0), np.arange(100.0)], np.r_[np.zeros(30_000), np.arange(100.0)]
    assert compared(a, b).ks == 0.0


@pytest.mark.parametrize("value", [0.0, 3.3, -1e300, np.inf, -np.inf])
def test_one_value_throughout_is_a_constant_however_many_rows_have_it(value: float) -> None:
    for n in (1, SORTED_ROWS):
        found = compared(np.full(n, value), np.full(n + 7, value))
        assert found.constant == value and found.ks == 0.0 and found.medians == (value, value)


def test_wide_cells_hardly_change_rank_statistics() -> None:
    rng = np.random.default_rng(6)
    for shape in ("normal", "cauchy", "lognormal", "decimals", "infinite"):
        a, b = SHAPES[shape](rng, 30_000), SHAPES[shape](rng, 20_000) * 1.1
        cells, values = compared(a, b), compared(a, b, by_value=True)
        for test in (distances.location, distances.spread, distances.tails):
            # A rank is off by at most half a cell; 8,192 cells of a fitting grid hold some thousandths at most.
            assert test(cells).effect == pytest.approx(test(values).effect, abs=2e-3), (shape, test)


@pytest.mark.parametrize("period", [2, 3, 4, 5, 15, 24])
def test_some_values_are_of_every_sensor_that_takes_its_turn(period: int) -> None:
    for n, wanted in ((100_000, 4_096), (1_000_000, 65_536)):
        turns = np.bincount(ranks.some_of(np.arange(n) % period, wanted), minlength=period)
        fair = wanted / period
        # As even as if drawn at random, which stays within four standard errors.
        assert turns.sum() == wanted and np.abs(turns - fair).max() < 4 * fair**0.5
    few = np.arange(10.0)
    assert ranks.some_of(few, 10) is few


@pytest.mark.parametrize("scale", [1.0, 1e300])
def test_infinite_values_have_cells_of_their_own(scale: float) -> None:
    rng = np.random.default_rng(11)
    a, b = (rng.normal(size=n) * scale for n in (30_000, 2_000))
    a[:600], b[:200], b[200:260] = -np.inf, np.inf, -np.inf
    pair, exact = compared(a, b), compared(a, b, by_value=True)
    assert pair.counts[:, 0].tolist() == [600, 60] and pair.counts[:, -1].tolist() == [0, 200]
    assert pair.counts.sum(axis=1).tolist() == [30_000, 2_000] and pair.counts.min() >= 0
    assert pair.ks == exact.ks
    for test in (distances.location, distances.spread, distances.tails):
        assert test(pair).statistic == pytest.approx(test(exact).statistic, abs=2e-3)
