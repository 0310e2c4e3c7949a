"""The two distributions of one column, ready to be drawn, and the sentence that describes the change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core import words
from core.drift.values import counts_of, numbers_of, table_of
from core.records import DriftScore, Feature
from core.text.reasons import first_of, sentence

if TYPE_CHECKING:
    import pandas as pd

BINS = 28  # approximate number of bins of a histogram
TOP = 10  # categories drawn by name; the rest is "other"
OTHER = "other"
_TAILS = (0.002, 0.998)  # quantiles that the histogram spans; values beyond fall in its outer bins
_LEAST_GAIN = 0.05  # share of rows from which a region counts as shifted
_LEAST_SURE = 3.0  # standard errors that the gain must also exceed: the region is selected for its gain
_LARGEST = 1e300  # differences of larger values overflow
_LEAST_SHIFT = 0.1  # median shift, in interquartile ranges, from which a column is called higher or lower
_LEAST_SPREAD = 1.2  # ratio of interquartile ranges from which a column is reported to vary more or less


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Values, or a category, that gained rows."""

    text: str  # "above 31", "east"
    low: float | None  # None = open, or a category
    high: float | None
    reference: float  # share of rows in it
    current: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Shares of rows per bin or category, without missing cells."""

    feature: str
    kind: str
    n_reference: int  # values, without missing cells
    n_current: int
    reference: tuple[float, ...]  # one share per bin or category
    current: tuple[float, ...]
    edges: tuple[float, ...] = ()  # numeric: one more than there are bins
    categories: tuple[str, ...] = ()  # else: largest first, OTHER last
    new: tuple[str, ...] = ()  # categories that only the current window has
    gone: tuple[str, ...] = ()
    medians: tuple[float, float] | None = None  # reference, current
    spreads: tuple[float, float] | None = None  # interquartile ranges
    region: Region | None = None  # where most rows were gained; None if nowhere


def distribution(reference: pd.Series, current: pd.Series, feature: Feature) -> Distribution:
    """Both windows of one feature over common bins or categories.

    Raises:
        ValueError: a window has no value at all, so there is nothing to draw.
    """
    if feature.kind == "numeric":
        a, b = (np.sort(v[np.abs(v) < _LARGEST]) for v in (numbers_of(x).values for x in (reference, current)))
        _need_values(feature.name, len(a), len(b))
        return _of_numbers(a, b, feature)
    names, table = table_of(counts_of(reference), counts_of(current))
    _need_values(feature.name, *(int(n) for n in table.sum(axis=1)))
    return _of_categories(names, table, feature)


def feature_finding(score: DriftScore, found: Distribution | None = None) -> str:
    """What happened to one feature, in a sentence without a full stop: `temperature is higher: median 24.1 → 29.8`.

    Args:
        found: its distribution, if available; without it the sentence uses the score's own reason.
    """
    name = score.name
    if not score.judged:
        return f"{name}{' is' if score.reason.code == 'not_judged' else ':'} {sentence(score.reason)}"
    if not score.drifted:
        return f"{name} is steady: {sentence(first_of(score.reason))}"
    if (
        score.test == "two proportions"
        and score.miss_rate_reference is not None
        and score.miss_rate_current is not None
    ):
        word = "more" if score.miss_rate_current > score.miss_rate_reference else "less"
        return f"{name} is missing {word} often: {words.share_change(score.miss_rate_reference, score.miss_rate_current)} of rows"
    if found is None:
        return f"{name} drifted: {sentence(score.reason)}"
    if found.medians is not None and found.spreads is not None:
        return f"{name} {_numeric_change(found, found.medians, found.spreads, score)}"
    return f"{name} {_category_change(found)}"


def _numeric_change(
    shares: Distribution, medians: tuple[float, float], spreads: tuple[float, float], score: DriftScore
) -> str:
    shift, spread = medians[1] - medians[0], max(spreads)
    if shift and abs(shift) >= _LEAST_SHIFT * spread:
        return f"is {'higher' if shift > 0 else 'lower'}: median {words.change(*medians)}"
    low, high = sorted(spreads)
    if high > low * _LEAST_SPREAD:
        return f"varies {'more' if spreads[1] > spreads[0] else 'less'}: middle half spans {words.change(*spreads)}"
    if shares.region is not None:
        return f"has another shape: {shares.region.text} {words.share_change(shares.region.reference, shares.region.current)}"
    return f"has another shape: effect {score.effect or 0.0:.2f}"


def _category_change(shares: Distribution) -> str:
    share = dict(zip(shares.categories, zip(shares.reference, shares.current, strict=True), strict=True))
    new, gone = [c for c in shares.new if c in share], [c for c in shares.gone if c in share]
    if new:
        value = max(new, key=lambda c: share[c][1])
        others = f" and {len(shares.new) - 1:,} more new" if len(shares.new) > 1 else ""
        return f"has a new value: {value} in {words.share_in_finding(share[value][1])} of rows{others}"
    if gone:
        value = max(gone, key=lambda c: share[c][0])
        return f"has lost a value: {value}, {words.share_in_finding(share[value][0])} of rows before"
    value = max(share, key=lambda c: (round(abs(share[c][1] - share[c][0]), 9), share[c][1]))
    before, after = share[value]
    return f"has {'more' if after > before else 'fewer'} rows with {value}: {words.share_change(before, after)}"


# --- numbers ------------------------------------------------------------------------------------------------------


def _of_numbers(a: np.ndarray, b: np.ndarray, feature: Feature) -> Distribution:
    edges = _edges(a, b)
    p, q = _histogram(a, edges), _histogram(b, edges)
    quartiles = [np.quantile(x, (0.25, 0.75)) for x in (a, b)]
    return Distribution(
        feature=feature.name,
        kind=feature.kind,
        n_reference=len(a),
        n_current=len(b),
        reference=tuple(p.tolist()),
        current=tuple(q.tolist()),
        edges=tuple(edges.tolist()),
        medians=(float(np.median(a)), float(np.median(b))),
        spreads=(float(quartiles[0][1] - quartiles[0][0]), float(quartiles[1][1] - quartiles[1][0])),
        region=_shifted(p, q, edges, len(a), len(b)),
    )


def _edges(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bin edges on round numbers over the range of both samples without their tails."""
    low = min(float(np.quantile(x, _TAILS[0])) for x in (a, b))
    high = max(float(np.quantile(x, _TAILS[1])) for x in (a, b))
    whole = all(bool((x == np.floor(x)).all()) for x in (a, b))
    width = (high - low) / BINS
    if not width > abs(high) * 1e-9:  # one value, or practically one: a bin around it
        half = max(0.5, float(np.spacing(abs(high)))) if whole else max(abs(high) * 1e-3, 1e-12)
        return np.array([low - half, high + half])
    power = 10.0 ** math.floor(math.log10(width))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= width * 0.75)
    if whole:
        step = max(1.0, step)
    # Bins of whole numbers lie around them, so that no value sits on an edge.
    offset = 0.5 if whole else 0.0
    first, last = math.floor((low + offset) / step), math.floor((high + offset) / step) + 1
    return np.array([float(f"{k * step:.12g}") - offset for k in range(first, last + 1)])


def _histogram(ordered: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of values per bin; values beyond the edges are in the outer bins."""
    inner = np.searchsorted(ordered, edges[1:-1], "left")
    return np.diff(np.r_[0, inner, len(ordered)]) / len(ordered)


def _shifted(p: np.ndarray, q: np.ndarray, edges: np.ndarray, n: int, m: int) -> Region | None:
    """The run of bins that gained the largest share of rows (maximum subarray, Kadane)."""
    best, run, start, span = 0.0, 0.0, 0, (0, 0)
    for i, gain in enumerate(q - p):
        if run <= 0:
            run, start = 0.0, i
        run += float(gain)
        if run > best:
            best, span = run, (start, i + 1)
    first, last = span
    if not _is_gain(float(p[first:last].sum()), float(q[first:last].sum()), n, m):
        return None
    low = float(edges[first]) if first > 0 else None
    high = float(edges[last]) if last < len(p) else None
    if low is None and high is not None:
        text = f"below {_edge(high)}"
    elif high is None and low is not None:
        text = f"above {_edge(low)}"
    elif low is not None and high is not None:
        text = f"{_edge(low)} to {_edge(high)}"
    else:
        text = "all values"
    return Region(
        text=text, low=low, high=high, reference=float(p[first:last].sum()), current=float(q[first:last].sum())
    )


def _is_gain(before: float, after: float, n: int, m: int) -> bool:
    """Whether a share of rows grew enough to be shown as shifted, and by more than chance."""
    pool = (before * n + after * m) / (n + m)
    return after - before >= max(_LEAST_GAIN, _LEAST_SURE * math.sqrt(pool * (1 - pool) * (1 / n + 1 / m)))


def _edge(value: float) -> str:
    """An edge as text; edges are round numbers."""
    return f"{value:,.10g}"


# --- categories ---------------------------------------------------------------------------------------------------


def _of_categories(names: tuple[str, ...], table: np.ndarray, feature: Feature) -> Distribution:
    p = table / table.sum(axis=1, keepdims=True)
    order = [int(i) for i in np.argsort(-p.max(axis=0), kind="stable")]
    if len(order) > TOP + 1:
        order, rest = order[:TOP], order[TOP:]
    else:
        rest = []
    shown = [(names[i], float(p[0, i]), float(p[1, i])) for i in order]
    if rest:
        shown.append((OTHER, float(p[0, rest].sum()), float(p[1, rest].sum())))
    gains = p[1] - p[0]
    top = int(np.argmax(gains))
    return Distribution(
        feature=feature.name,
        kind=feature.kind,
        n_reference=int(table[0].sum()),
        n_current=int(table[1].sum()),
        categories=tuple(s[0] for s in shown),
        reference=tuple(s[1] for s in shown),
        current=tuple(s[2] for s in shown),
        new=tuple(names[i] for i in np.argsort(-p[1], kind="stable") if table[0, i] == 0),
        gone=tuple(names[i] for i in np.argsort(-p[0], kind="stable") if table[1, i] == 0),
        region=Region(text=names[top], low=None, high=None, reference=float(p[0, top]), current=float(p[1, top]))
        if _is_gain(float(p[0, top]), float(p[1, top]), int(table[0].sum()), int(table[1].sum()))
        else None,
    )


def _need_values(name: str, n: int, m: int) -> None:
    if min(n, m) == 0:
        raise ValueError(f"{name} has {n:,} and {m:,} values in the windows: there is nothing to draw.")
