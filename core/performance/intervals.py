"""95 % intervals that keep their coverage with few rows, with rows without an error, and with autocorrelated rows.

Numpy only: pages import it. `material` selects the interval of each metric; docs/performance.md has their coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution
TABLE_DRAWS = 400
TABLE_VALUES = 400_000  # maximum of cells x draws
LEAST_DRAWS = 20
MORE, LESS = (
    0.4,
    0.1,
)  # rows per class that a table's interval adds to those seen: against the metric, and in its favour
UNSEEN = 10.0  # divided by the rows: the probability that a class without a row still occurs
WORSE_ROW = 0.25  # rows that a mean of losses adds to those seen
WORSE_ERROR = 1.5  # times the largest error seen: the error of that row
WORSE_OF_R2 = (0.5, 2.25)  # the same two for R2 with up to MANY_ROWS rows
MANY_ROWS = 30  # with more rows the added one weighs less: they cover more of what is possible
WORSE_OF_AUC = 0.5  # rows added for an AUC, ranked as badly as the worst one seen
TOGETHER = 2.5  # standard errors of the autocorrelation from which rows count as correlated
LAGS = (1, 2, 4, 8, 16, 32, 64)


def t95(freedom: float) -> float:
    """Two-sided 95 % quantile of Student's t (Abramowitz and Stegun 1964, 26.7.5); within 1 % from 2 degrees of freedom on."""
    z, v = Z95, max(freedom, 1.0)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def rows_as_one(values: np.ndarray) -> float:
    """Variance inflation by autocorrelation, in neighbouring rows per independent row; at least 1 (independent).

    Args:
        values: shape (n,), each row's contribution to the metric, in the order of the rows.

    The initial monotone positive sequence of the autocorrelations (Geyer 1992), corrected for the bias from estimating
    the mean on the same rows. Applied only when the first lags together are significant, so that independent rows keep
    their width.
    """
    n = len(values)
    deviation = values - values.mean()
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(deviation, size)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size)[: n // 2]
    if n < 10 or not np.isfinite(covariance).all() or covariance[0] <= 1e-12 * float((values * values).sum()):
        return 1.0
    lagged = covariance / covariance[0]
    sums = np.cumsum(lagged[1:] + 1.0 / n)
    if max(float(sums[k - 1]) * math.sqrt(n / k) for k in LAGS if k <= len(sums) // 2) < TOGETHER:
        return 1.0
    together = 1.0
    for _ in range(3):  # the estimated mean hides as much of the covariance as its own variance
        hidden = together / n
        corrected = (lagged + hidden) / (1.0 + hidden)
        pairs = corrected[0 : len(corrected) // 2 * 2 : 2] + corrected[1::2]
        pairs = np.minimum.accumulate(np.maximum(pairs, 0.0))
        together = min(max(1.0, 2.0 * float(pairs.sum()) - 1.0), n / 3.0)
    return together


def wider(n: int, together: float) -> float:
    """The factor by which an interval of n autocorrelated rows is wider than that of independent ones."""
    return 1.0 if together <= 1.0 else math.sqrt(together) * t95(n / together - 1.0) / Z95


def mean_interval(
    losses: np.ndarray, worse: float, *, mass: float = WORSE_ROW, together: float = 1.0
) -> tuple[float, float]:
    """95 % interval of the mean of losses whose mean is at least 0: Student's t corrected for skewness (Hall 1992).

    Args:
        losses: shape (n,), n >= 2.
        worse: a fraction of a row (`mass`) with this loss is added: a sample rarely contains the worst possible one.
        together: from `rows_as_one`.
    """
    n, mean = len(losses), float(losses.mean())
    size = n + mass
    middle = mean + mass * (worse - mean) / size
    deviation = np.append(losses - middle, worse - middle)
    weight = np.ones(n + 1)
    weight[-1] = mass
    spread = math.sqrt(float(weight @ deviation**2) / (size - 1))
    if not spread > 0:
        return mean, mean
    skewness = float(weight @ (deviation / spread) ** 3) / size
    rows = size / together
    reach = t95(n / together - 1.0) / math.sqrt(rows)
    low, high = (middle - spread * _unskewed(side * reach, skewness, rows) for side in (1.0, -1.0))
    return max(0.0, min(low, mean)), max(high, mean)


def _unskewed(y: float, skewness: float, rows: float) -> float:
    if abs(skewness) < 1e-6:
        return y
    return 3.0 / skewness * (float(np.cbrt(1.0 + skewness * (y - skewness / (6.0 * rows)))) - 1.0)


def weighted_means(losses: np.ndarray, other: np.ndarray, weights: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % interval of the mean of losses: the Bayesian bootstrap (Rubin 1981) with a quarter of a row from `other`.

    Args:
        losses: shape (n,), n >= 2.
        other: shape (n,), each row's loss if its prediction had been different: the cost of an unseen error.
        weights: shape (draws, n), exponential.
    """
    n, draws = len(losses), len(weights)
    rng = np.random.default_rng(seed + 1)
    unseen, cost = rng.standard_gamma(WORSE_ROW, draws), other[rng.integers(0, n, draws)]
    means = (weights @ losses + unseen * cost) / (weights.sum(axis=1) + unseen)
    mean = float(losses.mean())
    stretched = t95(n - 1) / Z95 * math.sqrt((n + 1) / (n - 1))
    low, high = (mean + stretched * (float(v) - mean) for v in np.quantile(means, (0.025, 0.975)))
    return max(0.0, min(low, mean)), max(high, mean)


def r2_interval(
    y_true: np.ndarray, y_pred: np.ndarray, together_of: Callable[[np.ndarray], float]
) -> tuple[float, float, float]:
    """95 % interval of R2 and `together_of` the rows' influence on it: Student's t on ln(1 - R2), delta method.

    Half a row whose error is 2.25 times the largest one is added, less with more than MANY_ROWS; if no error is seen, one as large as the target's spread.
    """
    n = len(y_true)
    mass, factor = WORSE_OF_R2[0] * min(1.0, MANY_ROWS / n), WORSE_OF_R2[1]
    squared = (y_true - y_pred) ** 2
    target = (y_true - y_true.mean()) ** 2
    variance = float(target.mean())
    worst = factor**2 * float(squared.max()) or variance
    size = n + mass
    mean = (float(squared.sum()) + mass * worst) / size
    influence = squared / mean - target / variance
    added = worst / mean - 1.0
    middle = (float(influence.sum()) + mass * added) / size
    spread = math.sqrt((float(((influence - middle) ** 2).sum()) + mass * (added - middle) ** 2) / (size - 1))
    together = together_of(influence)
    reach = t95(n / together - 1.0) * spread * math.sqrt(together / size)
    ratio = mean / variance * (n - 1) / n
    plain = float(squared.mean()) / variance
    grown = math.exp(min(reach, 700.0))
    return 1.0 - max(ratio * grown, plain), 1.0 - min(ratio / grown, plain), together


class TableDraws:
    """Posterior draws of a confusion table given the observed one, shared by all of its metrics.

    Each cell's share is Dirichlet, as in the Bayesian bootstrap. Half a row per true class represents what the sample
    does not contain: for a metric's low end most of it is wrong, spread over the other classes; for its high end most of
    it is right, just as the ends of an exact interval of a proportion count one error more and one less. A class without
    a row is drawn with probability 10 / n only: it may be gone.
    """

    def __init__(self, counts: np.ndarray, *, seed: int, together: float = 1.0) -> None:
        """counts: shape (k, k), k >= 2, true class by predicted class; together: from `rows_as_one`."""
        k = len(counts)
        draws = max(LEAST_DRAWS, min(TABLE_DRAWS, TABLE_VALUES // (k * k)))
        rng = np.random.default_rng(seed)
        same = np.eye(k, dtype=bool)
        per_cell = np.where(same, 1.0, 1.0 / (k - 1))
        common = rng.standard_gamma(counts / together + LESS * per_cell, size=(draws, k, k))
        extra = rng.standard_gamma((MORE - LESS) * per_cell, size=(draws, k, k))
        unseen = counts.sum(axis=1) == 0
        occurs = np.ones((draws, k, 1))
        if unseen.any():
            chance = min(1.0, UNSEEN * together / float(counts.sum()))
            occurs[:, unseen, 0] = rng.random((draws, int(unseen.sum()))) < chance
        self._worse = (common + np.where(same, 0.0, extra)) * occurs
        self._better = (common + np.where(same, extra, 0.0)) * occurs

    def interval(self, compute: Callable[[np.ndarray], np.ndarray], value: float) -> tuple[float, float] | None:
        """95 % interval of a metric of tables for which larger is better; None when it is defined in too few draws."""
        ends = []
        for tables, level in ((self._worse, 0.025), (self._better, 0.975)):
            values = compute(tables)
            finite = np.isfinite(values)
            if finite.sum() < len(values) // 2:
                return None
            ends.append(float(np.quantile(values[finite], level)))
        return min(ends[0], value), max(ends[1], value)


def table_influence(compute: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> np.ndarray:
    """Change of a metric of tables by one more row in each cell, times the rows: shape (k, k), not always finite."""
    k, n = len(counts), float(counts.sum())
    step = 1e-6 * n
    moved = np.repeat(counts[None], k * k, axis=0).reshape(k * k, k * k)
    moved[np.arange(k * k), np.arange(k * k)] += step
    change = compute(moved.reshape(-1, k, k)) - compute(counts[None])
    return np.asarray(change / step * n).reshape(k, k)
