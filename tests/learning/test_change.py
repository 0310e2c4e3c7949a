"""Finding a change in a stream of errors, with bounds that come from the detector's own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from core.learning.change import CHANCE, appended, likeliest_split, most_by_chance, recent_mean


def errors(rates: list[tuple[int, float]], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([(rng.random(n) < rate).astype(float) for n, rate in rates])


def test_the_most_by_chance_is_fishers_test() -> None:
    for rows, wrong, n in ((500, 50, 100), (5000, 3, 100), (100, 0, 100), (60, 30, 400)):
        most = most_by_chance(rows, wrong / rows, n)
        for hits, beyond in ((most, False), (most + 1, True)):
            table = [[hits, n - hits], [wrong, rows - wrong]]
            assert bool(fisher_exact(table, alternative="greater").pvalue <= CHANCE) is beyond
    assert most_by_chance(500, 0.1, 100, inflated=3.0) > most_by_chance(500, 0.1, 100)


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


def test_the_recent_mean_counts_rows() -> None:
    assert recent_mean([(100, 0.5), (300, 0.1)]) == pytest.approx(0.2)
    assert recent_mean([]) is None


def test_small_batches_of_the_history_are_put_together_and_old_ones_dropped() -> None:
    history: tuple[tuple[int, float], ...] = ()
    for n, mean in ((100, 0.5), (10, 0.0), (10, 1.0), (50, 0.2)):
        history = appended(history, (n, mean))
    assert [n for n, _ in history] == [120, 50]
    assert history[0][1] == pytest.approx((50 + 0 + 10) / 120)
    for _ in range(20):
        history = appended(history, (40, 0.1))
    assert history == ((40, 0.1),) * 10
