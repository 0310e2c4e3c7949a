"""Sequential evidence that the errors of a stream have risen, updated batch by batch: valid after every batch.

Each batch is compared with the ones before it, and how far it lies above them becomes a standard normal score. Under
errors at a constant rate those scores are nearly independent, so that exp(s z - s²/2) is a bet of mean 1 for every
stake s. New bets start every ROWS rows, and their wealth is summed: an e-detector in the form of Shiryaev
and Roberts (Shin, Ramdas and Rinaldo 2023). Its sum passes a level c after c x ROWS rows on average at the earliest, in
batches of whatever size, for the mean of the sum grows by 1 with every ROWS rows, and no faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.learning.change import BATCH_ROWS, BLOCK_ROWS, MIN_BATCHES, MIN_BLOCKS, recent_mean

ROWS = 500.0  # between the starts of two bets
NEEDED = 20.0  # at most one false alarm in 10,000 rows on average
STAKES = np.array([0.5, 1.0, 2.0, 3.5, 5.0])
MEDIAN_SQUARE = 0.455  # of a standard normal value
FURTHEST = 8.0  # scores are capped here


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """The bets on higher errors since the last change. A new series starts with `Rise()`."""

    sums: tuple[float, ...] = ()  # summed wealth of each stake's bets, whenever they started: against the last
    # batches, then against the newest rows
    waiting: tuple[float, ...] = ()  # errors of a batch that is still too small

    @property
    def evidence(self) -> float:
        """Mean over the stakes; the errors have risen when it reaches NEEDED."""
        return sum(self.sums) / len(self.sums) if self.sums else 0.0

    @property
    def found(self) -> bool:
        """True when the errors have risen by more than chance."""
        return self.evidence >= NEEDED


def update_rise(
    rise: Rise,
    history: Sequence[tuple[int, float]],
    errors: np.ndarray,
    *,
    past: np.ndarray | None = None,
    rng: np.random.Generator,
) -> Rise:
    """The bets after some more errors.

    Args:
        history: (rows, mean error) of the last batches since the last change, these errors not among them.
        errors: shape (n,), 0 or 1, or scaled absolute errors, in stream order.
        past: errors of the rows before, as far as they are stored: for the spread of errors that are not 0 or 1,
            and for the autocorrelation of neighbouring rows.
        rng: one number randomises the p-value between ties of the discrete count.
    """
    waiting = np.concatenate([np.asarray(rise.waiting), errors])
    if len(waiting) < BATCH_ROWS or not history:
        return replace(rise, waiting=tuple(waiting.tolist()) if history else ())
    coin = float(rng.random())
    long = score_of(recent_mean(history) or 0.0, sum(n for n, _ in history), waiting, history, past=past, coin=coin)
    near = long
    if past is not None and len(past):
        near = score_of(float(past.mean()), len(past), waiting, history, past=past, coin=coin)
    scores = np.minimum([[long], [near]], FURTHEST)
    before = np.reshape(rise.sums or np.zeros(2 * len(STAKES)), (2, -1))
    sums = ((before + len(waiting) / ROWS) * np.exp(STAKES * scores - STAKES**2 / 2)).ravel()
    return Rise(sums=tuple(np.minimum(sums, 1e12).tolist()))


def score_of(
    mean: float,
    rows: int,
    errors: np.ndarray,
    history: Sequence[tuple[int, float]],
    *,
    past: np.ndarray | None = None,
    coin: float,
) -> float:
    """How far the mean error lies above that of the earlier rows, as a standard normal score; above 0 is worse.

    Errors of 0 and 1 by Fisher's exact test (the count is hypergeometric, given all), others by Student's t of their
    mean. Correlated rows count as fewer.
    """
    from scipy.special import ndtri, stdtr

    n = len(errors)
    inflated = clustering(past) if past is not None else 1.0
    if bool(np.isin(errors, (0.0, 1.0)).all()):
        inflated = max(inflated, batch_variation(history, mean * (1.0 - mean)))
        counts = (float(errors.sum()), float(n), mean * rows, float(rows))
        above, same = hypergeometric(*(count / inflated for count in counts))
        return float(-ndtri(np.clip(above + coin * same, 1e-300, 1.0 - 1e-16)))
    # The larger spread of the two: a batch that happens to have few large errors underestimates it.
    spreads = [float(x.var(ddof=1)) for x in (errors, past) if x is not None and len(x) > 1]
    inflated = max(inflated, batch_variation(history, spreads[-1]))
    error = math.sqrt(max(spreads) * inflated * (1.0 / n + 1.0 / rows))
    if error == 0.0:
        return 0.0 if float(errors.mean()) <= mean else FURTHEST
    return float(-ndtri(np.clip(stdtr(n - 1, (mean - float(errors.mean())) / error), 1e-300, 1.0 - 1e-16)))


def clustering(errors: np.ndarray) -> float:
    """How much more the means of blocks of neighbouring errors vary than those of independent ones; at least 1.

    As `inflation`, by the median of their squared distances from the median one: the step to be detected
    is not taken for autocorrelation.
    """
    blocks = len(errors) // BLOCK_ROWS
    variance = float(errors.var()) if blocks >= MIN_BLOCKS else 0.0
    if variance == 0.0:
        return 1.0
    means = errors[-blocks * BLOCK_ROWS :].reshape(blocks, BLOCK_ROWS).mean(axis=1)
    squares = (means - np.median(means)) ** 2
    return max(1.0, BLOCK_ROWS * float(np.median(squares)) / MEDIAN_SQUARE / variance)


def batch_variation(history: Sequence[tuple[int, float]], variance: float) -> float:
    """How much more the means of neighbouring batches differ than those of independent rows with this variance; at least 1.

    By the median of their squared differences, so that a single step in the past (a model that was just refitted) is not
    mistaken for variation between batches. 1 when there are fewer than MIN_BATCHES.
    """
    if len(history) < MIN_BATCHES or variance <= 0.0:
        return 1.0
    sizes, means = (np.array(values) for values in zip(*history, strict=True))
    squares = np.diff(means) ** 2 / (variance * (1.0 / sizes[1:] + 1.0 / sizes[:-1]))
    return max(1.0, float(np.median(squares)) / MEDIAN_SQUARE)


def hypergeometric(hits: float, n: float, hits_before: float, rows: float) -> tuple[float, float]:
    """Probability of more hits among n rows, and of exactly as many, given those of all n + rows; counts need not be whole."""
    from scipy.special import gammaln

    total = hits + hits_before
    # The support: counts of all four cells at least 0, in steps of one.
    steps = np.arange(-math.floor(min(hits, rows - hits_before)), math.floor(min(n - hits, hits_before)) + 1)
    inside = hits + steps
    cells = (inside, n - inside, total - inside, rows - total + inside)
    logs = -np.sum([gammaln(np.maximum(cell, 0.0) + 1.0) for cell in cells], axis=0)
    weights = np.exp(logs - logs.max())
    return float(weights[steps > 0].sum() / weights.sum()), float(weights[steps == 0].sum() / weights.sum())
