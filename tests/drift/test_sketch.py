"""Sketches: exact where they can be, within their stated error elsewhere, merged in any order."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.drift import sketch
from core.drift.ranks import compared

SHAPES: dict[str, Any] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "whole": lambda rng, n: rng.integers(0, 40, n).astype(float),
    "zeros": lambda rng, n: np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(0, 3, n)),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "decimals": lambda rng, n: rng.normal(size=n).round(1),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.1, np.inf, rng.normal(size=n)),
    "wide": lambda rng, n: np.exp(rng.normal(0, 30, n)),
    "sensors that take turns": lambda rng, n: rng.normal(size=n) + 100.0 * (np.arange(n) % 4),
}
VALUES = st.lists(st.integers(-5, 5).map(float) | st.floats(allow_nan=False), min_size=1, max_size=300)


def exact_ranks(values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ordered = np.sort(values)
    return np.searchsorted(ordered, points, "left"), np.searchsorted(ordered, points, "right")


def error_of(found: sketch.Sketch, values: np.ndarray) -> float:
    """The largest error of the curve at the values themselves and next to them."""
    points = np.unique(values)
    with np.errstate(over="ignore"):  # next to the largest double lies infinity
        points = np.unique(np.r_[points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)])
    curve, truth = found.at(points), exact_ranks(values, points)
    return float(max(np.abs(c - t).max() for c, t in zip(curve, truth, strict=True)))


# --- of one sample ------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_a_sketch_is_never_off_by_more_than_it_says(values: list[float]) -> None:
    found = sketch.sketch(np.array(values))
    assert error_of(found, np.array(values)) <= found.error + 1e-9
    if len(set(values)) <= sketch.LEAST_KNOTS and len(values) <= sketch.LEAST_KNOTS:
        assert found.error == 0.0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1_000, 100_000])
def test_the_error_is_small_and_true_for_any_shape(shape: str, n: int) -> None:
    values = SHAPES[shape](np.random.default_rng(1), n)
    found = sketch.sketch(values)
    assert found.rank_error <= 2.5 / min(sketch.MOST_KNOTS, max(sketch.LEAST_KNOTS, int(2 * n**0.5)))
    assert error_of(found, values) <= found.error + 1e-9


def test_few_different_values_are_kept_exactly() -> None:
    values = np.random.default_rng(5).integers(0, sketch.LEAST_KNOTS // 2, 3_000).astype(float)
    found = sketch.sketch(values)
    assert found.error == 0.0 and error_of(found, values) == 0.0


def test_the_same_rows_always_give_the_same_sketch() -> None:
    values = np.random.default_rng(6).normal(size=100_000)
    one, other = sketch.sketch(values), sketch.sketch(values.copy())
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.right, other.right)


def test_no_row_has_an_empty_sketch_that_adds_nothing() -> None:
    assert sketch.sketch(np.empty(0)) is sketch.EMPTY and sketch.EMPTY.rank_error == 0.0
    some = sketch.sketch(np.arange(9.0))
    assert sketch.merged(some, sketch.EMPTY) is some and sketch.merged(sketch.EMPTY, some) is some
    assert [r.tolist() for r in sketch.EMPTY.at(np.array([1.0]))] == [[0.0], [0.0]]


# --- merged -------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, min_size=3, max_size=3))
def test_merging_is_associative_and_commutative_and_errors_add(parts: list[list[float]]) -> None:
    a, b, c = (sketch.sketch(np.array(p)) for p in parts)
    left = sketch.merged(sketch.merged(a, b), c)
    right = sketch.merged(a, sketch.merged(c, b))
    assert left.n == right.n == sum(map(len, parts))
    assert left.error == pytest.approx(right.error) == pytest.approx(a.error + b.error + c.error)
    np.testing.assert_array_equal(left.values, right.values)
    np.testing.assert_allclose(left.right, right.right, atol=1e-6)
    assert error_of(left, np.concatenate([np.array(p) for p in parts])) <= left.error + 1e-6


def test_a_merge_of_many_is_thinned_and_still_honest() -> None:
    rng = np.random.default_rng(2)
    parts = [SHAPES["normal"](rng, 500) + i / 20 for i in range(100)]
    whole = functools.reduce(sketch.merged, map(sketch.sketch, parts))
    assert len(whole.values) <= sketch.MERGED_KNOTS
    assert error_of(whole, np.concatenate(parts)) <= whole.error + 1e-6
    assert whole.rank_error < 0.03


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, min_size=2, max_size=4), st.integers(3, 40))
def test_what_thinning_costs_is_added_to_the_error(parts: list[list[float]], knots: int) -> None:
    whole = functools.reduce(sketch.merged, (sketch.sketch(np.array(p)) for p in parts))
    less = sketch.thinned(whole, knots)
    rows = np.concatenate([np.array(p) for p in parts])
    assert less.n == whole.n and less.error >= whole.error
    assert error_of(less, rows) <= less.error + 1e-6
    assert less.quantile(1.0) == whole.quantile(1.0) == rows.max()


def test_a_thousand_small_batches_still_add_up_to_a_useful_sketch() -> None:
    rng = np.random.default_rng(7)
    parts = [rng.normal(i / 1_000, 1, 200) for i in range(1_000)]
    whole = functools.reduce(sketch.merged, map(sketch.sketch, parts))
    assert error_of(whole, np.concatenate(parts)) <= whole.error + 1e-6
    # 200 rows in 128 knots leave out one row at most between two: 0.5 %, and as much again for the thinning.
    assert whole.rank_error < 0.03


# --- in pairs -----------------------------------------------------------------------------------------------------


def test_distances_of_sketches_lie_within_the_stated_error() -> None:
    rng = np.random.default_rng(3)
    for shape, make in SHAPES.items():
        a, b = make(rng, 3_000), make(rng, 30_000) * 1.05
        exact = compared(a, b).ks
        for found in (
            sketch.paired(sketch.sketch(a), sketch.sketch(b)),
            sketch.paired_with_values(sketch.sketch(a), b),
        ):
            assert abs(found.ks - exact) <= found.error + 1e-12, shape
            assert found.counts.sum(axis=1) == pytest.approx([3_000, 30_000])


@settings(max_examples=100, deadline=None)
@given(VALUES, VALUES)
def test_the_distance_of_any_two_sketches_lies_within_the_stated_error(first: list[float], second: list[float]) -> None:
    a, b = np.array(first), np.array(second)
    exact, one = compared(a, b).ks, sketch.sketch(a)
    for found in (sketch.paired(one, sketch.sketch(b)), sketch.paired_with_values(one, b)):
        assert abs(found.ks - exact) <= found.error + 1e-9
        assert found.counts.min() >= 0 and found.counts.sum(axis=1) == pytest.approx([len(a), len(b)])
        assert (found.constant is not None) == (len(np.unique(np.r_[a, b])) == 1)


def test_quantiles_of_a_sketch_are_near_those_of_the_rows() -> None:
    values = np.random.default_rng(4).normal(size=5_000)
    found = sketch.sketch(values)
    for share in (0.05, 0.5, 0.95):
        low, high = np.quantile(values, (share - 0.01, share + 0.01))
        value = found.quantile(share)
        assert value is not None and low <= value <= high
    assert sketch.EMPTY.quantile(0.5) is None
