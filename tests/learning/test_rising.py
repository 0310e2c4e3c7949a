"""Evidence of higher errors: its false alarms keep their bound at every batch size, and true rises are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy.stats import fisher_exact, hypergeom, kstest, poisson

from core.learning.change import BATCH_ROWS, recent_mean
from core.learning.rising import (
    NEEDED,
    ROWS,
    STAKES,
    Rise,
    batch_variation,
    clustering,
    hypergeometric,
    score_of,
    update_rise,
)

Errors = Callable[[np.random.Generator, int], np.ndarray]


def wrong(rate: float) -> Errors:
    """Errors of 0 and 1 at a rate."""
    return lambda rng, n: (rng.random(n) < rate).astype(float)


def sized(rng: np.random.Generator, n: int) -> np.ndarray:
    """Errors of a regression."""
    return np.minimum(rng.exponential(0.5, n), 3.0)


def looks(batches: Iterator[np.ndarray], seed: int) -> Iterator[Rise]:
    """The evidence after each batch, with what a learner remembers; it begins anew where a rise was found."""
    rng = np.random.default_rng(seed)
    rise, history, past = Rise(), [], np.empty(0)
    for errors in batches:
        rise = update_rise(rise, history, errors, past=past, rng=rng)
        yield rise
        if rise.found:
            rise, history, past = Rise(), [], np.empty(0)
        history = [*history, (len(errors), float(errors.mean()))][-10:]
        past = np.concatenate([past, errors])[-1000:]


@pytest.mark.parametrize(
    ("errors", "size"), [(wrong(0.2), 500), (wrong(0.2), 50), (wrong(0.02), 100), (wrong(0.5), 35), (sized, 50)]
)
def test_errors_that_keep_their_rate_alarm_no_more_often_than_is_said(errors: Errors, size: int) -> None:
    rows, runs = 30_000, 8
    alarms = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        alarms += sum(rise.found for rise in looks((errors(rng, size) for _ in range(rows // size)), seed))
    assert alarms <= poisson.ppf(0.999, runs * rows / (NEEDED * ROWS))


@pytest.mark.parametrize(("before", "after", "rows"), [(0.2, 0.4, 500), (0.05, 0.15, 500), (0.2, 0.45, 50)])
def test_a_jump_is_found_within_five_hundred_rows(before: float, after: float, rows: int) -> None:
    late = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rates = [before] * (1_000 // rows) + [after] * (500 // rows)
        late += not any(rise.found for rise in looks((wrong(rate)(rng, rows) for rate in rates), seed))
    assert late <= 1


def test_a_slow_rise_that_no_single_batch_shows_is_found() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rates = [0.2] * 10 + [0.2 + 0.01 * n for n in range(1, 13)]
        scores = [rise.found for rise in looks((wrong(rate)(rng, 500) for rate in rates), seed)]
        found.append(any(scores[10:]) and not any(scores[:10]))
    assert sum(found) >= 19


def test_a_fall_is_no_rise() -> None:
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        alarms += sum(rise.found for rise in looks((wrong(rate)(rng, 500) for rate in [0.4] * 10 + [0.1] * 10), seed))
    assert alarms <= poisson.ppf(0.999, 20 * 20 * 500 / (NEEDED * ROWS)) / 4  # with room: it is far below its bound


def test_a_score_is_standard_normal_where_nothing_changes() -> None:
    scores = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        batches = [wrong(0.1)(rng, 100) for _ in range(4)]
        scores.append(score_of(float(batches[0].mean()), 100, batches[-1], [], coin=float(rng.random())))
    assert kstest(scores, "norm").pvalue > 0.001


def test_the_counts_have_the_chances_of_the_hypergeometric_distribution() -> None:
    for hits, n, before, rows in ((5, 100, 50, 500), (0, 30, 3, 100), (100, 100, 100, 100), (20, 400, 30, 60)):
        above, same = hypergeometric(hits, n, before, rows)
        law = hypergeom(n + rows, hits + before, n)
        assert (above, same) == pytest.approx((law.sf(hits), law.pmf(hits)), abs=1e-12)
        table = [[hits, n - hits], [before, rows - before]]
        assert above + same == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


def test_evidence_grows_by_one_with_every_rows_where_a_score_is_neutral() -> None:
    # E exp(s z - s²/2) = 1 for a standard normal z: over many draws, the sum of the smallest stake is the rows / ROWS.
    z = np.random.default_rng(0).normal(size=200_000)
    assert np.exp(STAKES[0] * z - STAKES[0] ** 2 / 2).mean() == pytest.approx(1.0, abs=0.01)


def test_batches_that_differ_by_themselves_count_as_fewer_rows() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for seed in range(10):
        rates = np.clip(rng.normal(0.3, 0.06, 60), 0, 1)  # three times the spread of 500 independent rows
        alarms += sum(rise.found for rise in looks((wrong(rate)(rng, 500) for rate in rates), seed))
    assert alarms <= poisson.ppf(0.999, 10 * 60 * 500 / (NEEDED * ROWS))


def test_one_wrong_row_after_a_perfect_run_is_no_change_and_ten_are() -> None:
    rng = np.random.default_rng(0)
    assert not update_rise(Rise(), [(500, 0.0)] * 10, np.r_[np.zeros(499), 1.0], rng=rng).found
    assert update_rise(Rise(), [(500, 0.0)] * 10, np.r_[np.zeros(490), np.ones(10)], rng=rng).found
    assert not update_rise(Rise(), [(500, 1.0)] * 10, np.ones(500), rng=rng).found


def test_errors_without_any_spread_before_are_judged_by_their_own() -> None:
    rng = np.random.default_rng(0)
    spike = np.r_[np.zeros(499), 2.9]
    assert not update_rise(Rise(), [(500, 0.0)] * 10, spike, past=np.zeros(1000), rng=rng).found
    assert not update_rise(Rise(), [(500, 0.2)] * 3, np.full(500, 0.2), past=np.full(1000, 0.2), rng=rng).found
    assert update_rise(Rise(), [(500, 0.2)] * 3, np.full(500, 0.9), past=np.full(1000, 0.2), rng=rng).found


def test_few_errors_wait_for_more() -> None:
    rng = np.random.default_rng(0)
    history = [(500, 0.2)] * 3
    waiting = update_rise(Rise(), history, np.ones(BATCH_ROWS - 1), rng=rng)
    assert (waiting.evidence, len(waiting.waiting)) == (0.0, BATCH_ROWS - 1)
    after = update_rise(waiting, history, np.ones(1), rng=rng)
    assert after.waiting == ()
    assert after.found
    assert update_rise(Rise(), [], np.ones(500), rng=rng) == Rise()
    assert recent_mean(history) == pytest.approx(0.2)


def test_a_step_in_the_past_is_not_taken_for_rows_that_go_together_and_waves_are() -> None:
    rng = np.random.default_rng(0)
    step = np.r_[wrong(0.9)(rng, 300), wrong(0.1)(rng, 700)]
    rate = np.clip(0.3 + 0.25 * np.sin(np.arange(1000) / 30), 0, 1)
    waves = (rng.random(1000) < rate).astype(float)
    assert clustering(step) < 2.0 < clustering(waves)
    assert (clustering(np.zeros(1000)), clustering(step[:50])) == (1.0, 1.0)
    assert batch_variation([(500, 0.9), *[(500, 0.2)] * 5], 0.16) == 1.0
    assert batch_variation([(500, 0.1), (500, 0.3)] * 4, 0.16) > 2.0
