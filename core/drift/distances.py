"""How far two samples of one column are apart, and how likely chance alone takes them that far.

Numeric samples come sorted and without missing values, categories as a table of counts. docs/drift.md holds the formulas.
scipy is imported inside: pages may import this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRID = 16_384  # points of a sorted sample at which the KS distance is looked at first
BINS = 10  # quantile bins of numeric columns for PSI and Jensen-Shannon
LEAST_EXPECTED = 5.0  # rows a cell of a chi-square table must expect (Cochran 1954); rarer categories are pooled


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test says of two samples."""

    statistic: float
    p_value: float
    effect: float  # without unit, 0 = same; compared with the gate


def ks_distance(reference: np.ndarray, current: np.ndarray) -> float:
    """Largest distance of the two empirical distribution functions, exact, in [0, 1].

    Args:
        reference, current: sorted, no NaN, at least one value each.

    A coarse grid bounds how far the functions can part between two of its points; only the stretches that could
    hold the maximum are searched value by value. So a million rows cost thousands of searches, and the result is exact.
    """
    a, b = (reference, current) if len(reference) <= len(current) else (current, reference)
    n, m = len(a), len(b)
    at = np.unique(np.r_[np.arange(0, n, max(1, n // GRID)), n - 1])
    v = np.unique(a[at])
    a_left, a_right = np.searchsorted(a, v, "left"), np.searchsorted(a, v, "right")
    b_left, b_right = np.searchsorted(b, v, "left"), np.searchsorted(b, v, "right")
    best = max(np.abs(a_left / n - b_left / m).max(), np.abs(a_right / n - b_right / m).max())
    # Between v[k] and v[k + 1] both functions only rise, from their right to their next left limit.
    bound = np.maximum(a_left[1:] / n - b_right[:-1] / m, b_left[1:] / m - a_right[:-1] / n)
    open_ = np.flatnonzero((bound > best) & (a_left[1:] > a_right[:-1]))
    if len(open_):
        lengths = a_left[open_ + 1] - a_right[open_]
        starts = np.repeat(a_right[open_] - np.r_[0, np.cumsum(lengths)[:-1]], lengths)
        i = starts + np.arange(lengths.sum())
        rises = (i + 1) / n - np.searchsorted(b, a[i], "right") / m
        falls = np.searchsorted(b, a[i], "left") / m - i / n
        best = max(best, rises.max(), falls.max())
    return float(best)


def ks_p_value(distance: float, n: int, m: int) -> float:
    """Chance of at least this distance between equal distributions (Smirnov's limit; conservative where values tie)."""
    from scipy.special import kolmogorov

    return float(kolmogorov(math.sqrt(n * m / (n + m)) * distance))


def kolmogorov_smirnov(reference: np.ndarray, current: np.ndarray) -> Outcome:
    """Two-sample Kolmogorov-Smirnov test; the effect is the distance."""
    distance = ks_distance(reference, current)
    return Outcome(distance, ks_p_value(distance, len(reference), len(current)), distance)


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
    """Upper tail of chi-square with cells - 1 degrees of freedom."""
    from scipy.special import chdtrc

    return float(chdtrc(cells - 1, statistic))


def total_variation(table: np.ndarray) -> float:
    """Half the sum of the share differences: the share of rows that would have to change category."""
    p = table / table.sum(axis=1, keepdims=True)
    return float(np.abs(p[0] - p[1]).sum() / 2)


def chi_square(table: np.ndarray) -> Outcome:
    """Chi-square test of homogeneity; statistic and effect are the total variation, rare categories pooled."""
    table = pooled(table)
    distance = total_variation(table)
    return Outcome(distance, chi_square_p_value(chi_square_statistic(table), table.shape[1]), distance)


def binned(reference: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Counts of two sorted samples in bins between the quantiles of both together, shape (2, <= BINS), no empty column."""
    both = np.concatenate([reference, current])
    edges = np.unique(np.quantile(both, np.linspace(0, 1, BINS + 1)[1:-1]))
    table = np.stack([np.diff(np.r_[0, np.searchsorted(x, edges, "right"), len(x)]) for x in (reference, current)])
    return table[:, table.sum(axis=0) > 0]


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


def psi(reference: np.ndarray, current: np.ndarray) -> Outcome:
    """Population stability index of two sorted numeric samples."""
    return psi_of_table(binned(reference, current))


def jensen_shannon(reference: np.ndarray, current: np.ndarray) -> Outcome:
    """Jensen-Shannon distance of two sorted numeric samples."""
    return jensen_shannon_of_table(binned(reference, current))


def two_proportions(hits_reference: int, n: int, hits_current: int, m: int) -> Outcome:
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
