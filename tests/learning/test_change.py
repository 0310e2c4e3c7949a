"""Finding a change in a stream of errors, with bounds that come from the detector's own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact

from core.learning.change import CHANCE, falls_below, is_rising, likeliest_split, most_by_chance, recent_mean


def errors(rates: list[tuple[int, float]], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([(rng.random(n) < rate).astype(float) for n, rate in rates])


def test_a_jump_of_the_error_rate_rises_and_a_fall_or_nothing_does_not() -> None:
    found = [is_rising(errors([(500, 0.1), (300, 0.4)], seed)) for seed in range(50)]
    fallen = [is_rising(errors([(500, 0.4), (300, 0.1)], seed)) for seed in range(50)]
    assert all(found)
    assert not any(fallen)


def test_false_alarms_are_no_more_frequent_than_delta_says() -> None:
    # Expected at most .002 of 500 series, that is 1; more than 5 would have a chance of 6e-4.
    alarms = sum(is_rising(errors([(1000, 0.2)], seed)) for seed in range(500))
    assert alarms <= 5


def test_an_equal_rate_falls_below_its_mean_about_once_in_a_hundred() -> None:
    # One-sided 1 % of 2,000 batches: 20 expected, standard deviation 4.4; the discrete tail may add half as much.
    history = [(500, 0.2)] * 10
    alarms = sum(falls_below(history, errors([(500, 0.2)], seed)) for seed in range(2000))
    assert 3 <= alarms <= 45
    assert falls_below(history, errors([(500, 0.3)], 1))
    assert not falls_below([], errors([(500, 0.9)], 1))


@pytest.mark.parametrize(("rate", "batches", "n"), [(0.05, 1, 100), (0.2, 1, 500), (0.05, 10, 100), (0.01, 3, 100)])
def test_what_the_last_batches_leave_open_counts(rate: float, batches: int, n: int) -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        rows = rng.random((batches + 1, n)) < rate
        history = [(n, float(batch.mean())) for batch in rows[:-1]]
        alarms += falls_below(history, rows[-1].astype(float))
    assert alarms <= binom.ppf(0.999, 400, 0.01)


def test_batches_that_differ_by_themselves_raise_the_bound() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        rates = np.clip(rng.normal(0.3, 0.06, 11), 0, 1)  # three times the spread of 500 independent rows
        rows = rng.random((11, 500)) < rates[:, None]
        alarms += falls_below([(500, float(batch.mean())) for batch in rows[:-1]], rows[-1].astype(float))
    # Of ten batches the spread is known to a quarter: Student's t with 9 degrees of freedom is beyond 2.33 in 2.2 %.
    assert alarms <= binom.ppf(0.999, 400, 0.022)


def test_one_wrong_row_after_a_perfect_run_is_no_change() -> None:
    assert not falls_below([(500, 0.0)] * 10, np.r_[np.zeros(499), 1.0])
    assert falls_below([(500, 0.0)] * 10, np.r_[np.zeros(490), np.ones(10)])
    assert not falls_below([(500, 1.0)] * 10, np.ones(500))
    assert not falls_below([(1, 0.0)], np.ones(1))


@pytest.mark.parametrize("batches", [1, 10])
def test_real_valued_errors_keep_the_level_too(batches: int) -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(400):
        rows = np.minimum(rng.exponential(0.5, (batches + 1, 50)), 3.0)
        history = [(50, float(batch.mean())) for batch in rows[:-1]]
        alarms += falls_below(history, rows[-1], past=rows[:-1].ravel())
    assert alarms <= binom.ppf(0.999, 400, 0.01)


def test_real_valued_errors_without_any_spread_before_are_judged_by_their_own() -> None:
    spike = np.r_[np.zeros(499), 2.9]
    assert not falls_below([(500, 0.0)] * 10, spike, past=np.zeros(1000))
    assert not falls_below([(500, 0.2)], np.full(1, 0.9), past=np.full(500, 0.2))


def test_the_most_by_chance_is_fishers_test() -> None:
    for rows, wrong, n in ((500, 50, 100), (5000, 3, 100), (100, 0, 100), (60, 30, 400)):
        most = most_by_chance(rows, wrong / rows, n)
        for hits, beyond in ((most, False), (most + 1, True)):
            table = [[hits, n - hits], [wrong, rows - wrong]]
            assert bool(fisher_exact(table, alternative="greater").pvalue <= CHANCE) is beyond
    assert most_by_chance(500, 0.1, 100, inflated=3.0) > most_by_chance(500, 0.1, 100)


def test_real_valued_errors_are_compared_by_their_spread() -> None:
    rng = np.random.default_rng(0)
    history = [(500, 0.5)] * 3
    assert falls_below(history, rng.exponential(0.7, 500))
    assert not falls_below(history, rng.exponential(0.4, 500))


@pytest.mark.parametrize("at", [100, 480, 850])
def test_the_split_is_found_near_where_the_rate_changed(at: int) -> None:
    places = [likeliest_split(errors([(at, 0.1), (1000 - at, 0.6)], seed)) for seed in range(60)]
    assert np.median(np.abs(np.array(places) - at)) <= 5
    assert np.quantile(np.abs(np.array(places) - at), 0.9) <= 25


def test_the_split_of_real_valued_errors_is_found_too() -> None:
    rng = np.random.default_rng(1)
    series = np.concatenate([rng.exponential(0.3, 400), rng.exponential(1.2, 200)])
    assert abs(likeliest_split(series) - 400) <= 30


def test_too_few_rows_or_no_worse_part_have_no_split() -> None:
    assert likeliest_split(np.zeros(5)) == 0
    assert likeliest_split(np.concatenate([np.ones(100), np.zeros(100)])) <= 10 + 100
    assert likeliest_split(np.zeros(100)) == 0
    assert not is_rising(np.ones(10))


def test_the_recent_mean_counts_rows() -> None:
    assert recent_mean([(100, 0.5), (300, 0.1)]) == pytest.approx(0.2)
    assert recent_mean([]) is None
