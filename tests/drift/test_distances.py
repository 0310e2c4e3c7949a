"""Distances and p-values, held against scipy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.drift import distances
from core.drift.ranks import Pair, compared


def pair(a: Any, b: Any) -> Pair:
    return compared(np.asarray(a, dtype=float), np.asarray(b, dtype=float), by_value=True)


def samples(seed: int, n: int = 400, m: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Two samples with ties and a shift."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=n).round(1), (rng.normal(size=m) * 1.1 + 0.1 * seed).round(1)


@pytest.mark.parametrize("seed", range(6))
def test_tests_of_numbers_are_scipys(seed: int) -> None:
    a, b = samples(seed)
    ks = stats.ks_2samp(a, b, method="asymp")
    ours = distances.kolmogorov_smirnov(pair(a, b))
    assert (ours.statistic, ours.p_value) == pytest.approx((ks.statistic, ks.pvalue), rel=1e-9)
    ranks = stats.mannwhitneyu(b, a, use_continuity=False, method="asymptotic")
    ours = distances.location(pair(a, b))
    assert ours.statistic == pytest.approx(2 * ranks.statistic / (len(a) * len(b)) - 1, abs=1e-9)
    assert ours.p_value == pytest.approx(ranks.pvalue, rel=1e-6)
    expected = stats.wasserstein_distance(a, b) / a.std()
    assert distances.wasserstein(pair(a, b)).effect == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(400, 300), (5_000, 30), (30, 2), (2, 2)])
def test_cramer_von_mises_of_distinct_values_is_scipys(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n), rng.normal(0.1, 1, size=m)
    expected = stats.cramervonmises_2samp(a, b, method="asymptotic")
    ours = distances.cramer_von_mises(pair(a, b))
    assert ours.statistic == pytest.approx(expected.statistic, rel=1e-9)
    assert ours.p_value == pytest.approx(expected.pvalue, abs=1e-9)


@pytest.mark.parametrize(("n", "m"), [(5_000, 500), (500, 500), (500, 30)])
@pytest.mark.parametrize("cells", [2, 5, 50])
def test_cramer_von_mises_keeps_its_level_where_values_tie(cells: int, n: int, m: int) -> None:
    rng = np.random.default_rng(cells)
    found = [distances.cramer_von_mises(pair(rng.integers(0, cells, n), rng.integers(0, cells, m))) for _ in range(200)]
    assert sum(f.p_value < 0.05 for f in found) <= stats.binom.ppf(0.999, 200, 0.05)
    assert sum(f.p_value < 0.004 for f in found) <= stats.binom.ppf(0.999, 200, 0.004)
    shifted = distances.cramer_von_mises(pair(rng.integers(0, cells, n), rng.integers(cells // 2, cells, m)))
    assert shifted.p_value < 0.004


def test_the_variance_of_cramer_von_mises_with_ties_is_that_of_all_orders() -> None:
    rng = np.random.default_rng(0)
    both = rng.choice(5, 600, p=[0.5, 0.3, 0.1, 0.05, 0.05]).astype(float)
    found = [distances.cramer_von_mises(pair(x[:500], x[500:])) for x in (rng.permutation(both) for _ in range(1_000))]
    # Of uniform p-values 300 are below .3, with a standard deviation of 14.5.
    assert abs(sum(f.p_value < 0.3 for f in found) - 300) < 4 * 14.5


def test_one_value_on_each_side_says_nothing_and_fails_nowhere() -> None:
    for a, b in ((1.0, 2.0), (1.0, 1.0), (np.inf, -np.inf), (0.0, np.inf)):
        for test in (
            distances.kolmogorov_smirnov, distances.location, distances.spread, distances.tails, distances.wasserstein,
            distances.cramer_von_mises, distances.psi, distances.jensen_shannon, distances.hellinger,
        ):  # fmt: skip
            for few, more in (([a], [b]), ([a], [b] * 7), ([a, b], [b])):  # chances of one order: 1/2, 1/8, 1/3
                found = test(pair(few, more))
                assert 0.1 < found.p_value <= 1 and np.isfinite(found.effect)


def test_many_rows_follow_smirnovs_limit() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30_000), rng.normal(0.02, 1, size=25_000)
    ours = distances.kolmogorov_smirnov(compared(a, b))
    expected = stats.ks_2samp(a, b, method="asymp")
    assert ours.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert ours.p_value == pytest.approx(expected.pvalue, rel=0.02)


def test_spread_sees_a_change_of_scale_and_says_which_way() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=3_000)
    wider, narrower = (distances.spread(pair(a, rng.normal(0, sd, 3_000))) for sd in (1.3, 0.7))
    assert wider.statistic > 0 > narrower.statistic
    assert max(wider.p_value, narrower.p_value) < 1e-9
    assert distances.spread(pair(a, rng.normal(size=3_000))).p_value > 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_spread_is_moods_test(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (
        rng.normal(size=500),
        rng.normal(0, 1 + seed / 10, 400),
    )  # without ties: scipy gives them no variance of their own
    expected = stats.mood(b, a)
    found = distances.spread(pair(a, b))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert np.sign(found.statistic) == np.sign(expected.statistic)


def test_tails_count_rows_beyond_the_outer_hundredth_of_both_samples_together() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=5_000), np.r_[rng.normal(size=4_900), rng.normal(0, 30, 100)]
    both = np.sort(np.r_[a, b])
    low, high = both[100 - 1], both[-100]  # the outer 100 of 10,000 rows at either end
    shares = [np.mean((x <= low) | (x >= high)) for x in (a, b)]
    found = distances.tails(pair(a, b))
    assert found.statistic == pytest.approx(shares[1] - shares[0]) and found.p_value < 1e-6
    assert distances.tails(pair(b, a)).statistic == -found.statistic
    ties = pair(np.zeros(100), np.r_[np.zeros(90), np.ones(10)])  # a tenth of the rows is no tail
    assert distances.tails(ties).p_value == 1.0


def test_what_a_sketch_may_be_off_by_counts_against_an_alarm() -> None:
    a, b = samples(3)
    exact = pair(a, b)
    unsure = dataclasses.replace(exact, error=0.05)
    for test in (distances.kolmogorov_smirnov, distances.location, distances.spread, distances.tails):
        assert test(unsure).p_value >= test(exact).p_value


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


def test_hellinger_is_its_formula() -> None:
    table = np.array([[500, 300, 200], [380, 300, 320]])
    expected = np.sqrt(((np.sqrt(table[0] / 1000) - np.sqrt(table[1] / 1000)) ** 2).sum() / 2)
    assert distances.hellinger_of_table(table).effect == pytest.approx(expected)
    assert distances.hellinger_of_table(np.array([[500, 0], [0, 500]])).effect == pytest.approx(1.0)


def test_a_single_cell_holds_no_difference() -> None:
    # Nearly every row has the lowest value, so all lies in one bin.
    crowded = [pair(np.r_[np.zeros(95), np.arange(1.0, 6.0)], np.r_[np.zeros(97), np.arange(1.0, 4.0)])]
    for test in (distances.psi, distances.jensen_shannon, distances.hellinger):
        assert test(*crowded) == distances.Outcome(0.0, 1.0, 0.0)
    rare = np.array([[3, 2, 1, 2], [1, 2, 2, 1]])  # each too rare: pooled into one
    for of_table in (distances.chi_square, distances.psi_of_table, distances.hellinger_of_table):
        assert of_table(rare).p_value == 1.0 and of_table(rare).effect == 0.0


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 500), (20, 40), (49, 49)])
@pytest.mark.parametrize("test", [distances.psi, distances.jensen_shannon, distances.hellinger])
def test_few_rows_get_as_many_bins_as_they_can_fill(test: Any, n: int, m: int) -> None:
    alike = shifted = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=n), rng.normal(size=m)
        alike += test(pair(a, b)).p_value < 0.05
        shifted += test(pair(a, b + 1.5)).p_value < 0.05
    assert alike <= 200 * 0.05 + 3.5 * np.sqrt(200 * 0.05 * 0.95)  # chi-square is a limit: about nominal
    assert shifted >= 180


def test_wasserstein_has_a_scale_whatever_the_reference_is() -> None:
    flat, spread = np.full(50, 2.0), np.r_[np.zeros(50), np.full(50, 4.0)]
    assert distances.wasserstein(pair(flat, spread)).effect == pytest.approx(1.0)  # two, over the deviation of two
    assert distances.wasserstein(pair(flat, flat + 3)).effect == pytest.approx(3.0)  # neither varies: in units
    infinite = distances.wasserstein(pair(np.full(9, np.inf), spread))
    assert (infinite.effect, infinite.p_value) == (0.0, 1.0)
    far = distances.wasserstein(pair(flat, np.r_[np.full(9, 1.7e308), np.full(9, -1.7e308)]))
    assert np.isfinite(far.effect) and 0 <= far.p_value <= 1


def test_two_proportions_is_the_chi_square_test_with_yates_correction() -> None:
    found = distances.two_proportions(100, 2_000, 240, 3_000)
    table = [[100, 1_900], [240, 2_760]]
    assert found.p_value == pytest.approx(stats.chi2_contingency(table, correction=True).pvalue, rel=1e-9)
    assert found.effect == pytest.approx(240 / 3_000 - 100 / 2_000)
    assert distances.two_proportions(0, 50, 0, 60).p_value == 1.0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_few_hits_are_judged_by_fishers_test(n: int, m: int, share: float, other: float) -> None:
    a, b = round(n * share), round(m * other)
    expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
    assert distances.fisher(a, n, b, m) == pytest.approx(expected, rel=1e-6)
    assert distances.fisher(b, m, a, n) == pytest.approx(expected, rel=1e-6)


RARE = [([0.997, 0.003], 30), ([0.997, 0.003], 50), ([0.997, 0.003], 100), ([0.9, 0.09, 0.005, 0.005], 30)]


@pytest.mark.parametrize(("shares", "m"), RARE)
def test_a_rare_category_raises_no_false_alarm(shares: list[float], m: int) -> None:
    rng = np.random.default_rng(m)
    tables = np.stack([rng.multinomial(5_000, shares, 1_000), rng.multinomial(m, shares, 1_000)], axis=1)
    for test in (
        distances.chi_square, distances.psi_of_table, distances.jensen_shannon_of_table, distances.hellinger_of_table
    ):  # fmt: skip
        alarms = sum(test(table[:, table.sum(axis=0) > 0]).p_value < 0.004 for table in tables)
        assert alarms <= stats.binom.ppf(0.999, 1_000, 0.004)
    alarms = sum(distances.two_proportions(a, 5_000, b, m).p_value < 0.0004 for a, b in tables[:, :, -1].tolist())
    assert alarms <= stats.binom.ppf(0.999, 1_000, 0.0004)


def test_a_rare_category_that_becomes_common_is_found() -> None:
    for table in ([[4_985, 15], [20, 10]], [[3_000, 1_985, 15], [12, 8, 10]]):
        assert distances.chi_square(np.array(table)).p_value < 1e-9
    # Three rows among thirty where three in a thousand were: 1.3e-4 by Fisher, twice that beside the other test.
    assert distances.chi_square(np.array([[4_985, 15], [27, 3]])).p_value == pytest.approx(
        stats.fisher_exact([[4_985, 15], [27, 3]]).pvalue
    )


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
