"""A numeric sample as a short, mergeable distribution function with a bound on its error.

A sketch is a piecewise linear curve with jumps: each knot holds how many rows lie below its value and how many at or
below it. Between knots the curve may be off by the rows that lie between them, which `error` bounds. Adding two curves
needs no approximation, so merging is associative and commutative, and errors add up. Unlike randomised sketches, the
same rows always give the same sketch, which replayed decisions require.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.drift.ranks import SORTED_ROWS, Pair, rank_counts, some_of

LEAST_KNOTS, MOST_KNOTS = 128, 1_024  # of one sample's sketch: more for more rows
_SAMPLED = 4_096  # values that place the knots of a sample that is compared with a sketch
MERGED_KNOTS = 4_096  # a merged sketch with more knots is thinned, which adds to its error


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """Rows below (`left`) and at or below (`right`) each of the ascending `values`, shape (K,), out of `n`."""

    values: np.ndarray  # float64, distinct; -inf and inf where they occur
    left: np.ndarray  # float64; whole numbers unless merged
    right: np.ndarray
    n: float
    error: float  # rows by which the curve may be off, anywhere

    @property
    def rank_error(self) -> float:
        """Share of the rows by which the curve may be off."""
        return self.error / self.n if self.n else 0.0

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows below and rows at or below each point, by linear interpolation between knots."""
        if not len(self.values):
            return np.zeros(len(points)), np.zeros(len(points))
        # Left limit at a knot, right limit at it: between them the curve is a straight line.
        i = np.searchsorted(self.values, points, "right")  # knots at or below
        exact = (i > 0) & (self.values[np.maximum(i - 1, 0)] == points)
        low, high = np.maximum(i - 1, 0), np.minimum(i, len(self.values) - 1)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            share = (points - self.values[low]) / (self.values[high] - self.values[low])
        # No straight line leads to a knot at infinity: use half way.
        share = np.where(np.isfinite(share), np.clip(share, 0.0, 1.0), 0.5)
        between = self.right[low] + share * (self.left[high] - self.right[low])
        between = np.where(i == 0, 0.0, np.where(i == len(self.values), self.right[-1], between))
        return np.where(exact, self.left[low], between), np.where(exact, self.right[low], between)

    def quantile(self, share: float) -> float | None:
        """The value below which about this share of the rows lies; None without rows."""
        if not self.n:
            return None
        rank = share * self.n
        i = int(np.searchsorted(self.right, rank, "left"))
        i = min(i, len(self.values) - 1)
        if i == 0 or self.left[i] <= rank:
            return float(self.values[i])
        low, high = float(self.values[i - 1]), float(self.values[i])
        step = (rank - self.right[i - 1]) / (self.left[i] - self.right[i - 1])
        return low + step * (high - low) if np.isfinite(high - low) else high


EMPTY = Sketch(np.empty(0), np.empty(0), np.empty(0), 0.0, 0.0)


def sketch(values: np.ndarray) -> Sketch:
    """The sketch of a sample.

    Args:
        values: float64, shape (n,), no NaN; infinite values are values.

    With at most LEAST_KNOTS distinct values it is exact. Otherwise knots are placed at equal steps of rank: the error is at most
    n / LEAST_KNOTS rows, and n / MOST_KNOTS from a few hundred thousand rows on.
    """
    n = len(values)
    if n == 0:
        return EMPTY
    wanted = int(np.clip(2 * np.sqrt(n), LEAST_KNOTS, MOST_KNOTS))
    if n <= 4 * SORTED_ROWS:
        ordered = np.sort(values)
        knots = np.unique(ordered[np.linspace(0, n - 1, wanted).round().astype(np.int64)])
        left, right = np.searchsorted(ordered, knots, "left"), np.searchsorted(ordered, knots, "right")
    else:
        # Knots from some of the rows; their exact ranks are counted over all rows, so the error is measured, not estimated.
        some = np.sort(some_of(values, 64 * wanted))
        inner = some[np.linspace(0, len(some) - 1, wanted).round().astype(np.int64)]
        knots = np.unique(np.r_[values.min(), inner, values.max()])
        left, right = rank_counts(values, knots)
    gaps = left[1:] - right[:-1]
    return Sketch(knots, left.astype(float), right.astype(float), float(n), float(gaps.max(initial=0)))


def merged(a: Sketch, b: Sketch) -> Sketch:
    """The sketch of both samples together; its error is the sum of theirs, plus the cost of thinning where that is needed."""
    if not a.n or not b.n:
        return a if a.n else b
    values = np.union1d(a.values, b.values)
    (a_left, a_right), (b_left, b_right) = a.at(values), b.at(values)
    both = Sketch(values, a_left + b_left, a_right + b_right, a.n + b.n, a.error + b.error)
    return both if len(values) <= MERGED_KNOTS else thinned(both, MERGED_KNOTS // 2)


def thinned(whole: Sketch, knots: int) -> Sketch:
    """The sketch with about `knots` knots; the error of leaving out the others is added to its own."""
    if len(whole.values) <= knots:
        return whole
    steps = np.floor(whole.right / whole.n * knots * 0.999999).astype(np.int64)
    jump = (whole.right - whole.left) > whole.n / knots  # values that hold many rows stay
    keep = np.r_[True, steps[1:] != steps[:-1]] | jump
    keep[-1] = True
    less = Sketch(whole.values[keep], whole.left[keep], whole.right[keep], whole.n, whole.error)
    left, right = less.at(whole.values)
    cost = max(float(np.abs(left - whole.left).max()), float(np.abs(right - whole.right).max()))
    return Sketch(less.values, less.left, less.right, whole.n, whole.error + cost)


def paired(a: Sketch, b: Sketch) -> Pair:
    """Two sketches in common cells; the KS distance is off by at most the sum of their rank errors."""
    points = np.union1d(a.values, b.values)
    return _pair(points, a.at(points), b.at(points), a, b, a.rank_error + b.rank_error)


def paired_with_values(reference: Sketch, values: np.ndarray) -> Pair:
    """A stored sketch against a sample whose rows are available: only the sketch's own error remains.

    The sample's rows are counted exactly at the sketch's knots, and at knots of its own outside the sketch's
    range. Between them the KS distance may be larger than reported, by fewer rows than lie between two knots.
    """
    some = np.sort(some_of(values, _SAMPLED))
    own_knots = some[np.linspace(0, len(some) - 1, LEAST_KNOTS).round().astype(np.int64)]
    points = np.union1d(reference.values, np.r_[values.min(), own_knots, values.max()])
    left, right = rank_counts(values, points)
    own = Sketch(points, left.astype(float), right.astype(float), float(len(values)), 0.0)
    return _pair(points, reference.at(points), (own.left, own.right), reference, own, reference.rank_error)


def _pair(
    points: np.ndarray,
    ranks_a: tuple[np.ndarray, np.ndarray],
    ranks_b: tuple[np.ndarray, np.ndarray],
    a: Sketch,
    b: Sketch,
    error: float,
) -> Pair:
    """Cells at the points and between them."""
    ks = max(float(np.abs(x / a.n - y / b.n).max()) for x, y in zip(ranks_a, ranks_b, strict=True))
    counts = np.stack([np.diff(np.stack(r, axis=1).ravel(), prepend=0.0) for r in (ranks_a, ranks_b)])
    with np.errstate(invalid="ignore", over="ignore"):
        middles = np.r_[points[:1], points[:-1] / 2 + points[1:] / 2]
    values = np.stack([middles, points], axis=1).ravel()
    used = counts.sum(axis=0) > 0
    medians = tuple(s.quantile(0.5) or 0.0 for s in (a, b))
    constant = float(points[0]) if len(points) == 1 else None
    return Pair(
        counts=np.maximum(counts[:, used], 0.0), ks=ks, medians=(medians[0], medians[1]), constant=constant,
        error=error, values=values[used],
    )  # fmt: skip
