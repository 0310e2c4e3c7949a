"""How far two samples of one column are apart, and how likely chance alone takes them that far.

Numeric samples come as a `Pair` of counts in common cells from low to high, categories as a table of counts.
docs/drift.md holds the formulas. scipy is imported inside: pages may import this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.drift.ranks import Pair

TAIL = 0.01  # share of all rows that counts as extreme at each end
BINS = 10  # quantile bins of numeric columns for PSI, Jensen-Shannon and Hellinger
LIMIT_ROWS = 10_000  # nm/(n+m) from which the KS distance follows its limiting law
LEAST_EXPECTED = 5.0  # rows a cell of a chi-square table must expect (Cochran 1954); rarer categories are pooled


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test says of two samples."""

    statistic: float
    p_value: float
    effect: float  # 0 = same; compared with the test's gate


# --- numbers ------------------------------------------------------------------------------------------------------


def kolmogorov_smirnov(pair: Pair) -> Outcome:
    """Two-sample Kolmogorov-Smirnov test; the effect is the distance.

    p is that of the one-sample distance at nm/(n+m) rows, as in scipy's `ks_2samp(method="asymp")`, and Smirnov's limit
    for many rows, where the two agree. Conservative where values tie.
    """
    n, m = pair.sizes
    rows = max(1, round(n * m / (n + m)))
    # What the distance may owe to a sketch counts against it.
    sure = max(0.0, pair.ks - pair.error)
    if rows > LIMIT_ROWS:
        from scipy.special import kolmogorov

        return Outcome(pair.ks, float(kolmogorov(math.sqrt(rows) * sure)), pair.ks)
    from scipy.stats import kstwo

    return Outcome(pair.ks, min(1.0, max(0.0, float(kstwo.sf(sure, rows)))), pair.ks)


def location(pair: Pair) -> Outcome:
    """Which sample has the larger values: Cliff's delta (Cliff 1993), p of the Wilcoxon rank-sum test with ties.

    The statistic is signed: above 0 when current values are larger. It sees a shift that the KS distance is too weak for.
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

    The statistic is signed: above 0 when current rows are more often extreme. Few far outliers hardly move the KS distance.
    """
    both = pair.counts.sum(axis=0, dtype=np.float64)
    upto = np.cumsum(both) / both.sum()
    outer = pair.counts[:, (upto <= TAIL) | (upto - both / both.sum() >= 1 - TAIL)].sum(axis=1)
    n, m = pair.sizes
    found = two_proportions(float(outer[0]), n, float(outer[1]), m)
    return Outcome(float(outer[1] / m - outer[0] / n), found.p_value, max(0.0, found.effect - pair.error))


def _rank_score(pair: Pair, *, power: int) -> tuple[float, float]:
    """Difference of the samples' mean rank scores, and its p from the permutation variance (ties share their rank)."""
    both = pair.counts.sum(axis=0, dtype=np.float64)
    total = both.sum()
    u = (np.cumsum(both) - both / 2) / total
    score = u if power == 1 else (2 * u - 1) ** 2
    n, m = pair.counts.sum(axis=1, dtype=np.float64)
    # Sums of products, not `@`: a matrix product of this shape would start threads that cost more than they save.
    means = (pair.counts * score).sum(axis=1) / (n, m)
    overall = float((both * score).sum()) / total
    variance = float((both * (score - overall) ** 2).sum()) / max(total - 1, 1)
    difference = float(means[1] - means[0])
    if variance <= 0:
        return 0.0, 1.0
    z = max(0.0, abs(difference) - pair.error) / math.sqrt(variance * (1 / n + 1 / m))
    return difference, math.erfc(z / math.sqrt(2))


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
        # Where the reference is a constant, the current sample's deviation stands in.
        sds = (math.sqrt(float(p @ (values - p @ values) ** 2)) for p in counts / counts.sum(axis=1, keepdims=True))
        sd = next((sd for sd in sds if sd > 0), 1.0)
    value = area / sd if math.isfinite(area) and math.isfinite(sd) else 1.0
    return Outcome(value, location(pair).p_value, value)


def cramer_von_mises(pair: Pair) -> Outcome:
    """Two-sample Cramer-von Mises test (Anderson 1962): T, its asymptotic p, and sqrt of the mean squared distance.

    T and p agree with scipy's `cramervonmises_2samp(method="asymptotic")`, midranks where values tie.
    """
    n, m = pair.sizes
    total = n + m
    upto = pair.upto()
    both = pair.counts.sum(axis=0, dtype=np.float64)
    ranks = np.cumsum(both) - both / 2 + 0.5  # midranks
    u = 0.0
    for k, size in ((0, n), (1, m)):
        # Sum over each tied group of (rank - own rank)^2: own ranks i run through the group.
        count = pair.counts[k].astype(np.float64)
        own_end = np.cumsum(count)
        own_mean = own_end - count / 2 + 0.5
        within = count * (count * count - 1) / 12.0
        u += size * float((count * (ranks - own_mean) ** 2 + within).sum())
    statistic = u / (n * m * total) - (4 * n * m - 1) / (6 * total)
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * m * n * total - 3 * (n * n + m * m) - 2 * m * n) / (45 * total**2 * 4 * m * n)
    tn = 1 / 6 + (statistic - mean) / math.sqrt(45 * variance)
    p = 1.0 if tn < 0.003 else min(1.0, max(0.0, 1.0 - _cramer_von_mises_limit(tn)))
    effect = math.sqrt(float(((upto[0] - upto[1]) ** 2 @ both) / total))
    return Outcome(statistic, p, effect)


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
    kept = table[:, ~rare]
    return np.column_stack([kept, table[:, rare].sum(axis=1)]) if rare.any() else kept


def chi_square_statistic(table: np.ndarray) -> float:
    """Pearson's statistic of homogeneity of a (2, K) table without empty rows or columns."""
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def chi_square_p_value(statistic: float, cells: int) -> float:
    """Upper tail of chi-square with cells - 1 degrees of freedom; 1 for a single cell, in which nothing can differ."""
    from scipy.special import chdtrc

    return float(chdtrc(cells - 1, statistic)) if cells > 1 else 1.0


def total_variation(table: np.ndarray) -> float:
    """Half the sum of the share differences: the share of rows that would have to change category."""
    p = table / table.sum(axis=1, keepdims=True)
    return float(np.abs(p[0] - p[1]).sum() / 2)


def chi_square(table: np.ndarray) -> Outcome:
    """Chi-square test of homogeneity; statistic and effect are the total variation, rare categories pooled."""
    table = pooled(table)
    distance = total_variation(table)
    return Outcome(distance, chi_square_p_value(chi_square_statistic(table), table.shape[1]), distance)


def binned(pair: Pair) -> np.ndarray:
    """Counts of both samples in bins between the quantiles of both together, shape (2, <= BINS), no empty column."""
    both = pair.counts.sum(axis=0, dtype=np.float64)
    upto = np.cumsum(both)
    bins = np.ceil(upto / upto[-1] * BINS - 1e-9)  # a cell across a quantile goes to the bin where it ends
    starts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])
    return np.add.reduceat(pair.counts, starts, axis=1)


def psi_of_table(table: np.ndarray) -> Outcome:
    """Population stability index; its p-value from (1/n + 1/m) chi-square (Yurdakul and Naranjo 2020)."""
    table = pooled(table)
    n, m = table.sum(axis=1)
    # An empty cell would give log(0); half a row keeps the value finite.
    p, q = np.maximum(table[0], 0.5) / n, np.maximum(table[1], 0.5) / m
    value = float(((q - p) * np.log(q / p)).sum())
    return Outcome(value, chi_square_p_value(value * n * m / (n + m), table.shape[1]), value)


def jensen_shannon_of_table(table: np.ndarray) -> Outcome:
    """Jensen-Shannon distance (base 2, in [0, 1]); near zero eight times its square in nats is chi-square over nm/(n+m)."""
    table = pooled(table)
    n, m = table.sum(axis=1)
    p, q = table[0] / n, table[1] / m
    middle = (p + q) / 2
    divergence = sum(
        float((x[x > 0] * np.log(x[x > 0] / middle[x > 0])).sum()) / 2 for x in (p, q)
    )  # fmt: skip
    divergence = max(0.0, divergence)
    distance = math.sqrt(divergence / math.log(2))
    return Outcome(distance, chi_square_p_value(8 * divergence * n * m / (n + m), table.shape[1]), distance)


def hellinger_of_table(table: np.ndarray) -> Outcome:
    """Hellinger distance, in [0, 1]; near zero eight times its square is chi-square over nm/(n+m)."""
    table = pooled(table)
    n, m = table.sum(axis=1)
    square = float(((np.sqrt(table[0] / n) - np.sqrt(table[1] / m)) ** 2).sum() / 2)
    distance = math.sqrt(square)
    return Outcome(distance, chi_square_p_value(8 * square * n * m / (n + m), table.shape[1]), distance)


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
    """Difference of two shares; p from the pooled normal test with Yates's correction, so that few hits do not alarm."""
    difference = abs(hits_reference / n - hits_current / m)
    pool = (hits_reference + hits_current) / (n + m)
    spread = math.sqrt(pool * (1 - pool) * (1 / n + 1 / m))
    if spread == 0:
        return Outcome(difference, 1.0, difference)
    z = max(0.0, difference - (1 / n + 1 / m) / 2) / spread
    return Outcome(difference, math.erfc(z / math.sqrt(2)), difference)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that comparing each with alpha keeps the chance of any false alarm below alpha (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[int(i)]))
        adjusted[int(i)] = highest
    return adjusted
