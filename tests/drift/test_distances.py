"""Distances and p-values, held against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.drift import distances

VALUES = st.lists(st.integers(-5, 5).map(float) | st.floats(-1e6, 1e6), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES)
def test_ks_distance_is_the_largest_gap_at_any_value_ties_included(a: list[float], b: list[float]) -> None:
    gaps = [abs(np.mean(np.array(a) <= v) - np.mean(np.array(b) <= v)) for v in a + b]
    assert distances.ks_distance(np.sort(a), np.sort(b)) == pytest.approx(max(gaps), abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.7, 50.0])
@pytest.mark.parametrize("decimals", [1, 12])
def test_ks_distance_is_scipys_beyond_its_grid(shift: float, decimals: int) -> None:
    rng = np.random.default_rng(int(shift * 100))
    n = 3 * distances.GRID
    a, b = rng.normal(size=n).round(decimals), (rng.normal(size=n + 777) + shift).round(decimals)
    expected = stats.ks_2samp(a, b, method="asymp").statistic
    assert distances.ks_distance(np.sort(a), np.sort(b)) == pytest.approx(expected, abs=1e-12)
    assert distances.ks_distance(np.sort(b), np.sort(a)) == pytest.approx(expected, abs=1e-12)


def test_ks_p_value_is_smirnovs_limit() -> None:
    for d, n, m in ((0.03, 2_000, 900), (0.2, 100, 150), (0.5, 40, 40)):
        assert distances.ks_p_value(d, n, m) == pytest.approx(
            stats.kstwobign.sf(d * np.sqrt(n * m / (n + m))), rel=1e-9
        )


def test_ks_p_value_comes_near_scipys_for_common_sizes() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=800), rng.normal(0.12, 1, size=900)
    ours = distances.kolmogorov_smirnov(np.sort(a), np.sort(b)).p_value
    assert ours == pytest.approx(stats.ks_2samp(a, b, method="asymp").pvalue, rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_chi_square_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = np.stack([rng.multinomial(700, [0.5, 0.3, 0.15, 0.05]), rng.multinomial(450, [0.45, 0.3, 0.2, 0.05])])
    expected = stats.chi2_contingency(table, correction=False)
    assert distances.chi_square_statistic(table) == pytest.approx(expected.statistic, rel=1e-9)
    assert distances.chi_square(table).p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_total_variation_is_the_share_that_changed_category() -> None:
    assert distances.total_variation(np.array([[50, 50], [80, 20]])) == pytest.approx(0.3)
    assert distances.chi_square(np.array([[50, 50], [80, 20]])).effect == pytest.approx(0.3)


def test_rare_categories_are_pooled_into_one() -> None:
    table = np.array([[100, 100, 1, 0, 2], [100, 100, 0, 3, 1]])
    assert distances.pooled(table).tolist() == [[100, 100, 3], [100, 100, 4]]
    assert distances.pooled(np.array([[60, 40], [50, 50]])).tolist() == [[60, 40], [50, 50]]


def test_psi_is_the_sum_over_shares() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    expected = ((q - p) * np.log(q / p)).sum()
    assert distances.psi_of_table(np.array([[500, 300, 200], [400, 300, 300]])).effect == pytest.approx(expected)


def test_jensen_shannon_is_scipys_distance() -> None:
    from scipy.spatial.distance import jensenshannon

    table = np.array([[500, 300, 200], [380, 300, 320]])
    expected = jensenshannon(table[0] / 1000, table[1] / 1000, base=2)
    assert distances.jensen_shannon_of_table(table).effect == pytest.approx(expected)
    assert distances.jensen_shannon_of_table(np.array([[500, 0], [0, 500]])).effect == pytest.approx(1.0)


def test_two_proportions_is_the_chi_square_test_with_yates_correction() -> None:
    found = distances.two_proportions(10, 200, 40, 300)
    table = [[10, 190], [40, 260]]
    assert found.p_value == pytest.approx(stats.chi2_contingency(table, correction=True).pvalue, rel=1e-9)
    assert found.effect == pytest.approx(40 / 300 - 10 / 200)
    assert distances.two_proportions(0, 50, 0, 60).p_value == 1.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_p_values_and_bonferroni(p_values: list[float]) -> None:
    adjusted = distances.holm(p_values)
    order = np.argsort(p_values, kind="stable")
    assert all(p <= a <= min(1.0, len(p_values) * p) + 1e-12 for p, a in zip(p_values, adjusted, strict=True))
    assert list(np.diff([adjusted[i] for i in order]) >= 0) == [True] * (len(p_values) - 1)


def test_holm_by_hand() -> None:
    assert distances.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert distances.holm([]) == []
