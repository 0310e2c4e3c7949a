"""Where the model is weak: slices of the rows, the confusion of its classes, the truth of its probabilities.

Everything starts from rows with labels and the predictions made before those were known. Records out, each with its
finding in words. Numpy only at import: pages use this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.drift import words
from core.errors import BadInput
from core.performance.realised import Z95, wilson
from core.records import Feature, FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

CUTS = (0.1, 0.25, 0.5, 0.75, 0.9)  # quantiles at which numeric features are split
TOP = 12  # categories of a feature that are looked at
ALPHA = 0.05  # chance that any slice stands out although none does
_OVERLAP = 0.6  # two slices that share more of their rows than this (Jaccard) tell the same story


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Rows that share a condition, and how the model does on them."""

    name: str  # "temperature > 31", "site = east"
    feature: str
    n: int
    share: float  # of all rows
    score: float  # accuracy, or mean error
    low: float  # 95 %, as if this slice had been named beforehand
    high: float
    overall: float  # the same figure over all rows
    difference: float  # score minus overall
    stands_out: bool  # worse than the other rows even after all slices that were tried (Bonferroni)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often each actual class is taken for which."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # rows: actual, columns: predicted
    shares: tuple[tuple[float | None, ...], ...]  # of the actual class; None where it does not occur
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPoint:
    """Rows with about the same predicted probability."""

    predicted: float  # mean probability of the predicted class
    observed: float  # share of them that was right
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether probabilities mean what they say."""

    points: tuple[CalibrationPoint, ...]
    error: float  # expected calibration error: mean |observed - predicted|, weighted by rows
    bias: float  # mean predicted minus observed: above 0 = too sure
    n: int
    finding: str


def worst_slices(
    X: pd.DataFrame, correct_or_error: Any, schema: FeatureSchema, *, max_slices: int = 4, min_rows: int = 50
) -> list[Slice]:
    """The slices on which the model is weakest against the other rows, weakest first; at most one per story.

    Args:
        X: features of the schema, conformed.
        correct_or_error: shape (n,): right or wrong for classes, absolute error for regression.
        min_rows: of a slice, and of the rest.

    Empty when there are too few rows or no slice is weaker than the rest. Only `stands_out` is a finding; the others
    are merely the weakest that there are.
    """
    values = np.asarray(correct_or_error, dtype=np.float64)
    if len(values) != len(X):
        raise BadInput(f"{len(X):,} rows but {len(values):,} outcomes; give one outcome a row.")
    is_error = schema.task == "regression"
    if len(values) < 2 * min_rows:
        return []
    tried = 0
    found: list[tuple[float, str, str, np.ndarray]] = []
    for feature in schema.features:
        for name, mask in _conditions(X[feature.name], feature):
            n = int(mask.sum())
            if n < min_rows or len(values) - n < min_rows:
                continue
            tried += 1
            z = _z(values, mask) * (1.0 if is_error else -1.0)
            if z > 0:
                found.append((z, name, feature.name, mask))
    found.sort(key=lambda f: -f[0])
    kept: list[tuple[float, str, str, np.ndarray]] = []
    for entry in found:
        if len(kept) == max_slices:
            break
        if all((entry[3] & k[3]).sum() <= _OVERLAP * (entry[3] | k[3]).sum() for k in kept):
            kept.append(entry)
    return [_slice(name, feature, values, mask, z, tried, is_error) for z, name, feature, mask in kept]


def slices_finding(slices: Sequence[Slice], *, metric_label: str = "accuracy") -> str:
    """The heading of the slices: `Weakest: temperature > 31, accuracy 0.79 against 0.87`."""
    if not slices:
        return "Too few labelled rows to compare slices"
    first = next((s for s in slices if s.stands_out), None)
    if first is None:
        return "No slice stands out from the rest"
    step = abs(first.difference)
    return (
        f"Weakest: {first.name}, {metric_label} {words.number(first.score, step)} "
        f"against {words.number(first.overall, step)}"
    )


def confusion(y_true: Any, y_pred: Any, classes: Sequence[Any]) -> Confusion:
    """Counts and shares per actual class. Classes that occur but are not named are added at the end.

    Raises:
        BadInput: no row, or not as many predictions as labels.
    """
    true, pred = [str(v) for v in y_true], [str(v) for v in y_pred]
    if not true or len(true) != len(pred):
        raise BadInput(f"{len(true):,} labels and {len(pred):,} predictions; expected as many of each, at least one.")
    names = list(dict.fromkeys([*(str(c) for c in classes), *sorted({*true, *pred})]))
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, ([place[t] for t in true], [place[p] for p in pred]), 1)
    totals = counts.sum(axis=1)
    shares = tuple(tuple(float(c) / int(n) if n else None for c in row) for row, n in zip(counts, totals, strict=True))
    return Confusion(
        classes=tuple(names),
        counts=tuple(tuple(int(c) for c in row) for row in counts),
        shares=shares,
        finding=_confusion_finding(names, counts, totals),
    )


def calibration(y_true: Any, y_proba: Any, classes: Sequence[Any], bins: int = 8) -> Calibration:
    """Predicted probability of the predicted class against how often it was right, in bins of equally many rows.

    Args:
        y_true: shape (n,).
        y_proba: shape (n, len(classes)), rows sum to 1.

    Raises:
        BadInput: no row, or shapes that do not fit.
    """
    proba = np.asarray(y_proba, dtype=np.float64)
    true = np.array([str(v) for v in y_true], dtype=object)
    if proba.shape != (len(true), len(classes)) or not len(true):
        raise BadInput(
            f"Probabilities of shape {proba.shape} for {len(true):,} labels and {len(classes)} classes; "
            "expected one row a label and one column a class."
        )
    best = proba.argmax(axis=1)
    confidence = proba[np.arange(len(true)), best]
    right = np.array([str(c) for c in classes], dtype=object)[best] == true
    order = np.argsort(confidence, kind="stable")
    points: list[CalibrationPoint] = []
    for group in np.array_split(order, max(1, min(bins, len(order)))):
        hits, n = int(right[group].sum()), len(group)
        low, high = wilson(hits, n)
        points.append(
            CalibrationPoint(predicted=float(confidence[group].mean()), observed=hits / n, low=low, high=high, n=n)
        )
    error = sum(p.n * abs(p.observed - p.predicted) for p in points) / len(true)
    bias = float(confidence.mean() - right.mean())
    return Calibration(
        points=tuple(points),
        error=float(error),
        bias=bias,
        n=len(true),
        finding=_calibration_finding(confidence, right, error, bias),
    )


# --- slices -------------------------------------------------------------------------------------------------------


def _conditions(column: pd.Series, feature: Feature) -> Iterator[tuple[str, np.ndarray]]:
    """Ways to cut the rows at one feature: its name in words and which rows."""
    missing = column.isna().to_numpy()
    if missing.any():
        yield f"{feature.name} is missing", missing
    if feature.kind != "numeric":
        for value in column.value_counts(dropna=True).index[:TOP]:
            yield f"{feature.name} = {value}", (column == value).fillna(False).to_numpy(dtype=bool)
        return
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = values[~missing]
    if not len(known) or known.min() == known.max():
        return
    cuts = np.unique(np.quantile(known, CUTS, method="lower"))
    step = float(np.diff(np.quantile(known, (CUTS[0], CUTS[-1])))[0]) / 10 or float(np.ptp(known)) / 10
    seen: set[str] = set()
    for cut in cuts:
        shown = words.number(float(cut), step)
        if shown in seen:
            continue
        seen.add(shown)
        # The rows are cut where the words say: at the rounded value.
        at = float(shown.replace(",", ""))
        above = values > at
        yield f"{feature.name} > {shown}", above
        yield f"{feature.name} ≤ {shown}", ~above & ~missing


def _z(values: np.ndarray, mask: np.ndarray) -> float:
    """Standardised difference of the mean inside and outside (Welch); the sides' variances are pooled when one is 0."""
    inside, outside = values[mask], values[~mask]
    spread = inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside)
    pooled = values.var() * (1 / len(inside) + 1 / len(outside))
    spread = max(float(spread), 0.5 * float(pooled))
    return float(inside.mean() - outside.mean()) / math.sqrt(spread) if spread > 0 else 0.0


def _slice(
    name: str, feature: str, values: np.ndarray, mask: np.ndarray, z: float, tried: int, is_error: bool
) -> Slice:
    inside = values[mask]
    n, score, overall = len(inside), float(inside.mean()), float(values.mean())
    if is_error:
        half = Z95 * float(inside.std(ddof=1)) / math.sqrt(n)
        low, high = max(0.0, score - half), score + half
    else:
        low, high = wilson(float(inside.sum()), n)
    p = math.erfc(z / math.sqrt(2)) / 2
    return Slice(
        name=name, feature=feature, n=n, share=n / len(values), score=score, low=low, high=high, overall=overall,
        difference=score - overall, stands_out=p * tried < ALPHA,
    )  # fmt: skip


# --- findings -----------------------------------------------------------------------------------------------------


def _confusion_finding(names: Sequence[str], counts: np.ndarray, totals: np.ndarray) -> str:
    """The largest share of an actual class that is taken for another one."""
    wrong = counts.astype(np.float64)
    np.fill_diagonal(wrong, 0)
    if wrong.sum() == 0:
        return f"All {words.counted(int(totals.sum()), 'row')} are right"
    rates = np.divide(wrong, totals[:, None], out=np.zeros_like(wrong), where=totals[:, None] > 0)
    # Among classes with few rows a single slip would look large: the lower end of the interval ranks them.
    sure = [[wilson(float(w), float(n))[0] for w in row] for row, n in zip(wrong, totals, strict=True)]
    actual, taken = (int(i) for i in np.unravel_index(np.argmax(sure), wrong.shape))
    return f"{words.share(float(rates[actual, taken]))} of {names[actual]} are taken for {names[taken]}"


def _calibration_finding(confidence: np.ndarray, right: np.ndarray, error: float, bias: float) -> str:
    """Says more than the error only where the bias is more than chance."""
    chance = Z95 * math.sqrt(max(float((confidence * (1 - confidence)).mean()), 1e-12) / len(right))
    if abs(bias) <= chance or abs(bias) < 0.01:
        return (
            f"Probabilities hold: error {error:.2f}" if error < 0.05 else f"Probabilities are uneven: error {error:.2f}"
        )
    word = "too sure" if bias > 0 else "too timid"
    return (
        f"Probabilities are {word}: they say {words.share(float(confidence.mean()))}, "
        f"{words.share(float(right.mean()))} are right"
    )
