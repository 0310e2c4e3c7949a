"""Profiles: the figures of the rows, merged in any order, stored and read, compared in the place of frames."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd
import pytest

from core.drift.profile import TOP, CategoryProfile, NumericProfile, Profile, from_bytes, merge, profile, to_bytes
from core.drift.univariate import measure_drift
from core.errors import StorageError
from core.records import Feature, FeatureSchema
from core.text.reasons import sentence

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="x", kind="numeric"),
        Feature(name="c", kind="categorical", categories=("a", "b")),
        Feature(name="b", kind="boolean"),
    ),
)


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
    assert a.mean == pytest.approx(b.mean) and a.sd == pytest.approx(b.sd)
    known = np.sort(np.concatenate([p["x"].dropna() for p in parts]))
    for found, side in zip(b.sketch.at(known), ("left", "right"), strict=True):
        exact = np.searchsorted(known, known, side)  # type: ignore[call-overload]
        assert np.abs(found - exact).max() <= b.sketch.error + 1e-9
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


def test_bytes_that_an_earlier_version_stored_unpacked_are_read() -> None:
    stored = to_bytes(profile(frame(1), SCHEMA))
    assert to_bytes(from_bytes(b"cmlp1\n" + zlib.decompress(stored[6:]))) == stored


def test_bytes_of_another_version_and_damaged_ones_are_refused_so_that_they_are_made_again() -> None:
    stored = to_bytes(profile(frame(1), SCHEMA))
    with pytest.raises(StorageError, match="another version"):
        from_bytes(b"{}")
    cuts = [stored[:n] for n in (6, 8, 10, 40, len(stored) // 2, len(stored) - 4, len(stored) - 1)]
    for damaged in (*cuts, stored + b"1234", stored[:20] + b"\xff" + stored[21:]):
        with pytest.raises(StorageError, match="damaged"):
            from_bytes(damaged)


def test_merging_in_any_order_gives_the_same_moments_and_counts() -> None:
    a, b, c = (profile(frame(i).assign(x=lambda f: 1e6 + f["x"]), SCHEMA) for i in range(3))
    for one, other in ((merge([a, b, c]), merge([c, a, b])), (merge([merge([a, b]), c]), merge([a, merge([b, c])]))):
        x, y = one.features["x"], other.features["x"]
        assert isinstance(x, NumericProfile) and isinstance(y, NumericProfile)
        # Chan's update keeps a variance of 1 next to a mean of a million; sums of squares would lose six digits.
        assert x.mean == pytest.approx(y.mean, rel=1e-14) and x.sd == pytest.approx(y.sd, rel=1e-9)
        assert x.sketch.error == y.sketch.error and x.known == y.known
        p, q = one.features["c"], other.features["c"]
        assert isinstance(p, CategoryProfile) and isinstance(q, CategoryProfile) and p.counts.counts == q.counts.counts


def test_a_batch_that_lacks_a_column_adds_its_rows_but_none_to_that_feature() -> None:
    whole = merge(
        [profile(frame(1), SCHEMA), profile(frame(2).drop(columns="x"), SCHEMA), Profile(rows=0, features={})]
    )
    assert whole.rows == 1_000 and whole.features["x"].rows == 500 and whole.features["c"].rows == 1_000


def test_a_feature_that_changes_its_kind_is_reported_by_the_newer_rows() -> None:
    words = FeatureSchema(task="binary", target="y", features=(Feature(name="x", kind="categorical"),))
    newer = profile(pd.DataFrame({"x": ["a"] * 40}), words)
    assert merge([profile(frame(1), SCHEMA), newer]).features["x"] is newer.features["x"]
    (score,) = measure_drift(profile(frame(1), SCHEMA), newer, words).scores
    assert not score.judged and "another type" in sentence(score.reason)


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
    assert all("only in the reference window" in sentence(s.reason) for s in report.scores[:2])
    huge = profile(frame(7).assign(x=1.7e308), SCHEMA).features["x"]
    assert isinstance(huge, NumericProfile) and huge.sd is None
