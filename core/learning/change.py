"""Statistics of the last batches of a stream of errors, and the row at which its rate rose.

Stateless: the learner keeps the newest errors and passes them with every batch. Out of scope: whether the rate is higher
(`core.learning.rising`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CHANCE = 0.01  # one-sided level: that a batch like the last ones counts as worse
BLOCK_ROWS, MIN_BLOCKS = 25, 8
MIN_BATCHES = 4  # minimum to estimate the variation between batches
HISTORY_BATCHES = 10  # batches in the history
BATCH_ROWS = 30  # a smaller batch is merged into the last one of the history
MIN_SIDE = 10  # rows on either side of a split


def inflation(errors: np.ndarray) -> float:
    """Variance inflation of the mean of neighbouring errors over that of independent ones; at least 1.

    Errors of consecutive rows are often correlated (weather, prices): the effective sample size is smaller than the
    number of rows. Measured by the variance of the means of blocks; 1 when there are too few blocks.
    """
    blocks = len(errors) // BLOCK_ROWS
    variance = float(errors.var())
    if blocks < MIN_BLOCKS or variance == 0.0:
        return 1.0
    means = errors[-blocks * BLOCK_ROWS :].reshape(blocks, BLOCK_ROWS).mean(axis=1)
    return max(1.0, BLOCK_ROWS * float(means.var(ddof=1)) / variance)


def most_by_chance(rows: int, mean: float, n: int, *, inflated: float = 1.0) -> int:
    """The most wrong rows in a batch that is not significantly worse than the last ones, in [0, n].

    Fisher's exact test (Fisher 1935), one-sided at CHANCE: given how many of all rows are wrong, how many of them fall
    into the batch is hypergeometric, whatever the rate of errors.

    Args:
        rows, mean: the number of earlier rows, and the share of them that was wrong, in [0, 1].
        n: rows of the batch.
        inflated: variance inflation, rows per independent row; at least 1. All counts are divided by it.
    """
    wrong = min(max(mean * rows, 0.0), float(rows))
    least, most = int(n * wrong / rows), n  # the previous rate is never significant
    while least < most:
        middle = (least + most + 1) // 2
        if _chance_of(middle / inflated, n / inflated, wrong / inflated, rows / inflated) > CHANCE:
            least = middle
        else:
            most = middle - 1
    return least


def _chance_of(hits: float, n: float, hits_before: float, rows: float) -> float:
    """Probability of at least this many hits among n rows, given all hits: hypergeometric, counts need not be whole."""
    from scipy.special import gammaln

    total = hits + hits_before
    # The support: counts of all four cells at least 0, in steps of one.
    steps = np.arange(-math.floor(min(hits, rows - hits_before)), math.floor(min(n - hits, hits_before)) + 1)
    inside = hits + steps
    cells = (inside, n - inside, total - inside, rows - total + inside)
    logs = -np.sum([gammaln(np.maximum(cell, 0.0) + 1.0) for cell in cells], axis=0)
    weights = np.exp(logs - logs.max())
    return float(weights[steps >= 0].sum() / weights.sum())


def dispersion(history: Sequence[tuple[int, float]], variance: float) -> float:
    """How much more the means of batches vary than those of independent rows with this variance; at least 1.

    Pearson's statistic over its degrees of freedom; 1 when there are fewer than MIN_BATCHES or nothing varies.
    """
    mean = recent_mean(history)
    if mean is None or len(history) < MIN_BATCHES or variance <= 0.0:
        return 1.0
    return max(1.0, sum(n * (value - mean) ** 2 for n, value in history) / variance / (len(history) - 1))


def recent_inflation(scores: Sequence[tuple[int, float]], errors: np.ndarray, *, of_rows: bool) -> float:
    """Variance inflation of a recent mean, in rows per independent row; at least 1.

    Args:
        scores: rows and score of each batch in the mean.
        errors: of the rows since the last change, shape (n,).
        of_rows: the score is a share of rows, so that overdispersion between batches can be estimated.
    """
    mean = recent_mean(scores)
    among_rows = inflation(errors) if len(errors) else 1.0
    return max(among_rows, dispersion(scores, mean * (1.0 - mean))) if of_rows and mean is not None else among_rows


def appended(history: tuple[tuple[int, float], ...], entry: tuple[int, float]) -> tuple[tuple[int, float], ...]:
    """The history with one more batch; small batches are merged, old ones dropped."""
    if history and (history[-1][0] < BATCH_ROWS or entry[0] < BATCH_ROWS):
        n, value = history[-1]
        total = n + entry[0]
        return (*history[:-1], (total, (n * value + entry[0] * entry[1]) / total))
    return (*history, entry)[-HISTORY_BATCHES:]


def recent_mean(history: Sequence[tuple[int, float]]) -> float | None:
    """Mean over the rows of the batches in a history; None when it is empty."""
    rows = sum(n for n, _ in history)
    return sum(n * value for n, value in history) / rows if rows else None


def likeliest_split(errors: np.ndarray) -> int:
    """The row at which the errors change their rate: the maximum likelihood split into two rates.

    Args:
        errors: shape (n,), oldest first: 0 or 1 (Bernoulli), else any value (normal with one variance).

    Returns:
        A position in [0, n]; 0 when there are too few rows to split.
    """
    n = len(errors)
    cuts = np.arange(MIN_SIDE, n - MIN_SIDE + 1)
    if len(cuts) == 0:
        return 0
    total = np.cumsum(errors, dtype=np.float64)
    left, right = total[cuts - 1], total[-1] - total[cuts - 1]
    if bool(np.isin(errors, (0.0, 1.0)).all()):
        fit = _bernoulli(left, cuts) + _bernoulli(right, n - cuts)
    else:
        fit = left**2 / cuts + right**2 / (n - cuts)
    # Improvements are ignored: only splits with a higher rate afterwards count, if there are any.
    worse = right / (n - cuts) > left / cuts
    if not worse.any():
        return 0
    return int(cuts[np.argmax(np.where(worse, fit, -np.inf))])


def _bernoulli(ones: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Maximum log-likelihood of n draws, given the number of ones."""
    p = np.clip(ones / n, 1e-12, 1.0 - 1e-12)
    return ones * np.log(p) + (n - ones) * np.log1p(-p)
