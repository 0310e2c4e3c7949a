"""What is known of the last batches of a stream of errors, and from which row on it has a higher rate.

Small and stateless: the learner keeps the newest errors and asks again with every batch. Whether the rate is higher is
`core.learning.rising`'s question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CHANCE = 0.01  # one-sided: that a batch like the last ones counts as worse than they were
BLOCK_ROWS, LEAST_BLOCKS = 25, 8
LEAST_BATCHES = 4  # whose means tell how much batches differ
HISTORY_BATCHES = 10  # that are remembered
BATCH_ROWS = 30  # fewer rows are added to the last batch of the history
LEAST_SIDE = 10  # rows on either side of a split


def inflation(errors: np.ndarray) -> float:
    """How much more the mean of neighbouring errors varies than that of independent ones; at least 1.

    Errors of rows that follow each other in time often go together (weather, prices): so many rows tell less than
    their number says. Measured by the variance of the means of blocks; 1 when there are too few blocks.
    """
    blocks = len(errors) // BLOCK_ROWS
    variance = float(errors.var())
    if blocks < LEAST_BLOCKS or variance == 0.0:
        return 1.0
    means = errors[-blocks * BLOCK_ROWS :].reshape(blocks, BLOCK_ROWS).mean(axis=1)
    return max(1.0, BLOCK_ROWS * float(means.var(ddof=1)) / variance)


def most_by_chance(rows: int, mean: float, n: int, *, inflated: float = 1.0) -> int:
    """The most wrong rows that a batch may have before it is worse than the last ones by more than chance, in [0, n].

    Fisher's exact test (Fisher 1935), one-sided at CHANCE: given how many of all rows are wrong, how many of them fall
    into the batch is hypergeometric, whatever the rate of errors.

    Args:
        rows, mean: how many rows came before, and the share of them that was wrong, in [0, 1].
        n: rows of the batch.
        inflated: how many rows tell as much as one independent row; at least 1. All counts are divided by it.
    """
    wrong = min(max(mean * rows, 0.0), float(rows))
    least, most = int(n * wrong / rows), n  # at the rate of before there is no doubt
    while least < most:
        asked = (least + most + 1) // 2
        if _chance_of(asked / inflated, n / inflated, wrong / inflated, rows / inflated) > CHANCE:
            least = asked
        else:
            most = asked - 1
    return least


def _chance_of(hits: float, n: float, hits_before: float, rows: float) -> float:
    """Chance of so many hits or more among n rows, given all hits: hypergeometric, counts need not be whole."""
    from scipy.special import gammaln

    total = hits + hits_before
    # As far as the counts of all four cells stay at 0 or above, in steps of one.
    steps = np.arange(-math.floor(min(hits, rows - hits_before)), math.floor(min(n - hits, hits_before)) + 1)
    inside = hits + steps
    cells = (inside, n - inside, total - inside, rows - total + inside)
    logs = -np.sum([gammaln(np.maximum(cell, 0.0) + 1.0) for cell in cells], axis=0)
    weights = np.exp(logs - logs.max())
    return float(weights[steps >= 0].sum() / weights.sum())


def dispersion(history: Sequence[tuple[int, float]], variance: float) -> float:
    """How much more the means of batches vary than those of independent rows with this variance; at least 1.

    Pearson's statistic over its degrees of freedom; 1 when there are fewer than LEAST_BATCHES or nothing varies.
    """
    mean = recent_mean(history)
    if mean is None or len(history) < LEAST_BATCHES or variance <= 0.0:
        return 1.0
    return max(1.0, sum(n * (value - mean) ** 2 for n, value in history) / variance / (len(history) - 1))


def recent_inflation(scores: Sequence[tuple[int, float]], errors: np.ndarray, *, of_rows: bool) -> float:
    """How many rows behind a recent mean tell as much as one independent row; at least 1.

    Args:
        scores: rows and score of each batch behind it.
        errors: of the rows since the last change, shape (n,).
        of_rows: the score is a share of rows, so that batches which differ by more than chance are seen.
    """
    mean = recent_mean(scores)
    among_rows = inflation(errors) if len(errors) else 1.0
    return max(among_rows, dispersion(scores, mean * (1.0 - mean))) if of_rows and mean is not None else among_rows


def appended(history: tuple[tuple[int, float], ...], entry: tuple[int, float]) -> tuple[tuple[int, float], ...]:
    """The history with one more batch; small batches are put together, old ones dropped."""
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
    """The row from which on the errors have their new rate: the split into two rates with the greatest likelihood.

    Args:
        errors: shape (n,), oldest first: 0 or 1 (Bernoulli), else any value (normal with one variance).

    Returns:
        A position in [0, n]; 0 when there are too few rows to split.
    """
    n = len(errors)
    cuts = np.arange(LEAST_SIDE, n - LEAST_SIDE + 1)
    if len(cuts) == 0:
        return 0
    total = np.cumsum(errors, dtype=np.float64)
    left, right = total[cuts - 1], total[-1] - total[cuts - 1]
    if bool(np.isin(errors, (0.0, 1.0)).all()):
        fit = _bernoulli(left, cuts) + _bernoulli(right, n - cuts)
    else:
        fit = left**2 / cuts + right**2 / (n - cuts)
    # A change for the better is none of ours: only splits with a higher rate afterwards count, if there are any.
    worse = right / (n - cuts) > left / cuts
    if not worse.any():
        return 0
    return int(cuts[np.argmax(np.where(worse, fit, -np.inf))])


def _bernoulli(ones: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Greatest log-likelihood of n draws with so many ones."""
    p = np.clip(ones / n, 1e-12, 1.0 - 1e-12)
    return ones * np.log(p) + (n - ones) * np.log1p(-p)
