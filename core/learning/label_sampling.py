"""Active learning: sample the rows to label by expected gain with a random share, so that scores measured on them stay unbiased.

Every row of the pool has a known inclusion probability; inverse-probability weighting undoes the preference for hard rows
(Horvitz and Thompson 1952; the ratio form is Hajek's, 1971). Numpy only: pages import this module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.errors import BadInput
from core.performance.formulas import COMPUTE
from core.performance.intervals import Z95
from core.performance.proportions import wilson
from core.records import METRICS, Score, Task, because

RANDOM_SHARE = 0.3
RESAMPLES = 200
MIN_ROWS = 2
MAX_EFFECTIVE_GAIN = 1.5  # effective rows per sampled row at most: few rows estimate their variance badly


@dataclass(frozen=True, slots=True)
class LabelSample:
    """Sampled rows of a pool, in random order."""

    positions: np.ndarray  # shape (n,)
    inclusion_probabilities: np.ndarray  # shape (n,), in (0, 1]


def expected_gain(proba: np.ndarray) -> np.ndarray:
    """How informative a label would be: one minus the probability of the predicted class, shape (n,), from 0 to 1 - 1/K.

    Args:
        proba: shape (n, K), each row adding up to 1.

    That is the expected number of mistakes that the label would reveal (least-confidence uncertainty sampling, Lewis and
    Gale 1994); of the usual measures it is the one in the unit of the metric.
    """
    return 1.0 - np.asarray(proba, dtype=np.float64).max(axis=1)


def inclusion_probabilities(gain: np.ndarray, *, n: int, random_share: float = RANDOM_SHARE) -> np.ndarray:
    """Probability of each row to be among n sampled ones: a random share uniformly, the rest by gain; they sum to n.

    Args:
        gain: shape (N,), finite, at least 0; all 0 means uniform.

    Raises:
        BadInput: a gain that is negative or not finite, or a share that is not in (0, 1].
    """
    gain = np.asarray(gain, dtype=np.float64)
    if not np.isfinite(gain).all() or (gain < 0).any():
        raise BadInput("An expected gain is negative or not a number. Expected finite numbers from 0.")
    if not 0.0 < random_share <= 1.0:
        raise BadInput(
            f"random_share is {random_share}, expected a number above 0, at most 1: without it nothing is unbiased."
        )
    size = len(gain)
    if n >= size:
        return np.ones(size)
    total = gain.sum()
    wanted = np.full(size, 1.0 / size) if total == 0 else random_share / size + (1.0 - random_share) * gain / total
    probabilities = np.zeros(size)
    certain = np.zeros(size, dtype=bool)
    while True:  # probabilities above 1 are capped; the excess goes to the other rows
        left = n - certain.sum()
        probabilities[certain] = 1.0
        probabilities[~certain] = left * wanted[~certain] / wanted[~certain].sum()
        beyond = ~certain & (probabilities > 1.0)
        if not beyond.any():
            return probabilities
        certain |= beyond


def draw(gain: np.ndarray, *, n: int, random_share: float = RANDOM_SHARE, seed: int) -> LabelSample:
    """Samples n rows of a pool (all, if it has fewer), each with exactly its probability from `inclusion_probabilities`.

    Systematic sampling over a random order (Madow 1949): one random start, then every row at which the running
    sum of the probabilities passes another whole number.
    """
    probabilities = inclusion_probabilities(gain, n=n, random_share=random_share)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(probabilities))
    passed = np.cumsum(probabilities[order])
    start = rng.random()
    picks = np.floor(passed - start + 1e-9)
    before = np.concatenate([[np.floor(-start)], picks[:-1]])
    positions = rng.permutation(order[picks > before])
    return LabelSample(positions=positions, inclusion_probabilities=probabilities[positions])


def weighted_score(
    task: Task, metric: str, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray, *, seed: int = 0
) -> Score:
    """A metric over sampled rows, estimated for the whole pool, with a 95 % interval.

    Args:
        y_true, y_pred: shape (n,): classes, or values in regression.
        weights: shape (n,), above 0: one over each row's inclusion probability.

    Accuracy and mae are weighted means with the linearised variance of a ratio, accuracy by Wilson's interval with
    the number of rows that has that variance; the others by a weighted bootstrap of rows (200 resamples). Metrics that need
    probabilities are not supported: None with the reason.
    """
    n = len(y_true)
    needs = METRICS[metric].needs
    if needs not in ("classes", "values"):
        return Score(metric=metric, value=None, n=n, reason=because("needs_answers_alone"))
    if n < MIN_ROWS:
        return Score(metric=metric, value=None, n=n, reason=because("too_few_labelled_rows", needed=MIN_ROWS, found=n))
    w = np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    kish = 1 / float((w**2).sum())
    if metric in ("accuracy", "mae"):
        z = _rows(task, y_true, y_pred, metric)
        mean = float(w @ z)
        variance = float(((w * (z - mean)) ** 2).sum()) * n / (n - 1)
        if metric == "accuracy":
            # The number of independent rows with that variance; where no mistake was sampled, Kish's effective sample size (1965).
            alike = bool((z == z[0]).all())
            mean = float(z[0]) if alike else mean
            rows = kish if alike else min(MAX_EFFECTIVE_GAIN * n, mean * (1 - mean) / variance)
            low, high = wilson(mean * rows, rows)
            return Score(
                metric=metric, value=mean, low=low, high=high, n=n, method="inverse probability 95 %", n_effective=rows
            )
        low, high = max(mean - Z95 * math.sqrt(variance), 0.0), mean + Z95 * math.sqrt(variance)
        return Score(
            metric=metric, value=mean, low=low, high=high, n=n, method="inverse probability 95 %", n_effective=kish
        )
    value = _weighted(task, metric, y_true, y_pred, w)
    if value is None:
        return Score(metric=metric, value=None, n=n, reason=because("untellable"))
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in range(RESAMPLES):
        at = rng.integers(0, n, n)
        again = _weighted(task, metric, y_true[at], y_pred[at], w[at] / w[at].sum())
        if again is not None:
            resampled.append(again)
    if len(resampled) < RESAMPLES // 2:
        return Score(metric=metric, value=value, n=n, n_effective=kish)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Score(
        metric=metric,
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=n,
        method="weighted bootstrap 95 %",
        n_effective=kish,
    )


def _rows(task: Task, y_true: np.ndarray, y_pred: np.ndarray, metric: str) -> np.ndarray:
    if metric == "mae" or task == "regression":
        return np.abs(np.asarray(y_true, dtype=np.float64) - np.asarray(y_pred, dtype=np.float64))
    return (np.asarray(y_true) == np.asarray(y_pred)).astype(np.float64)


def _weighted(task: Task, metric: str, y_true: np.ndarray, y_pred: np.ndarray, w: np.ndarray) -> float | None:
    """A metric of weighted rows; None where it is undefined."""
    if task == "regression":
        truth, predicted = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
        squared = float(w @ (truth - predicted) ** 2)
        if metric == "rmse":
            return math.sqrt(squared)
        spread = float(w @ (truth - w @ truth) ** 2)
        return 1.0 - squared / spread if spread > 0 else None
    classes, codes = np.unique(np.concatenate([y_true, y_pred]), return_inverse=True)
    k, n = len(classes), len(y_true)
    counts = np.bincount(codes[:n] * k + codes[n:], weights=w * n, minlength=k * k).reshape(1, k, k)
    value = float(COMPUTE[metric](counts)[0])
    return value if math.isfinite(value) else None


def labels_to_halve(score: Score, *, pool: int) -> int | None:
    """How many more labels from the same draw halve the interval; None without an interval or when all rows are labelled.

    Its width falls with one over the square root of the rows, so four times as many are needed; a pool that runs out gives
    less (finite population correction: 1/n - 1/pool in place of 1/n).
    """
    if score.value is None or score.low is None or score.n < 1 or score.n >= pool:
        return None
    wanted = 1.0 / ((1.0 / score.n - 1.0 / pool) / 4.0 + 1.0 / pool)
    return max(math.ceil(wanted - score.n - 1e-9), 1)
