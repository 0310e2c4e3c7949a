"""Where the model is weak: the conditions under which it does worse than elsewhere, found automatically.

The input is rows with labels and the predictions made before these were known; the output is records with their
finding. Numpy only at import: pages use this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from core import words
from core.errors import BadInput
from core.performance.intervals import Z95
from core.performance.proportions import wilson
from core.records import Feature, FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

CUTS = (0.1, 0.25, 0.5, 0.75, 0.9)  # quantiles at which numeric features are split
TOP = 12  # categories of a feature that are tested
ALPHA = 0.05  # family-wise error rate of all slices
MOST_PAIRS = 40  # slices per result
PAIRED = 400  # conditions whose pairs are all tested; beyond, only pairs of the most significant ones
_OVERLAP = 0.6  # two slices that share more of their rows than this (Jaccard) are duplicates
_NEW_STORY = 3.0  # standard errors by which a slice must differ on rows outside those selected before it
_STILL_WEAK = 1.0  # likewise for a slice that does not stand out


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Rows that share one or two conditions, and the model's performance on them."""

    name: str  # "temperature > 31", "site = east and speed > 2"
    feature: str  # of the first condition
    n: int
    share: float  # of all rows
    score: float  # accuracy, or mean error
    low: float  # 95 %, as if this slice had been chosen beforehand
    high: float
    overall: float  # the same score over all rows
    difference: float  # score minus overall
    stands_out: bool  # significantly worse than the other rows, corrected for all slices tried (Bonferroni)
    features: tuple[str, ...] = ()  # of every condition
    tried: int = 0  # number of slices and pairs of them that were tried


def worst_slices(
    X: pd.DataFrame, correct_or_error: Any, schema: FeatureSchema, *, max_slices: int = 4, min_rows: int = 50
) -> list[Slice]:
    """The slices on which the model is weakest against the other rows, weakest first; at most one per story.

    A slice is one condition, or two of different features if both together are clearly worse than each alone.

    Args:
        X: features of the schema, conformed.
        correct_or_error: shape (n,): right or wrong for classes, absolute error for regression.
        min_rows: of a slice, and of the rest.

    Empty when there are too few rows or no slice is weaker than the rest. Only `stands_out` is a finding: half of ALPHA
    is shared by all single conditions, half by all pairs of them. The others are merely the weakest.

    Raises:
        BadInput: not one outcome per row, or one that is not a finite number.
    """
    outcomes = np.asarray(correct_or_error, dtype=np.float64)
    if len(outcomes) != len(X):
        raise BadInput(f"{len(X):,} rows but {len(outcomes):,} outcomes; give one outcome a row.")
    if not np.isfinite(outcomes).all():
        raise BadInput("An outcome is not a finite number; leave out the rows without label or prediction.")
    is_error = schema.task == "regression"
    if len(outcomes) < 2 * min_rows:
        return []
    bad = outcomes if is_error else 1.0 - outcomes
    conditions = [
        (name, feature.name, mask)
        for feature in schema.features
        for name, mask in _conditions(X[feature.name], feature)
        if min_rows <= mask.sum() <= len(bad) - min_rows
    ]
    if not conditions:
        return []
    single = [_z(bad, mask) for _, _, mask in conditions]
    pairs, n_pairs = _pairs(bad, conditions, single, min_rows)
    tried = len(conditions) + n_pairs
    allowed = ALPHA / 2 / len(conditions)
    singles = [
        _Found(z, name, (feature,), mask, _p_worse(bad, mask, np.ones_like(mask)) < allowed)
        for z, (name, feature, mask) in zip(single, conditions, strict=True)
        if z > 0
    ]
    return [_slice(f, outcomes, tried, is_error) for f in _stories([*pairs, *singles], bad, max_slices)]


def slices_finding(slices: Sequence[Slice], *, metric_label: str = "accuracy") -> str:
    """The heading of the slices: `Weakest: temperature > 31, accuracy 0.79 against 0.87`."""
    if not slices:
        return "Too few labelled rows to compare slices"
    first = next((s for s in slices if s.stands_out), None)
    if first is None:
        return "No slice stands out from the rest"
    step = abs(first.difference)
    return (
        f"Weakest: {first.name}, {metric_label} {words.figure(first.score, step)} "
        f"against {words.figure(first.overall, step)}"
    )


def _conditions(column: pd.Series, feature: Feature) -> Iterator[tuple[str, np.ndarray]]:
    """Ways to slice the rows by one feature: the display text and a mask of the rows."""
    missing = column.isna().to_numpy()
    if missing.any():
        yield f"{feature.name} is missing", missing
    if feature.kind != "numeric":
        for value in column.value_counts(dropna=True).index[:TOP]:
            yield f"{feature.name} = {value}", (column == value).fillna(False).to_numpy(dtype=bool)
        return
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = values[np.isfinite(values)]
    if not len(known) or known.min() == known.max():
        return
    cuts = np.unique(np.quantile(known, CUTS, method="lower"))
    step = float(np.diff(np.quantile(known, (CUTS[0], CUTS[-1])))[0]) / 10 or float(np.ptp(known)) / 10
    seen: set[str] = set()
    for cut in cuts:
        shown = words.figure(float(cut), step)
        if shown in seen:
            continue
        seen.add(shown)
        # The rows are split where the text says: at the rounded value.
        at = float(shown.replace(",", ""))
        above = values > at
        yield f"{feature.name} > {shown}", above
        yield f"{feature.name} ≤ {shown}", ~above & ~missing


@dataclass(frozen=True, slots=True)
class _Found:
    """A slice that was found."""

    z: float
    name: str
    features: tuple[str, ...]
    mask: np.ndarray
    stands_out: bool


def _pairs(
    bad: np.ndarray, conditions: Sequence[tuple[str, str, np.ndarray]], single: Sequence[float], min_rows: int
) -> tuple[list[_Found], int]:
    """Pairs of conditions that are significantly worse than the other rows and than each part alone; how many were tried.

    Counts and sums of all pairs are three matrix products. With more than PAIRED conditions only pairs of the
    weakest are tested, but every pair counts as tried, because testing the others could have found one too.
    """
    order = np.argsort([-z for z in single], kind="stable")[:PAIRED]
    features = np.array([conditions[i][1] for i in order])
    masks = np.array([conditions[i][2] for i in order])
    sizes = _sizes([feature for _, feature, _ in conditions])
    n_pairs = (len(conditions) ** 2 - sum(n * n for n in sizes)) // 2
    whole = _is_whole(bad)
    # Counts are exact in single precision, which halves the time.
    M = masks.astype(np.float32 if whole else np.float64)
    weights = [np.ones(len(bad), dtype=M.dtype), bad.astype(M.dtype), *([] if whole else [bad**2])]
    both = _Sums(*(((M * w) @ M.T).astype(np.float64) for w in weights))
    alone = _Sums(*(np.diagonal(part)[:, None] for part in both.parts))
    other = _Sums(*(part.T for part in alone.parts))
    every = _Sums(*(np.float64(v) for v in (len(bad), bad.sum(), (bad**2).sum())))
    z = np.minimum.reduce([both.against(rest - both) for rest in (every, alone, other)])
    n_both = both.parts[0]
    fits = (n_both >= min_rows) & (len(bad) - n_both >= min_rows) & (features[:, None] != features)
    allowed = ALPHA / 2 / max(n_pairs, 1)
    at_least = _quantile(allowed) / 2  # far below what can pass: avoids the exact test for most pairs
    rows, columns = np.nonzero(np.triu(fits & (z > at_least), k=1))
    significant = []
    for i in np.argsort(-z[rows, columns], kind="stable"):
        a, b = sorted((int(order[rows[i]]), int(order[columns[i]])))
        (name_a, feature_a, mask_a), (name_b, feature_b, mask_b) = conditions[a], conditions[b]
        mask = mask_a & mask_b
        if all(_p_worse(bad, mask, among) < allowed for among in (np.ones_like(mask), mask_a, mask_b)):
            significant.append(_Found(_z(bad, mask), f"{name_a} and {name_b}", (feature_a, feature_b), mask, True))
        if len(significant) == MOST_PAIRS:
            break
    return significant, n_pairs


def _sizes(names: Sequence[str]) -> list[int]:
    """How often each name occurs."""
    return np.unique(list(names), return_counts=True)[1].tolist()


class _Sums:
    """Number of rows, sum and sum of squares of their outcomes, for many groups of rows at once."""

    def __init__(self, n: Any, total: Any, squares: Any = None) -> None:
        self.parts = (n, total, total if squares is None else squares)  # a 0 or 1 is its own square

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(*(a - b for a, b in zip(self.parts, other.parts, strict=True)))

    def against(self, rest: _Sums) -> Any:
        """How many standard errors these rows' mean lies above that of the rest; 0 if either side is empty."""
        (n, total, squares), (m, rest_total, rest_squares) = self.parts, rest.parts
        with np.errstate(divide="ignore", invalid="ignore"):
            inside, outside = total / n, rest_total / m
            var_in, var_out = squares / n - inside**2, rest_squares / m - outside**2
            middle = (total + rest_total) / (n + m)
            pooled = ((squares + rest_squares) / (n + m) - middle**2) * (1 / n + 1 / m)
            z = (inside - outside) / np.sqrt(np.maximum(var_in / (n - 1) + var_out / (m - 1), pooled))
        return np.where((n > 1) & (m > 1) & np.isfinite(z), z, 0.0)


def _z(bad: np.ndarray, mask: np.ndarray) -> float:
    """How many standard errors the slice's mean outcome lies above that of the other rows.

    The standard error is the larger of Welch's and the pooled one, so that skewed outcomes are not mistaken for a difference.
    """
    inside, whole = (_Sums(np.float64(len(v)), v.sum(), (v**2).sum()) for v in (bad[mask], bad))
    return float(inside.against(whole - inside))


def _p_worse(bad: np.ndarray, mask: np.ndarray, among: np.ndarray) -> float:
    """Probability of a slice at least this bad among these rows if it were like the others.

    Right and wrong: Fisher's exact test (1922), one-sided. Errors: the normal tail of `_z`.
    """
    values, inside = bad[among], mask[among]
    if inside.all():
        return 1.0
    if _is_whole(bad):
        return _fisher(int(values[inside].sum()), int(inside.sum()), int(values.sum()), len(values))
    return math.erfc(_z(values, inside) / math.sqrt(2)) / 2


def _is_whole(values: np.ndarray) -> bool:
    """Whether the outcomes are only right or wrong."""
    return bool(((values == 0.0) | (values == 1.0)).all())


def _fisher(wrong: int, n: int, all_wrong: int, n_all: int) -> float:
    """Probability of at least `wrong` wrong rows among n drawn from n_all, of which all_wrong are wrong (hypergeometric)."""
    last = min(n, all_wrong)
    if wrong <= max(0, n + all_wrong - n_all):
        return 1.0

    def log_ways(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    first = log_ways(all_wrong, wrong) + log_ways(n_all - all_wrong, n - wrong) - log_ways(n_all, n)
    k = np.arange(wrong, last, dtype=np.float64)
    steps = np.log((all_wrong - k) * (n - k)) - np.log((k + 1) * (n_all - all_wrong - n + k + 1))
    logs = first + np.r_[0.0, np.cumsum(steps)]
    return float(min(1.0, np.exp(logs).sum()))


def _quantile(p: float) -> float:
    """Standard errors above which the normal distribution has the share p."""
    return NormalDist().inv_cdf(1.0 - p)


def _stories(candidates: Sequence[_Found], bad: np.ndarray, most: int) -> list[_Found]:
    """The weakest slices, without those that are weak only because of rows of earlier ones."""
    selected: list[_Found] = []
    covered = np.zeros(len(bad), dtype=bool)
    for entry in sorted(candidates, key=lambda f: (not f.stands_out, -f.z)):
        if len(selected) == most:
            break
        if any((entry.mask & k.mask).sum() > _OVERLAP * (entry.mask | k.mask).sum() for k in selected):
            continue
        left = ~covered
        least = _NEW_STORY if entry.stands_out else _STILL_WEAK
        if (entry.mask & covered).any() and _z(bad[left], entry.mask[left]) < least:
            continue
        selected.append(entry)
        if entry.stands_out:
            covered |= entry.mask
    return selected


def _slice(entry: _Found, outcomes: np.ndarray, tried: int, is_error: bool) -> Slice:
    inside = outcomes[entry.mask]
    n, score, overall = len(inside), float(inside.mean()), float(outcomes.mean())
    if is_error:
        half = Z95 * float(inside.std(ddof=1)) / math.sqrt(n)
        low, high = max(0.0, score - half), score + half
    else:
        low, high = wilson(float(inside.sum()), n)
    return Slice(
        name=entry.name, feature=entry.features[0], n=n, share=n / len(outcomes), score=score, low=low, high=high,
        overall=overall, difference=score - overall, stands_out=entry.stands_out, features=entry.features, tried=tried,
    )  # fmt: skip
