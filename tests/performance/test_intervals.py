"""Intervals of realised scores: they hold the truth as often as they say, on few rows and on rows that hang together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core.performance.intervals import mean_interval, rows_as_one, t95, wider
from core.performance.realised import Intervals, measure, pooled
from core.records import METRICS, Score, metrics_of

RANGE = {"balanced_accuracy": (0, 1), "macro_f1": (0, 1), "kappa": (-1, 1), "mcc": (-1, 1), "brier": (0, 1)}


def drawn(rng: np.random.Generator, n: int, shares: tuple[float, ...], apart: float) -> tuple[Any, Any, Any]:
    """True classes, answers and honest probabilities of a model of normal scores."""
    k = len(shares)
    true = rng.choice(k, n, p=shares)
    evidence = rng.normal(size=(n, k))
    evidence[np.arange(n), true] += apart
    logits = apart * evidence + np.log(shares)
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    return true, logits.argmax(axis=1), proba / proba.sum(axis=1, keepdims=True)


def shares_held(
    rng: np.random.Generator, n: int, shares: tuple[float, ...], apart: float, runs: int
) -> dict[str, float]:
    """How many of the intervals hold the score of a very large sample, by metric."""
    k = len(shares)
    task: Any = "binary" if k == 2 else "multiclass"
    names = list(metrics_of(task))
    large = drawn(rng, 100_000, shares, apart)
    truth = measure(task, *large, list(range(k)), metrics=names, intervals=None).scores
    reported: dict[str, list[bool]] = {name: [] for name in names}
    for _ in range(runs):
        for name, score in measure(task, *drawn(rng, n, shares, apart), list(range(k)), metrics=names).scores.items():
            if score.value is not None:
                assert score.low is not None and score.high is not None and score.low < score.high
                reported[name].append(score.low <= (truth[name].value or 0.0) <= score.high)
    return {name: float(np.mean(each)) for name, each in reported.items()}


def least(runs: int) -> float:
    """Four standard deviations below 92 %: what a good interval does not fall short of in so many runs."""
    return 0.92 - 4 * math.sqrt(0.92 * 0.08 / runs)


@pytest.mark.parametrize(
    ("n", "shares", "apart"),
    [
        (30, (0.5, 0.5), 2.66),  # right on 97 % of rows: a third of the samples hold no mistake
        (30, (0.95, 0.05), 2.0),  # a fifth of the samples hold no positive row
        (30, (0.7, 0.15, 0.1, 0.05), 1.8),
        (100, (0.25,) * 4, 3.4),
        (1000, (0.8, 0.2), 2.7),  # an AUC of .997 rests on a handful of rows
    ],
)
def test_intervals_of_few_rows_hold_the_truth(n: int, shares: tuple[float, ...], apart: float) -> None:
    runs = 200
    for name, share in shares_held(np.random.default_rng(5), n, shares, apart, runs).items():
        assert share >= least(runs), name


@pytest.mark.campaign
def test_intervals_hold_the_truth_over_a_grid_of_models(campaign: Any) -> None:
    rng = np.random.default_rng(6)
    shares = ((0.5, 0.5), (0.8, 0.2), (0.95, 0.05), (0.6, 0.3, 0.1), (0.7, 0.15, 0.1, 0.05))
    cases = [(n, s, apart) for n in (20, 30, 100, 1000) for s in shares for apart in (0.8, 1.6, 2.7)]
    runs = 20 if campaign.progress is None else 400
    cases = cases[::15] if campaign.progress is None else cases
    for number in campaign.rounds("intervals", len(cases)):
        for name, share in shares_held(rng, *cases[number], runs).items():
            assert share >= least(runs) - 0.02, (name, cases[number])


@pytest.mark.parametrize("errors", ["normal", "laplace", "uniform"])
def test_intervals_of_few_numbers_hold_the_truth(errors: str) -> None:
    rng, runs = np.random.default_rng(7), 400
    scale = {"normal": 1.0, "laplace": 1.0, "uniform": 2.0}[errors]

    def error(n: int) -> np.ndarray:
        draw = getattr(rng, errors)
        return draw(-scale, scale, n) if errors == "uniform" else draw(0.0, scale, n)

    large = error(1_000_000)
    mse = float((large**2).mean())
    truth = {"mae": float(np.abs(large).mean()), "rmse": math.sqrt(mse), "r2": 1 - mse / 4}
    reported: dict[str, list[bool]] = {name: [] for name in truth}
    for _ in range(runs):
        y = rng.normal(0, 2, 30)
        for name, score in measure("regression", y, y + error(30)).scores.items():
            assert score.low is not None and score.high is not None
            reported[name].append(score.low <= truth[name] <= score.high)
    for name, each in reported.items():
        assert np.mean(each) >= least(runs), name


@pytest.mark.parametrize("rows", [2, 5, 30, 300])
def test_no_mistake_seen_is_no_certainty(rows: int) -> None:
    true = np.arange(rows) % 2
    proba = np.where(true[:, None] == [0, 1], 0.99, 0.01)
    for name, score in measure("binary", true, true, proba, [0, 1]).scores.items():
        assert score.low is not None and score.high is not None
        assert score.high - score.low > 0.3 / rows, name
        low, high = RANGE.get(name, (0, math.inf))
        assert low <= score.low <= (score.value or 0.0) <= score.high <= high
    y = np.linspace(0, 1, rows)
    for name, score in measure("regression", y, y).scores.items():
        assert score.low is not None and score.high is not None
        assert score.low < score.high, name


def test_t95_is_students_quantile() -> None:
    from scipy.stats import t

    for freedom in (2, 3, 5, 10, 29.5, 1000):
        assert t95(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=0.01)


def test_a_symmetric_mean_gets_about_students_interval() -> None:
    losses = np.random.default_rng(1).uniform(0, 1, 400)
    low, high = mean_interval(losses, 1.0)
    half = t95(399) * losses.std(ddof=1) / 20
    assert (high - low) / 2 == pytest.approx(half, rel=0.02)
    assert mean_interval(np.zeros(5), 0.0) == (0.0, 0.0)


# --- rows that hang together in time ------------------------------------------------------------------------------


def right_in_time(rng: np.random.Generator, n: int, memory: float, bar: float) -> np.ndarray:
    """Whether each row is right: a hidden first-order autoregressive process below a bar."""
    from scipy.signal import lfilter

    steps = rng.normal(size=n)
    steps[1:] *= math.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], steps)) < bar


def accuracies(memory: float, n: int, runs: int, *, ordered: bool) -> list[Score]:
    rng = np.random.default_rng(9)
    found = []
    for _ in range(runs):
        true = np.arange(n) % 2
        right = right_in_time(rng, n, memory, 0.5244005127080407)  # 70 % are below
        answers = np.where(right, true, 1 - true)
        found.append(
            measure("binary", true, answers, metrics=["accuracy"], intervals=Intervals(ordered=ordered)).score(
                "accuracy"
            )
        )
    return found


def held_of(scores: list[Score]) -> float:
    return float(np.mean([(s.low or 0.0) <= 0.7 <= (s.high or 1.0) for s in scores]))


def width_of(scores: list[Score]) -> float:
    return float(np.mean([(s.high or 1.0) - (s.low or 0.0) for s in scores]))


def test_rows_that_hang_together_count_as_fewer() -> None:
    runs = 250
    for n in (500, 1000):
        plain, ordered = (accuracies(0.9, n, runs, ordered=o) for o in (False, True))
        assert held_of(plain) < 0.6
        assert held_of(ordered) >= 0.9 - 3 * math.sqrt(0.9 * 0.1 / runs)
        assert all(s.n == n and s.n_effective is not None and s.n_effective < n / 3 for s in ordered)


def test_independent_rows_keep_their_width() -> None:
    for n in (30, 100, 1000):
        plain, ordered = (accuracies(0.0, n, 400, ordered=o) for o in (False, True))
        assert width_of(ordered) <= 1.03 * width_of(plain)
        assert held_of(ordered) >= least(400)
        assert np.mean([s.n_effective is None for s in ordered]) > 0.9


def test_every_metric_grows_wider_where_rows_hang_together() -> None:
    rng = np.random.default_rng(2)
    n = 1000
    right = right_in_time(rng, n, 0.95, 0.8)
    true = rng.integers(0, 2, n)
    answers = np.where(right, true, 1 - true)
    sure = rng.uniform(0.5, 1, n)
    proba = np.where(answers[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    plain, ordered = (
        measure("binary", true, answers, proba, [0, 1], intervals=Intervals(ordered=o)).scores for o in (False, True)
    )
    y = rng.normal(size=n)
    off = y + np.where(right, 0.1, 1.0) * rng.normal(size=n)
    for o, scores in ((False, plain), (True, ordered)):
        scores |= measure("regression", y, off, intervals=Intervals(ordered=o)).scores
    assert set(plain) == set(METRICS)
    for name in METRICS:
        before, after = plain[name], ordered[name]
        assert before.low is not None and before.high is not None and after.low is not None and after.high is not None
        assert after.value == before.value and before.n_effective is None
        assert after.n_effective is not None and after.n_effective < n, name
        assert after.high - after.low > 1.2 * (before.high - before.low), name


def test_rows_as_one_is_one_without_anything_to_see() -> None:
    assert rows_as_one(np.ones(500)) == 1.0
    assert rows_as_one(np.array([0.0, 1.0])) == 1.0
    assert rows_as_one(np.tile([0.0, 1.0], 200)) == 1.0  # neighbours that differ
    assert rows_as_one(np.repeat(np.random.default_rng(1).random(50), 10)) == pytest.approx(10, rel=0.5)
    assert wider(100, 1.0) == 1.0 and wider(100, 4.0) > 2.0


def test_portions_keep_what_they_say_of_their_rows() -> None:
    parts = [Score(metric="accuracy", value=0.8, low=0.6, high=0.9, n=100, n_effective=e) for e in (25.0, None)]
    found = pooled(parts)
    assert found.n == 200 and found.n_effective == 125.0
    whole = pooled([Score(metric="accuracy", value=0.8, low=0.7, high=0.9, n=100)] * 2)
    assert found.high is not None and found.low is not None and whole.high is not None and whole.low is not None
    assert found.high - found.low > whole.high - whole.low
