"""Ranks of one numeric sample in another: exact ranks and the KS distance without a full sort.

A sample is divided into narrow buckets of equal width by one multiplication per value. Row counts per bucket give the
distribution functions at every bucket's border and bound them inside; only the few buckets that could contain the result
are sorted. So a million rows cost a tenth of a sort, and the result is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SORTED_ROWS = 20_000  # fewer values than this in both samples together are simply sorted
MOST_BUCKETS = 65_536
MOST_CELLS = 8_192
_SAMPLED = 4_096  # values of each sample that place the buckets
_TAILS = (0.002, 0.998)  # quantiles that the buckets span; values beyond fall in the outer ones
_GOLDEN = (5**0.5 - 1) / 2
_DEPTH = 4  # how often buckets that could contain the KS distance are refined before their values are sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two samples of one numeric column in common cells from low to high: all that rank statistics need."""

    counts: np.ndarray  # shape (2, K): reference, current; no empty cell; integers unless derived from a sketch
    ks: float  # Kolmogorov-Smirnov distance
    medians: tuple[float, float]
    constant: float | None = None  # the only value of both samples, if there is just one
    error: float = 0.0  # by how much the KS distance may be overstated; 0 = exact
    values: np.ndarray | None = None  # shape (K,), the value of each cell's rows; None when a cell may hold several

    @property
    def sizes(self) -> tuple[int, int]:
        """Values in each sample."""
        n, m = self.counts.sum(axis=1)
        return round(float(n)), round(float(m))

    def upto(self) -> np.ndarray:
        """The distribution functions at the cells' upper ends, shape (2, K)."""
        upto = np.cumsum(self.counts, axis=1, dtype=np.float64)
        return upto / upto[:, -1:]


def compared(a: np.ndarray, b: np.ndarray, *, by_value: bool = False) -> Pair:
    """Two samples in common cells, with their exact KS distance.

    Args:
        a, b: float64, shape (n,) and (m,), at least one value each, no NaN; infinite values are values.
        by_value: a cell for each distinct value, at any cost.
    """
    grid = None if by_value or len(a) + len(b) <= SORTED_ROWS else _Grid.over(a, b)
    if grid is None:
        return _by_sorting(np.sort(a), np.sort(b))
    sides = tuple(_Side.of(values, grid.spread(values)) for values in (a, b))
    counts = np.stack([np.bincount(side.place, minlength=grid.buckets) for side in sides])
    upto = np.cumsum(counts, axis=1)
    medians = tuple(_median(side.values, side.place, u) for side, u in zip(sides, upto, strict=True))
    ks = _largest_distance(sides, counts, upto - counts, (len(a), len(b)), one_value=grid.one_value)
    # The distance is known; for rank statistics wider cells are as good, and cheaper.
    cells = np.add.reduceat(counts, np.arange(0, grid.buckets, -(-grid.buckets // MOST_CELLS)), axis=1)
    cells = _infinite_apart(cells, (a, b))
    return Pair(counts=cells[:, cells.sum(axis=0) > 0], ks=ks, medians=(medians[0], medians[1]))


def _infinite_apart(cells: np.ndarray, samples: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The cells with infinite values moved to two cells of their own at the ends; before, they share the outer cells with finite outliers."""
    with np.errstate(over="ignore", invalid="ignore"):
        if all(np.isfinite(x.sum()) for x in samples):  # faster than checking each value
            return cells
    low, high = (np.array([np.count_nonzero(x == at) for x in samples]) for at in (-np.inf, np.inf))
    cells = np.column_stack([low, cells, high])
    cells[:, 1] -= low
    cells[:, -2] -= high
    return cells


def rank_counts(values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many values lie below each point, and how many at or below it; exact.

    Args:
        values: float64, shape (n,), no NaN.
        points: ascending, no NaN.
    """
    if len(values) > SORTED_ROWS and len(points):
        grid = _Grid.over(values, points)
        if grid is not None:
            place, asked = (grid.spread(x).astype(np.int32) for x in (values, points))
            counts = np.bincount(place, minlength=grid.buckets)
            before = np.cumsum(counts) - counts
            wanted = np.zeros(grid.buckets, dtype=bool)
            wanted[asked] = True
            if counts[wanted].sum() <= len(values) / 2:
                inside = np.sort(values[wanted[place]])
                # Whole buckets precede the point's own; inside that one the sorted values decide.
                shift = before[asked] - _starts(counts, wanted)[asked]
                return (
                    np.searchsorted(inside, points, "left") + shift,
                    np.searchsorted(inside, points, "right") + shift,
                )
    ordered = np.sort(values)
    return np.searchsorted(ordered, points, "left"), np.searchsorted(ordered, points, "right")


def some_of(values: np.ndarray, n: int) -> np.ndarray:
    """About n values spread over the whole sample, always the same ones.

    Not every k-th: if sensors alternate row by row, that could pick a single one. Multiples of the golden ratio are as
    evenly spread, and in phase with no period.
    """
    if len(values) <= n:
        return values
    return values[(np.arange(n) * _GOLDEN % 1.0 * len(values)).astype(np.int64)]


# --- buckets ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Grid:
    """Buckets of equal width, of the values themselves or of their logarithm-like bit patterns."""

    low: float
    scale: float
    buckets: int
    by_bits: bool = False
    one_value: bool = False  # whole numbers, one per bucket

    @staticmethod
    def over(a: np.ndarray, b: np.ndarray) -> _Grid | None:
        """Buckets over the main range of both samples; None when buckets do not help."""
        some = np.concatenate([some_of(x, _SAMPLED) for x in (a, b)])
        some = some[np.isfinite(some)]
        if len(some) < 2:
            return None
        if bool((some == np.floor(some)).all()):
            low, high = float(min(a.min(), b.min())), float(max(a.max(), b.max()))
            if 0 < high - low < MOST_BUCKETS and all(bool((x == np.floor(x)).all()) for x in (a, b)):
                return _Grid(low, 1.0, int(high - low) + 1, one_value=True)
        buckets = int(min(MOST_BUCKETS, max(1_024, (len(a) + len(b)) // 8)))
        grids = [g for g in (_Grid._between(some, buckets, bits) for bits in (False, True)) if g is not None]
        return min(grids, key=lambda g: g._crowding(some), default=None)

    @staticmethod
    def _between(some: np.ndarray, buckets: int, by_bits: bool) -> _Grid | None:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            low, high = np.quantile(_bits(some) if by_bits else some, _TAILS)
            scale = (buckets - 2) / (high - low)
        return _Grid(float(low), float(scale), buckets, by_bits) if 0 < scale < np.inf else None

    def _crowding(self, some: np.ndarray) -> float:
        """Probability that two distinct values of the sample share one of 1,024 wider buckets."""
        distinct = np.unique(some)
        shares = np.bincount((self.spread(distinct) * (1_024 / self.buckets)).astype(np.int64)) / len(distinct)
        return float((shares * shares).sum())

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Where each value lies, in buckets; never lower for a larger value. Outliers fall in the first and last one."""
        with np.errstate(over="ignore"):
            at = (_bits(values) if self.by_bits else values) - self.low
            at *= self.scale
        if not self.one_value:
            at += 1.0
        return np.clip(at, 0, self.buckets - 1, out=at)


def _bits(values: np.ndarray) -> np.ndarray:
    """The bit patterns of doubles as numbers in the order of the values: equal steps are approximately equal ratios."""
    bits = (values + 0.0).view(np.int64)  # adding makes -0.0 and 0.0 the same
    return (bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Side:
    """Values of one sample, their positions in units of buckets, and the bucket of each."""

    values: np.ndarray
    at: np.ndarray
    place: np.ndarray

    @staticmethod
    def of(values: np.ndarray, at: np.ndarray) -> _Side:
        return _Side(values, at, at.astype(np.int32))

    def inside(self, chosen: np.ndarray, parts: int) -> _Side:
        """The rows in the chosen buckets, each of which is divided into `parts`."""
        rows = np.flatnonzero(chosen[self.place])
        values, at, place = self.values[rows], self.at[rows], self.place[rows]
        part = ((at - place) * parts).astype(np.int32)
        number = (np.cumsum(chosen) - 1).astype(np.int32)[place]
        at = (at - place) * parts + number * float(parts)
        return _Side(values, at, number * parts + np.minimum(part, parts - 1))


def _largest_distance(
    sides: tuple[_Side, ...], counts: np.ndarray, before: np.ndarray, sizes: tuple[int, int], *, one_value: bool
) -> float:
    """The KS distance: at the borders of the buckets, then inside those that could hold a larger one.

    Args:
        counts: rows a bucket, shape (2, K).
        before: rows of the whole sample below each bucket.
        sizes: rows of the whole samples.
    """
    n, m = sizes
    best = 0.0
    for depth in range(_DEPTH):
        upto = before + counts
        best = max(best, float(np.abs(upto[0] / n - upto[1] / m).max()))
        if one_value:
            return best
        # Inside, one function may already be at its right border while the other is still at its left one.
        rise = np.maximum(upto[0] / n - before[1] / m, upto[1] / m - before[0] / n)
        chosen = (rise > best) & (counts.sum(axis=0) > 0)
        if depth:
            chosen &= _several_values(sides, counts.shape[1])
        rows = int(counts[:, chosen].sum())
        if rows <= SORTED_ROWS or depth == _DEPTH - 1:
            return max(best, _by_value(sides, chosen, before, sizes)) if rows else best
        parts = max(2, MOST_BUCKETS // int(chosen.sum()))
        below = np.repeat(before[:, chosen], parts, axis=1)
        sides = tuple(side.inside(chosen, parts) for side in sides)
        counts = np.stack([np.bincount(side.place, minlength=below.shape[1]) for side in sides])
        within = np.cumsum(counts.reshape(2, -1, parts), axis=2).reshape(2, -1) - counts
        before = below + within
    return best


def _several_values(sides: tuple[_Side, ...], buckets: int) -> np.ndarray:
    """Mask of the buckets that hold more than one distinct value."""
    one = np.zeros(buckets)
    for side in sides:
        one[side.place] = side.values
    several = np.zeros(buckets, dtype=bool)
    for side in sides:
        several[side.place[side.values != one[side.place]]] = True
    return several


def _by_value(sides: tuple[_Side, ...], chosen: np.ndarray, before: np.ndarray, sizes: tuple[int, int]) -> float:
    """Largest distance of the two distribution functions at the values in the chosen buckets."""
    rows = [np.flatnonzero(chosen[side.place]) for side in sides]
    values = [side.values[k] for side, k in zip(sides, rows, strict=True)]
    places = [side.place[k] for side, k in zip(sides, rows, strict=True)]
    both, side_of = np.concatenate(values), np.r_[np.zeros(len(values[0]), bool), np.ones(len(values[1]), bool)]
    order = np.lexsort((both, np.concatenate(places)))  # a bucket's values are adjacent
    both, bucket, side_of = both[order], np.concatenate(places)[order], side_of[order]
    last = np.r_[both[1:] != both[:-1], True]  # the last of equal values has counted all of them
    distance = np.zeros(len(both))
    for k, (is_side, sign) in enumerate(((~side_of, 1.0), (side_of, -1.0))):
        rank = np.cumsum(is_side)
        starts = np.r_[True, bucket[1:] != bucket[:-1]]
        before_bucket = (rank - is_side)[starts][np.cumsum(starts) - 1]
        distance += sign * (before[k][bucket] + rank - before_bucket) / sizes[k]
    return float(np.abs(distance[last]).max())


# --- sorted -------------------------------------------------------------------------------------------------------


def _by_sorting(a: np.ndarray, b: np.ndarray) -> Pair:
    """The pair of two sorted samples: a cell for each distinct value."""
    both = np.concatenate([a, b])
    both.sort(kind="stable")
    values = both[np.r_[True, both[1:] != both[:-1]]]
    upto = np.stack([np.searchsorted(x, values, "right") for x in (a, b)])
    ks = float(np.abs(upto[0] / len(a) - upto[1] / len(b)).max())
    return Pair(
        counts=np.diff(upto, axis=1, prepend=0),
        ks=ks,
        medians=(_middle(a), _middle(b)),
        constant=float(values[0]) if len(values) == 1 else None,
        values=values,
    )


def _middle(ordered: np.ndarray) -> float:
    n = len(ordered)
    low, high = float(ordered[(n - 1) // 2]), float(ordered[n // 2])
    return low if low == high else low / 2 + high / 2  # halve first: a sum could overflow


def _median(values: np.ndarray, place: np.ndarray, upto: np.ndarray) -> float:
    """The median: only the buckets that hold the middle values are sorted."""
    n = len(values)
    first, last = (int(np.searchsorted(upto, rank, "right")) for rank in ((n - 1) // 2, n // 2))
    inside = np.sort(values[(place == first) | (place == last)])
    counts_before = int(upto[first - 1]) if first else 0
    low = float(inside[(n - 1) // 2 - counts_before])
    # Between two buckets that each hold a middle value all are empty.
    high = float(inside[n // 2 - counts_before])
    return low if low == high else low / 2 + high / 2


def _starts(counts: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """For each bucket, how many rows the chosen buckets before it hold."""
    held = np.where(chosen, counts, 0)
    return np.cumsum(held) - held
