"""Distributions ready to be drawn, and the sentence for one feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.drift.distribution import BINS, OTHER, TOP, distribution, feature_finding
from core.drift.univariate import measure_drift
from core.records import DriftScore, Feature, FeatureSchema, as_written, because

NUMBER = Feature(name="temperature", kind="numeric")
WORD = Feature(name="site", kind="categorical")


def texts(values: Any) -> pd.Series:
    return pd.Series(list(values), dtype="str")


def finding(reference: pd.Series, current: pd.Series, feature: Feature) -> str:
    schema = FeatureSchema(task="binary", target="y", features=(feature,))
    frames = [pd.DataFrame({feature.name: c}) for c in (reference, current)]
    (score,) = measure_drift(*frames, schema).scores
    return feature_finding(score, distribution(reference, current, feature))


def test_shares_add_up_to_one_over_round_edges() -> None:
    rng = np.random.default_rng(0)
    a, b = pd.Series(rng.normal(24, 3, 3_000)), pd.Series(rng.standard_cauchy(2_000) + 24)
    found = distribution(a, b, NUMBER)
    assert sum(found.reference) == pytest.approx(1) and sum(found.current) == pytest.approx(1)
    assert len(found.edges) == len(found.reference) + 1 <= 3 * BINS
    steps = np.diff(found.edges)
    assert np.allclose(steps, steps[0])
    assert f"{steps[0]:g}"[0] in "125"


def test_the_region_that_is_new_holds_the_shares_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(24, 2.5, 4_000)
    b = np.r_[rng.normal(24, 2.5, 2_500), rng.normal(36, 1.5, 1_500)]
    region = distribution(pd.Series(a), pd.Series(b), NUMBER).region
    assert region is not None and region.low is not None and region.high is None
    assert region.text == f"above {region.low:g}"
    assert region.reference == pytest.approx(np.mean(a >= region.low)) and region.reference < 0.02
    assert region.current == pytest.approx(np.mean(b >= region.low)) and region.current > 0.35


def test_chance_makes_no_region() -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        a, b = pd.Series(rng.normal(size=300)), pd.Series(rng.normal(size=300))
        region = distribution(a, b, NUMBER).region
        assert region is None or region.current - region.reference > 0.09


def test_whole_numbers_lie_inside_their_bins() -> None:
    a, b = pd.Series([0.0] * 80 + [1.0] * 20), pd.Series([0.0] * 20 + [1.0] * 80)
    found = distribution(a, b, NUMBER)
    assert found.edges == (-0.5, 0.5, 1.5)
    assert found.reference == pytest.approx((0.8, 0.2)) and found.current == pytest.approx((0.2, 0.8))
    assert found.region is not None and found.region.text == "above 0.5"


@pytest.mark.parametrize("value", [0.0, 3.25, -7.0, 1e-8, 1e15])
def test_a_constant_has_one_bin(value: float) -> None:
    found = distribution(pd.Series([value] * 5), pd.Series([value] * 9), NUMBER)
    assert found.reference == found.current == (1.0,)
    assert found.edges[0] < value < found.edges[1]


def test_missing_and_infinite_cells_are_left_out() -> None:
    found = distribution(pd.Series([1.0, 2.0, np.nan, np.inf]), pd.Series([1.0, 3.0, -np.inf]), NUMBER)
    assert (found.n_reference, found.n_current) == (2, 2)
    with pytest.raises(ValueError, match="temperature has 0 and 1 values"):
        distribution(pd.Series([np.nan]), pd.Series([1.0]), NUMBER)
    with pytest.raises(ValueError, match="site has 1 and 0 values"):
        distribution(texts(["a"]), texts([None]), WORD)


def test_many_categories_end_in_other() -> None:
    before = texts(f"c{i:02}" for i in range(20) for _ in range(40 - i))
    found = distribution(before, texts([*before, "brand new"]), WORD)
    assert len(found.categories) == TOP + 1 and found.categories[-1] == OTHER
    assert sum(found.reference) == pytest.approx(1) and sum(found.current) == pytest.approx(1)
    assert found.new == ("brand new",) and found.gone == ()


def test_findings_of_numbers() -> None:
    rng = np.random.default_rng(3)
    base = pd.Series(rng.normal(24, 3, 1_000))
    assert finding(base, base + 5.7, NUMBER) == "temperature is higher: median 24.1 → 29.8"
    assert finding(base, base - 5.7, NUMBER) == "temperature is lower: median 24.1 → 18.4"
    wide = pd.Series(24 + 3 * (base - 24))
    assert finding(base, wide, NUMBER).startswith("temperature varies more: middle half spans ")
    assert finding(wide, base, NUMBER).startswith("temperature varies less: middle half spans ")
    assert finding(base, base, NUMBER) == "temperature is steady: KS distance 0.00, minimum effect 0.02"
    assert finding(base, base.mask(rng.random(1_000) < 0.5), NUMBER).startswith(
        "temperature is missing more often: 0 % → "
    )
    assert finding(base[:20], base, NUMBER).startswith("temperature is not tested: 20 and 1,000 rows")


def test_another_shape_with_the_same_median_and_spread() -> None:
    square = np.r_[np.linspace(-1, 1, 2_000)]
    # The middle half stays where it is; the tails leave for far away.
    tails = np.where(np.abs(square) > 0.6, square * 40, square)
    assert finding(pd.Series(square), pd.Series(tails), NUMBER).startswith("temperature has another shape: ")


def test_findings_of_categories() -> None:
    before = texts(["east"] * 500 + ["west"] * 500)
    more = texts(["east"] * 200 + ["west"] * 800)
    assert finding(before, more, WORD) == "site has more rows with west: 50 % → 80 %"
    new = texts(["east"] * 400 + ["south"] * 300 + ["moon"] * 300)
    assert finding(before, new, WORD) == "site has a new value: moon in 30 % of rows and 1 more new"
    assert finding(before, texts(["east"] * 300), WORD) == "site has lost a value: west, 50 % of rows before"


def test_one_whole_number_that_is_all_but_too_large_has_a_bin_around_it() -> None:
    value = 4503599627370498.0
    found = distribution(pd.Series([value]), pd.Series([value]), Feature(name="x", kind="numeric"))
    assert found.edges[0] < value < found.edges[-1]


def test_a_steady_feature_is_reported_without_what_happened_to_it() -> None:
    chance = {"p": 0.0001, "tests": 3}
    within = because("within_gate", measure="KS distance", effect=0.01, gate=0.02, **chance)
    score = DriftScore(
        name="x", kind="numeric", drifted=False, statistic=0.01, p_value=0.0, effect=0.01,
        reason=because("all_of", parts=[within, because("median", before=1.0, after=2.0)]),
    )  # fmt: skip
    said = "x is steady: KS distance 0.01, significant but not above the minimum effect 0.02 (p < 0.001 after Holm over 3 tests)"
    assert feature_finding(score) == said


def test_a_finding_without_a_distribution_rests_on_the_reason() -> None:
    score = DriftScore(
        name="x",
        kind="numeric",
        drifted=True,
        statistic=0.4,
        p_value=0.0,
        effect=0.4,
        test="PSI",
        reason=as_written("PSI 0.40"),
    )
    assert feature_finding(score) == "x drifted: PSI 0.40"
