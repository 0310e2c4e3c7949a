"""Which rows are worth a label: drawn by expected gain with a random share, so that what is measured on them stays unbiased.

Every row of the pool has a chance to be drawn that is known; weighting by one over that chance undoes the preference for
hard rows (Horvitz and Thompson 1952; the ratio form is Hajek's, 1971). Numpy only: pages import this module.
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
LEAST_ROWS = 2
MOST_GAINED = 1.5  # a drawn row stands for so many random ones at the most: few rows tell their variance badly


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows of a pool that were drawn, in random order."""

    positions: np.ndarray  # shape (n,)
    chances: np.ndarray  # shape (n,): inclusion probability of each


def expected_gain(proba: np.ndarray) -> np.ndarray:
    """What a label could teach: one minus the probability of the answer that was given, shape (n,), from 0 to 1 - 1/K.

    Args:
        proba: shape (n, K), each row adding up to 1.

    That is the expected number of mistakes that the label would show (uncertainty sampling, Lewis and Gale 1994); of the
    usual measures it is the one in the unit of the metric.
    """
    return 1.0 - np.asarray(proba, dtype=np.float64).max(axis=1)


def inclusion(gain: np.ndarray, *, n: int, random_share: float = RANDOM_SHARE) -> np.ndarray:
    """Chance of each row to be among n drawn ones: a random share for all alike, the rest by gain; adds up to n.

    Args:
        gain: shape (N,), finite, at least 0; all 0 counts as all alike.

    Raises:
        BadInput: a gain that is negative or no number, or a share outside [0, 1] or of 0 with a gain of 0.
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
    chances = np.zeros(size)
    sure = np.zeros(size, dtype=bool)
    while True:  # those that would pass 1 are sure; what they leave over goes to the others
        left = n - sure.sum()
        chances[sure] = 1.0
        chances[~sure] = left * wanted[~sure] / wanted[~sure].sum()
        beyond = ~sure & (chances > 1.0)
        if not beyond.any():
            return chances
        sure |= beyond


def draw(gain: np.ndarray, *, n: int, random_share: float = RANDOM_SHARE, seed: int) -> Drawn:
    """n rows of a pool (all, if it has fewer), each with exactly the chance that `inclusion` says.

    Systematic sampling over a random order (Madow 1949): one random start, then every row in which the running sum of
    chances passes another whole number.
    """
    chances = inclusion(gain, n=n, random_share=random_share)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(chances))
    passed = np.cumsum(chances[order])
    start = rng.random()
    picks = np.floor(passed - start + 1e-9)
    before = np.concatenate([[np.floor(-start)], picks[:-1]])
    positions = rng.permutation(order[picks > before])
    return Drawn(positions=positions, chances=chances[positions])


def weighted_score(
    task: Task, metric: str, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray, *, seed: int = 0
) -> Score:
    """A metric over drawn rows that stands for the whole pool, with a 95 % interval.

    Args:
        y_true, y_pred: shape (n,): classes, or values in regression.
        weights: shape (n,), above 0: one over each row's chance to be drawn.

    Accuracy and mae are weighted means with the linearised variance of a ratio, accuracy in Wilson's form on as many rows
    as have that variance; the others take a bootstrap of rows with their weights (200 resamples). Metrics that need probabilities cannot be told: None with the reason.
    """
    n = len(y_true)
    needs = METRICS[metric].needs
    if needs not in ("classes", "values"):
        return Score(metric=metric, value=None, n=n, reason=because("needs_answers_alone"))
    if n < LEAST_ROWS:
        return Score(
            metric=metric, value=None, n=n, reason=because("too_few_labelled_rows", needed=LEAST_ROWS, found=n)
        )
    w = np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    kish = 1 / float((w**2).sum())
    if metric in ("accuracy", "mae"):
        z = _rows(task, y_true, y_pred, metric)
        mean = float(w @ z)
        variance = float(((w * (z - mean)) ** 2).sum()) * n / (n - 1)
        if metric == "accuracy":
            # As many independent rows as have that variance; where no mistake was drawn, Kish's number of rows (1965).
            alike = bool((z == z[0]).all())
            mean = float(z[0]) if alike else mean
            rows = kish if alike else min(MOST_GAINED * n, mean * (1 - mean) / variance)
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
    found = []
    for _ in range(RESAMPLES):
        at = rng.integers(0, n, n)
        again = _weighted(task, metric, y_true[at], y_pred[at], w[at] / w[at].sum())
        if again is not None:
            found.append(again)
    if len(found) < RESAMPLES // 2:
        return Score(metric=metric, value=value, n=n, n_effective=kish)
    low, high = np.quantile(found, (0.025, 0.975))
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
    """A metric of weighted rows; None where it cannot be told."""
    if task == "regression":
        truth, said = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
        squared = float(w @ (truth - said) ** 2)
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
    """How many more labels of the same draw make the interval half as wide; None when it has none or all are labelled.

    Its width falls with one over the square root of the rows, so four times as many are needed; a pool that runs out gives
    less (finite population correction: 1/n - 1/pool in place of 1/n).
    """
    if score.value is None or score.low is None or score.n < 1 or score.n >= pool:
        return None
    wanted = 1.0 / ((1.0 / score.n - 1.0 / pool) / 4.0 + 1.0 / pool)
    return max(math.ceil(wanted - score.n - 1e-9), 1)
