"""Distances between two samples of one column, and their p-values.

Numeric samples come as a `Pair` of counts in common cells from low to high, categories as a table of counts.
docs/drift.md holds the formulas. scipy is imported inside functions, so that pages can import this module cheaply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.drift.ranks import Pair

TAIL = 0.01  # share of all rows that count as extreme at each end
_FEW = (
    10  # rows of the smaller sample up to which an approximate p may be below the probability of any order of the rows
)
BINS = 10  # quantile bins of numeric columns for PSI, Jensen-Shannon and Hellinger; fewer rows get fewer bins
LIMIT_ROWS = 10_000  # nm/(n+m) from which the KS distance follows its limiting law
EXACT_BELOW = 50.0  # expected rows of the rarer cell of two shares from which a normal test suffices; fewer: Fisher's
LEAST_EXPECTED = 5.0  # minimum expected rows per cell of a chi-square table (Cochran 1954); rarer categories are pooled


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a test of two samples."""

    statistic: float
    p_value: float
    effect: float  # 0 = no difference; compared with the test's gate


# --- numbers ------------------------------------------------------------------------------------------------------


def kolmogorov_smirnov(pair: Pair) -> Outcome:
    """Two-sample Kolmogorov-Smirnov test; the effect is the distance.

    p is that of the one-sample distance at nm/(n+m) rows, as in scipy's `ks_2samp(method="asymp")`, and Smirnov's limit
    for many rows, where the two agree. Conservative with ties.
    """
    n, m = pair.sizes
    rows = max(1, round(n * m / (n + m)))
    # The part of the distance that may be a sketch's error is subtracted.
    sure = max(0.0, pair.ks - pair.error)
    if rows > LIMIT_ROWS:
        from scipy.special import kolmogorov

        return Outcome(pair.ks, float(kolmogorov(math.sqrt(rows) * sure)), pair.ks)
    from scipy.stats import kstwo

    return Outcome(pair.ks, _possible(float(kstwo.sf(sure, rows)), n, m), pair.ks)


def location(pair: Pair) -> Outcome:
    """Which sample has the larger values: Cliff's delta (Cliff 1993), p of the Wilcoxon rank-sum test with ties.

    The statistic is signed: above 0 when current values are larger. It detects shifts too small for the KS distance.
    """
    delta, p = _rank_score(pair, power=1)
    return Outcome(2 * delta, p, abs(2 * delta))


def spread(pair: Pair) -> Outcome:
    """Which sample has the more extreme values: Mood's test (Mood 1954), the mean of (2u - 1)^2 over pooled ranks u.

    The statistic is signed: above 0 when current values spread more.
    """
    difference, p = _rank_score(pair, power=2)
    return Outcome(difference, p, abs(difference))


def tails(pair: Pair) -> Outcome:
    """Which sample has more extreme values: shares of rows beyond the outer TAIL of both samples together, each side.

    The statistic is signed: above 0 when current rows are more often extreme. A few distant outliers hardly change the
    KS distance.
    """
    both = pair.counts.sum(axis=0, dtype=np.float64)
    upto = np.cumsum(both) / both.sum()
    outer = pair.counts[:, (upto <= TAIL) | (upto - both / both.sum() >= 1 - TAIL)].sum(axis=1)
    n, m = pair.sizes
    test = two_proportions(float(outer[0]), n, float(outer[1]), m)
    return Outcome(float(outer[1] / m - outer[0] / n), test.p_value, max(0.0, test.effect - pair.error))


def _rank_score(pair: Pair, *, power: int) -> tuple[float, float]:
    """Difference of the samples' mean rank scores, and its p from the permutation variance (ties share their rank)."""
    both = pair.counts.sum(axis=0, dtype=np.float64)
    total = both.sum()
    u = (np.cumsum(both) - both / 2) / total
    score = u if power == 1 else (2 * u - 1) ** 2
    n, m = pair.counts.sum(axis=1, dtype=np.float64)
    # Sums of products instead of `@`: for this shape a matrix product would start threads that cost more than they save.
    means = (pair.counts * score).sum(axis=1) / (n, m)
    overall = float((both * score).sum()) / total
    variance = float((both * (score - overall) ** 2).sum()) / max(total - 1, 1)
    difference = float(means[1] - means[0])
    if variance <= 0:
        return 0.0, 1.0
    z = max(0.0, abs(difference) - pair.error) / math.sqrt(variance * (1 / n + 1 / m))
    return difference, _possible(math.erfc(z / math.sqrt(2)), *pair.sizes)


def _possible(p_value: float, n: int, m: int) -> float:
    """An approximate p in [0, 1], at least the probability of one split of all values into n and m: 1 in 2 for 1 and 1."""
    least = 1 / math.comb(n + m, n) if min(n, m) <= _FEW else 0.0
    return min(1.0, max(least, p_value))


def wasserstein(pair: Pair) -> Outcome:
    """Area between the distribution functions over the reference's standard deviation (1 = a shift by one sd).

    p is that of the rank-sum test: the distance itself has no distribution-free law. Infinite values are left out.
    """
    assert pair.values is not None
    finite = np.isfinite(pair.values)
    values, counts = pair.values[finite], pair.counts[:, finite].astype(np.float64)
    if counts.sum(axis=1).min() <= 0:
        return Outcome(0.0, 1.0, 0.0)
    upto = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        area = float((np.abs(upto[0] - upto[1])[:-1] * np.diff(values)).sum())
        # With a constant reference, the current sample's standard deviation is used.
        sds = (math.sqrt(float(p @ (values - p @ values) ** 2)) for p in counts / counts.sum(axis=1, keepdims=True))
        sd = next((sd for sd in sds if sd > 0), 1.0)
    value = area / sd if math.isfinite(area) and math.isfinite(sd) else 1.0
    return Outcome(value, location(pair).p_value, value)


def cramer_von_mises(pair: Pair) -> Outcome:
    """Two-sample Cramer-von Mises test (Anderson 1962): T, its asymptotic p, and sqrt of the mean squared distance.

    T is nm/N times that mean. Its null mean is exact with ties; its null variance is that without ties, times the factor
    by which ties reduce the variance of the limit. Without ties T and p are scipy's `cramervonmises_2samp(method="asymptotic")`.
    """
    n, m = pair.sizes
    total = n + m
    upto = pair.upto()
    both = pair.counts.sum(axis=0, dtype=np.float64)
    squared = float(((upto[0] - upto[1]) ** 2 * both).sum()) / total
    statistic = squared * n * m / total
    # Of a Brownian bridge at the shares h: the trace of its covariance, and that of the covariance's square.
    p, h = both / total, np.cumsum(both) / total
    mean = float((p * h * (1 - h)).sum()) * total / (total - 1)
    below = np.cumsum(p * h * h)
    square = float((p * (1 - h) ** 2 * (2 * below - p * h * h)).sum())
    untied = ((4 * total**2 - 1) * (4 * total**2 + 11) / 45 - 1) / (32 * total**4)  # the same for N distinct values
    variance = (total + 1) * (4 * m * n * total - 3 * (n * n + m * m) - 2 * m * n) / (45 * total**2 * 4 * m * n)
    variance *= square / untied
    if variance <= 0:  # a constant, or one value in each sample
        return Outcome(statistic, 1.0, math.sqrt(squared))
    tn = 1 / 6 + (statistic - mean) / math.sqrt(45 * variance)
    p_value = 1.0 if tn < 0.003 else 1.0 - _cramer_von_mises_limit(tn)
    return Outcome(statistic, _possible(p_value, n, m), math.sqrt(squared))


def _cramer_von_mises_limit(x: float) -> float:
    """Distribution function of the limiting statistic (Csorgo and Faraway 1996, equation 1.2)."""
    from scipy.special import gammaln, kv

    k = np.arange(20)
    y = (4 * k + 1) ** 2 / (16 * x)
    terms = np.exp(gammaln(k + 0.5) - gammaln(k + 1) - y) * np.sqrt(4 * k + 1) * kv(0.25, y)
    return float(terms.sum() / (math.pi**1.5 * math.sqrt(x)))


# --- categories ---------------------------------------------------------------------------------------------------


def pooled(table: np.ndarray) -> np.ndarray:
    """The table with its rare categories in one last column, so that chi-square's approximation holds.

    Args:
        table: counts, shape (2, K), no empty row.
    """
    totals = table.sum(axis=0)
    expected = totals * table.sum(axis=1).min() / totals.sum()
    rare = expected < LEAST_EXPECTED
    frequent = table[:, ~rare]
    return np.column_stack([frequent, table[:, rare].sum(axis=1)]) if rare.any() else frequent


def parted(table: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None]:
    """A table that chi-square can test, and the rare rows that must be tested separately, or None.

    Args:
        table: as returned by `pooled`. If all rare categories together still expect too few rows, they are added to the
            rarest other one: among thousands of rows three unlikely ones would weigh as much as all others.
    """
    totals = table.sum(axis=0)
    if table.shape[1] < 2 or totals[-1] * table.sum(axis=1).min() / totals.sum() >= LEAST_EXPECTED:
        return table, None
    frequent = table[:, :-1].copy()
    frequent[:, int(np.argmin(totals[:-1]))] += table[:, -1]
    return frequent, (int(table[0, -1]), int(table[1, -1]))


def together(p_value: float, p_rare: float, cells: int) -> float:
    """p of a table (its cells without the rare one) and of its rare rows, tested separately (Bonferroni 1936)."""
    return min(1.0, 2 * min(p_value, p_rare)) if cells > 1 else p_rare


def _of_table(table: np.ndarray, distance: Callable[[np.ndarray], tuple[float, float]]) -> Outcome:
    """The outcome of a distance function, which also returns the statistic that follows chi-square under no change."""
    table = pooled(table)
    value, statistic = distance(table)
    tested, rare = parted(table)
    cells = tested.shape[1]
    if rare is None:
        return Outcome(value, chi_square_p_value(statistic, cells), value)
    n, m = (int(size) for size in table.sum(axis=1))
    p_value = chi_square_p_value(distance(tested)[1], cells)
    return Outcome(value, together(p_value, fisher(rare[0], n, rare[1], m), cells), value)


def chi_square_statistic(table: np.ndarray) -> float:
    """Pearson's statistic of homogeneity of a (2, K) table without empty rows or columns."""
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def chi_square_p_value(statistic: float, cells: int) -> float:
    """Upper tail of chi-square with cells - 1 degrees of freedom; 1 for a single cell, where nothing can differ."""
    from scipy.special import chdtrc

    return float(chdtrc(cells - 1, statistic)) if cells > 1 else 1.0


def total_variation(table: np.ndarray) -> float:
    """Half the sum of the share differences: the share of rows that would have to change category."""
    p = table / table.sum(axis=1, keepdims=True)
    return float(np.abs(p[0] - p[1]).sum() / 2)


def chi_square(table: np.ndarray) -> Outcome:
    """Chi-square test of homogeneity; statistic and effect are the total variation, rare categories pooled."""
    return _of_table(table, lambda t: (total_variation(t), chi_square_statistic(t)))


def binned(pair: Pair) -> np.ndarray:
    """Counts of both samples in bins between the quantiles of both together, shape (2, <= BINS), no empty column.

    As many bins, at least two, as leave each the rows that chi-square needs: smaller ones would be pooled as rare into one.
    """
    wanted = min(BINS, max(2, int(min(pair.sizes) / LEAST_EXPECTED)))
    both = pair.counts.sum(axis=0, dtype=np.float64)
    upto = np.cumsum(both)
    bins = np.ceil(upto / upto[-1] * wanted - 1e-9)  # a cell that spans a quantile goes to the bin where it ends
    starts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])
    return np.add.reduceat(pair.counts, starts, axis=1)


def psi_of_table(table: np.ndarray) -> Outcome:
    """Population stability index; its p-value from (1/n + 1/m) chi-square (Yurdakul and Naranjo 2020)."""
    return _of_table(table, _psi)


def _psi(table: np.ndarray) -> tuple[float, float]:
    n, m = table.sum(axis=1)
    # An empty cell would give log(0); half a row keeps the value finite.
    p, q = np.maximum(table[0], 0.5) / n, np.maximum(table[1], 0.5) / m
    value = float(((q - p) * np.log(q / p)).sum())
    return value, value * n * m / (n + m)


def jensen_shannon_of_table(table: np.ndarray) -> Outcome:
    """Jensen-Shannon distance (base 2, in [0, 1]); near zero eight times its square in nats is chi-square over nm/(n+m)."""
    return _of_table(table, _jensen_shannon)


def _jensen_shannon(table: np.ndarray) -> tuple[float, float]:
    n, m = table.sum(axis=1)
    p, q = table[0] / n, table[1] / m
    middle = (p + q) / 2
    divergence = sum(
        float((x[x > 0] * np.log(x[x > 0] / middle[x > 0])).sum()) / 2 for x in (p, q)
    )  # fmt: skip
    divergence = max(0.0, divergence)
    return math.sqrt(divergence / math.log(2)), 8 * divergence * n * m / (n + m)


def hellinger_of_table(table: np.ndarray) -> Outcome:
    """Hellinger distance, in [0, 1]; near zero eight times its square is chi-square over nm/(n+m)."""
    return _of_table(table, _hellinger)


def _hellinger(table: np.ndarray) -> tuple[float, float]:
    n, m = table.sum(axis=1)
    square = float(((np.sqrt(table[0] / n) - np.sqrt(table[1] / m)) ** 2).sum() / 2)
    return math.sqrt(square), 8 * square * n * m / (n + m)


def psi(pair: Pair) -> Outcome:
    """Population stability index of two numeric samples over their common deciles."""
    return psi_of_table(binned(pair))


def jensen_shannon(pair: Pair) -> Outcome:
    """Jensen-Shannon distance of two numeric samples over their common deciles."""
    return jensen_shannon_of_table(binned(pair))


def hellinger(pair: Pair) -> Outcome:
    """Hellinger distance of two numeric samples over their common deciles."""
    return hellinger_of_table(binned(pair))


def two_proportions(hits_reference: float, n: int, hits_current: float, m: int) -> Outcome:
    """Difference of two shares; p from the pooled normal test with Yates's correction, for few hits from Fisher's."""
    difference = abs(hits_reference / n - hits_current / m)
    hits = hits_reference + hits_current
    pool = hits / (n + m)
    if min(pool, 1 - pool) * min(n, m) < EXACT_BELOW:
        return Outcome(difference, fisher(round(hits_reference), n, round(hits_current), m), difference)
    spread = math.sqrt(pool * (1 - pool) * (1 / n + 1 / m))
    z = max(0.0, difference - (1 / n + 1 / m) / 2) / spread
    return Outcome(difference, math.erfc(z / math.sqrt(2)), difference)


def fisher(hits_reference: int, n: int, hits_current: int, m: int) -> float:
    """Two-sided p of Fisher's exact test (Fisher 1935) for two shares: over all tables at most as likely as this one."""
    hits = hits_reference + hits_current
    if hits > n + m - hits:  # the rarer outcome has fewer tables
        return fisher(n - hits_reference, n, m - hits_current, m)
    if n < m:
        return fisher(hits_current, m, hits_reference, n)
    # Hits among the m rows, from the fewest to the most possible; each probability follows from the previous one.
    least, most = max(0, hits - n), min(hits, m)
    k = np.arange(least, most, dtype=np.float64)
    steps = np.log((hits - k) * (m - k) / ((k + 1) * (n - hits + k + 1)))
    logs = np.r_[0.0, np.cumsum(steps)]
    chances = np.exp(logs - logs.max())
    seen = chances[hits_current - least]
    return min(1.0, float(chances[chances <= seen * (1 + 1e-7)].sum() / chances.sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that comparing each with alpha keeps the probability of any false alarm below alpha (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[int(i)]))
        adjusted[int(i)] = highest
    return adjusted
