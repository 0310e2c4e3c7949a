"""Profiles and sketches: exact where they can be, within their stated error elsewhere, merged in any order."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.drift import sketch
from core.drift.profile import TOP, CategoryProfile, NumericProfile, Profile, from_bytes, merge, profile, to_bytes
from core.drift.ranks import SORTED_ROWS, compared, rank_counts
from core.drift.univariate import measure_drift
from core.errors import StorageError
from core.records import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="x", kind="numeric"),
        Feature(name="c", kind="categorical", categories=("a", "b")),
        Feature(name="b", kind="boolean"),
    ),
)
SHAPES: dict[str, Any] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "whole": lambda rng, n: rng.integers(0, 40, n).astype(float),
    "zeros": lambda rng, n: np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(0, 3, n)),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "decimals": lambda rng, n: rng.normal(size=n).round(1),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.1, np.inf, rng.normal(size=n)),
    "wide": lambda rng, n: np.exp(rng.normal(0, 30, n)),
}
VALUES = st.lists(st.integers(-5, 5).map(float) | st.floats(-1e300, 1e300), min_size=1, max_size=300)


def exact_ranks(values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ordered = np.sort(values)
    return np.searchsorted(ordered, points, "left"), np.searchsorted(ordered, points, "right")


def error_of(found: sketch.Sketch, values: np.ndarray) -> float:
    """The largest error of the curve at the values themselves and next to them."""
    points = np.unique(values)
    points = np.unique(np.r_[points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)])
    curve, truth = found.at(points), exact_ranks(values, points)
    return float(max(np.abs(c - t).max() for c, t in zip(curve, truth, strict=True)))


# --- exact ranks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [50, SORTED_ROWS + 1, 60_000])
def test_distance_and_medians_are_exact_for_any_shape(shape: str, n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = SHAPES[shape](rng, n), SHAPES[shape](rng, n // 2) * 1.01
    found = compared(a, b)
    points = np.unique(np.concatenate([a, b]))
    gaps = np.abs(exact_ranks(a, points)[1] / len(a) - exact_ranks(b, points)[1] / len(b))
    assert found.ks == pytest.approx(gaps.max(), abs=1e-12)
    assert found.medians == (np.median(a), np.median(b))
    assert found.sizes == (len(a), len(b))
    asked = np.sort(rng.choice(a, 40))
    assert [r.tolist() for r in rank_counts(a, asked)] == [r.tolist() for r in exact_ranks(a, asked)]


def test_zero_has_one_sign() -> None:
    a, b = np.r_[np.full(30_000, -0.0), np.arange(100.0)], np.r_[np.zeros(30_000), np.arange(100.0)]
    assert compared(a, b).ks == 0.0


# --- sketches -----------------------------------------------------------------------------------------------------


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


def test_quantiles_of_a_sketch_are_near_those_of_the_rows() -> None:
    values = np.random.default_rng(4).normal(size=5_000)
    found = sketch.sketch(values)
    for share in (0.05, 0.5, 0.95):
        low, high = np.quantile(values, (share - 0.01, share + 0.01))
        value = found.quantile(share)
        assert value is not None and low <= value <= high
    assert sketch.EMPTY.quantile(0.5) is None


# --- profiles -----------------------------------------------------------------------------------------------------


def frame(seed: int, n: int = 500, *, moved: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0 if moved else 0.0, 1, n)
    x[rng.random(n) < 0.1] = np.nan
    x[:2] = np.inf, -np.inf
    names = rng.choice(["a", "b", "new"], n, p=[0.5, 0.45, 0.05])
    return pd.DataFrame(
        {"x": x, "c": pd.Series(names, dtype="str").mask(rng.random(n) < 0.1), "b": rng.random(n) < 0.3}
    )


def test_figures_are_those_of_the_rows() -> None:
    rows = frame(0)
    found = profile(rows, SCHEMA)
    numbers, names = found.features["x"], found.features["c"]
    assert isinstance(numbers, NumericProfile) and isinstance(names, CategoryProfile)
    known = rows["x"][np.isfinite(rows["x"])]
    assert (numbers.rows, numbers.missing, numbers.infinite) == (500, int(rows["x"].isna().sum()), 2)
    assert numbers.mean == pytest.approx(known.mean()) and numbers.sd == pytest.approx(known.std())
    assert names.counts.counts == rows["c"].value_counts().to_dict()
    assert names.unseen == int((rows["c"] == "new").sum()) and names.missing == int(rows["c"].isna().sum())
    assert found.features["b"].known == 500


def test_the_profile_of_two_batches_is_that_of_their_rows() -> None:
    parts = [frame(i) for i in range(4)]
    whole = profile(pd.concat(parts, ignore_index=True), SCHEMA)
    joined = merge(profile(p, SCHEMA) for p in parts)
    a, b = whole.features["x"], joined.features["x"]
    assert isinstance(a, NumericProfile) and isinstance(b, NumericProfile)
    assert (a.rows, a.missing, a.infinite) == (b.rows, b.missing, b.infinite)
    assert (a.mean, a.sd) == (pytest.approx(b.mean), pytest.approx(b.sd))
    known = np.concatenate([p["x"].dropna() for p in parts])
    assert error_of(b.sketch, known) <= b.sketch.error + 1e-9
    c, d = whole.features["c"], joined.features["c"]
    assert isinstance(c, CategoryProfile) and isinstance(d, CategoryProfile)
    assert (c.counts.counts, c.unseen, c.rows) == (d.counts.counts, d.unseen, d.rows)


def test_stored_bytes_give_the_same_profile() -> None:
    for found in (
        profile(frame(1), SCHEMA),
        merge(profile(frame(i), SCHEMA) for i in range(3)),
        Profile(rows=0, features={}),
    ):
        again = from_bytes(to_bytes(found))
        assert to_bytes(again) == to_bytes(found) and again.rows == found.rows
    with pytest.raises(StorageError, match="made again"):
        from_bytes(b"{}")


def test_drift_from_profiles_is_drift_from_frames_within_the_error() -> None:
    reference, current = frame(2, 4_000), frame(3, 2_000, moved=True)
    exact = {s.name: s for s in measure_drift(reference, current, SCHEMA).scores}
    p, q = profile(reference, SCHEMA), profile(current, SCHEMA)
    for before, after in ((p, q), (p, current), (reference, q)):
        report = measure_drift(before, after, SCHEMA)
        assert report.drifted == ("x",)
        for score in report.scores:
            assert score.statistic == pytest.approx(exact[score.name].statistic, abs=0.02)
            assert score.miss_rate_current == exact[score.name].miss_rate_current


def test_rare_categories_are_counted_together_and_still_compared() -> None:
    rng = np.random.default_rng(5)

    def ids(often: float) -> pd.DataFrame:
        values = np.where(rng.random(4_000) < often, "often", [f"id {i}" for i in rng.integers(0, 9_000, 4_000)])
        return pd.DataFrame({"x": 1.0, "c": pd.Series(values, dtype="str"), "b": True})

    found = profile(ids(0.3), SCHEMA)
    names = found.features["c"]
    assert isinstance(names, CategoryProfile)
    assert len(names.counts.counts) == TOP and names.counts.other > 0 and names.known == 4_000
    assert measure_drift(found, profile(ids(0.3), SCHEMA), SCHEMA).drifted == ()
    assert measure_drift(found, profile(ids(0.7), SCHEMA), SCHEMA).drifted == ("c",)


def test_columns_that_are_absent_or_unfit_are_left_out() -> None:
    found = profile(frame(6).drop(columns="c").assign(x="text"), SCHEMA)
    assert list(found.features) == ["b"]
    report = measure_drift(profile(frame(6), SCHEMA), found, SCHEMA)
    assert [s.judged for s in report.scores] == [False, False, True]
    assert all("in the reference window only" in s.reason for s in report.scores[:2])
    huge = profile(frame(7).assign(x=1.7e308), SCHEMA).features["x"]
    assert isinstance(huge, NumericProfile) and huge.sd is None
