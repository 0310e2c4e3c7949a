"""The trend over many batches holds what each comparison by itself would say."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy import special

from core.drift import distances, history
from core.drift.history import DriftTrend, drift_trends
from core.drift.profile import Profile, from_bytes, merge, profile, to_bytes
from core.drift.univariate import measure_drift
from core.records import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="x", kind="numeric"),
        Feature(name="whole", kind="numeric"),
        Feature(name="c", kind="categorical"),
    ),
)


def batch(i: int, n: int = 400) -> pd.DataFrame:
    """Rows whose `x` and `c` move from batch 12 on."""
    rng = np.random.default_rng(i)
    late = i >= 12
    return pd.DataFrame(
        {
            "x": np.where(rng.random(n) < 0.05, np.nan, rng.normal(1.0 if late else 0.0, 1, n)),
            "whole": rng.integers(0, 6, n).astype(float),
            "c": pd.Series(rng.choice(["a", "b"] if not late else ["b", "z"], n), dtype="str"),
        }
    )


@pytest.fixture(scope="module")
def profiles() -> list[Profile]:
    return [profile(batch(i), SCHEMA) for i in range(20)]


def by_name(found: list[DriftTrend]) -> dict[str, DriftTrend]:
    return {c.name: c for c in found}


def test_demo_the_trend_shows_which_feature_moved_and_since_when(profiles: list[Profile]) -> None:
    found = by_name(drift_trends(profiles, merge(profiles[:5]), SCHEMA))
    assert found["x"].since == found["c"].since == 12
    assert found["whole"].since is None and not any(found["whole"].alarms)
    steps = found["x"].against_previous
    assert steps[0] is None and max(range(1, 20), key=lambda i: steps[i] or 0.0) == 12
    assert found["x"].miss_rates[3] == pytest.approx(0.05, abs=0.04)


def test_each_point_is_the_comparison_of_its_profiles(profiles: list[Profile]) -> None:
    reference = merge(profiles[:5])
    found = by_name(drift_trends(profiles, reference, SCHEMA))
    for i in (6, 11, 13, 19):
        for other, points in ((reference, "against_reference"), (profiles[i - 1], "against_previous")):
            report = measure_drift(other, profiles[i], SCHEMA)
            for score in report.scores:
                # Only the batch's own knots are looked at: off by no more than one of its steps of rank.
                part = profiles[i].features[score.name]
                slack = part.sketch.rank_error if hasattr(part, "sketch") else 1e-9
                assert getattr(found[score.name], points)[i] == pytest.approx(score.statistic, abs=slack + 1e-9)


def test_what_cannot_be_compared_is_a_gap(profiles: list[Profile]) -> None:
    few = profile(batch(3, n=10), SCHEMA)
    no_x = profile(batch(4).drop(columns="x"), SCHEMA)
    holes = [profiles[0], few, no_x, Profile(rows=0, features={}), profiles[1]]
    found = by_name(drift_trends(holes, merge(profiles[:5]), SCHEMA))
    assert [v is None for v in found["x"].against_reference] == [False, True, True, True, False]
    assert [v is None for v in found["c"].against_reference] == [False, True, False, True, False]
    assert found["x"].against_previous[4] is not None  # the last batch that could be judged is the one before
    assert found["x"].miss_rates[2] is None
    nothing = by_name(drift_trends(holes, Profile(rows=0, features={}), SCHEMA))
    assert set(nothing["x"].against_reference) == {None} and not any(nothing["x"].alarms)
    assert drift_trends([], merge(profiles[:5]), SCHEMA)[0].against_reference == ()


def test_a_column_of_very_many_categories_is_compared_by_what_is_counted_by_name() -> None:
    schema = FeatureSchema(task="binary", target="y", features=(Feature(name="c", kind="categorical"),))
    rng = np.random.default_rng(0)

    def ids(often: float) -> Profile:
        values = np.where(rng.random(5_000) < often, "often", [f"id {i}" for i in rng.integers(0, 9_000, 5_000)])
        return profile(pd.DataFrame({"c": pd.Series(values, dtype="str")}), schema)

    found = drift_trends([ids(0.2), ids(0.2), ids(0.6)], ids(0.2), schema)[0]
    assert found.alarms == (False, False, True)
    assert found.against_reference[2] == pytest.approx(0.4, abs=0.05)


def test_tails_without_scipy_are_scipys() -> None:
    x = np.linspace(0.0, 4.0, 81)
    np.testing.assert_allclose(history._smirnov(x), special.kolmogorov(x), rtol=1e-9, atol=1e-12)
    for df in (1, 2, 3, 4, 38, 39):
        at = special.chdtri(df, np.geomspace(0.9, 1e-4, 20))
        ours = history._chi_square(np.full(20, df), at)
        np.testing.assert_allclose(ours, special.chdtrc(df, at), rtol=1e-9)


def test_the_p_value_of_rare_categories_is_that_of_the_report() -> None:
    rng = np.random.default_rng(3)
    shares = [0.6, 0.39, 0.004, 0.003, 0.003]
    before, after = (
        rng.multinomial(5_000, shares, 1),
        np.stack([rng.multinomial(m, shares) for m in (30, 60, 400, 9_000)]),
    )
    after = np.vstack([after, [20, 4, 0, 6, 0]])
    effects, p = history._tested(before, after)
    for i, row in enumerate(after):
        expected = distances.chi_square(np.stack([before[0], row]))
        assert (effects[i], p[i]) == pytest.approx((expected.effect, expected.p_value), rel=1e-9)


@pytest.mark.slow
def test_a_thousand_batches_take_far_less_than_a_second() -> None:
    names = [f"x{i}" for i in range(20)]
    schema = FeatureSchema(task="binary", target="y", features=tuple(Feature(name=n, kind="numeric") for n in names))
    rng = np.random.default_rng(1)
    some = [to_bytes(profile(pd.DataFrame(rng.normal(size=(1_000, 20)), columns=names), schema)) for _ in range(20)]
    stored = [some[i % 20] for i in range(1_000)]
    started = time.process_time()
    read = [from_bytes(s) for s in stored]
    found = drift_trends(read, merge(read[:5]), schema)
    assert len(found[0].against_reference) == 1_000
    assert time.process_time() - started < 2.0  # 0.5 s on a quiet machine
