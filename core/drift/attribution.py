"""Drift of feature importance: permutation importance (Breiman 2001) in two labelled windows, compared.

Owns the importances of one fitted model and their comparison. The model is passed as a function; nothing is fitted here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core import words
from core.drift import distances
from core.drift.encode import sampled
from core.errors import BadInput, NotEnoughRows
from core.records import AttributionDrift, FeatureSchema, ImportanceChange, Reason, because

if TYPE_CHECKING:
    import pandas as pd

REPEATS = 5
MAX_ROWS = 2_000  # of a window; sampled when there are more
MIN_ROWS = 50
ALPHA = 0.05  # probability that any feature is reported as drifted although none is (Holm)
GATE = 0.1  # of the largest importance in either window: a smaller difference is not called drift
MOST_CELLS = 8_000_000  # of the rows that one call of the model gets: 64 MB of numbers
LEAST_PROBABILITY = 1e-6  # so that one wrong row cannot dominate the log-loss
LEAST_RANKED = 3  # features with an importance above chance that a rank correlation needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Loss that the model gains per row when one feature's values are shuffled between the rows."""

    mean: float  # error rate, log-loss or absolute error; about 0 or below: the feature is not needed
    sd: float  # of single shuffles around that mean; 0 with one repeat
    error: float  # standard error of the mean as an estimate for the window's source: rows and shuffles


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffles:
    """Which features are shuffled, and how often."""

    seed: int
    repeats: int = REPEATS
    only: Sequence[str] | None = None  # None = every feature of the schema; the model gets all of them


def permutation_importance(
    predict: Callable[[pd.DataFrame], Any],
    X: pd.DataFrame,
    y: Any,
    schema: FeatureSchema,
    shuffling: Shuffles,
    *,
    predict_proba: Callable[[pd.DataFrame], Any] | None = None,
) -> dict[str, Importance]:
    """The importance of each feature, in the schema's order.

    The loss of a row is 0 or 1 for classes, the log-loss where `predict_proba` is given, the absolute error for regression.

    Args:
        predict: labels or numbers, shape (k,), for a frame of k rows with the schema's features.
        X: features, one row per label; rows without a label are left out, at most MAX_ROWS are used.
        y: shape (n,).
        predict_proba: shape (k, classes), columns as `schema.classes`; used for classes instead of `predict`.

    Raises:
        NotEnoughRows: fewer than MIN_ROWS labelled rows.
        BadInput: a feature is missing, lengths differ, or the model returns an unexpected shape or value.
    """
    import pandas as pd

    repeats, only = shuffling.repeats, shuffling.only
    missing = [name for name in schema.names if name not in X.columns]
    if missing:
        raise BadInput(f"The rows have no column {words.listed(missing)}; expected every feature of the schema.")
    if len(X) != len(y):
        raise BadInput(f"{len(X):,} rows but {len(y):,} labels; give one label a row.")
    if repeats < 1:
        raise BadInput(f"repeats is {repeats}; expected at least 1.")
    labels = np.asarray(y, dtype=object)
    known = ~np.asarray(pd.isna(labels), dtype=bool)
    if known.sum() < MIN_ROWS:
        raise NotEnoughRows("Permutation importance in each window", needed=MIN_ROWS, found=int(known.sum()))
    rng = np.random.default_rng(shuffling.seed)
    used = sampled(pd.DataFrame({"at": np.flatnonzero(known)}), rng, MAX_ROWS)["at"].to_numpy()
    rows, labels = X[list(schema.names)].iloc[used].reset_index(drop=True), labels[used]

    def loss_of(frame: pd.DataFrame, times: int) -> np.ndarray:
        true = np.tile(labels, times)
        if schema.task == "regression":
            return _absolute_error(predict(frame), true)
        if predict_proba is not None:
            return _log_loss(predict_proba(frame), true, schema)
        return _wrong(predict(frame), true)

    base = loss_of(rows, 1)
    n = len(rows)
    at_once = max(1, MOST_CELLS // (n * repeats * max(1, len(schema.names))))
    importances: dict[str, Importance] = {}
    shuffled = [name for name in schema.names if only is None or name in set(only)]
    for first in range(0, len(shuffled), at_once):
        group = shuffled[first : first + at_once]
        shuffles = {name: np.stack([rng.permutation(n) for _ in range(repeats)]) for name in group}
        losses = loss_of(_stacked(rows, shuffles, repeats), len(group) * repeats)
        for name, part in zip(group, losses.reshape(len(group), repeats, n), strict=True):
            importances[name] = _importance(part - base, shuffles[name])
    return importances


def attribution_drift(
    reference: Mapping[str, Importance], current: Mapping[str, Importance], *, alpha: float = ALPHA, gate: float = GATE
) -> AttributionDrift:
    """What changed between the importances of one model in two windows.

    A feature drifts when both hold: its difference is significant (two-sided z, p below alpha after Holm's correction over all
    features) and material (at least `gate` of the largest importance in either window).

    Raises:
        BadInput: the windows do not have the same features.
    """
    if set(reference) != set(current):
        apart = sorted(set(reference) ^ set(current))
        raise BadInput(f"Only one of the windows has {words.listed(apart)}; compare importances of the same features.")
    names = list(reference)
    z = {name: _z(reference[name], current[name]) for name in names}
    judged = [name for name in names if z[name] is not None]
    p_values = distances.holm([math.erfc(abs(z[name] or 0.0) / math.sqrt(2)) for name in judged])
    sure = {name for name, p in zip(judged, p_values, strict=True) if p < alpha}
    least = gate * max((abs(window[name].mean) for window in (reference, current) for name in names), default=0.0)
    scores = [_score(name, reference[name], current[name], z[name], name in sure, least) for name in names]
    scores.sort(key=lambda s: (not s.drifted, -abs(s.z or 0.0)))
    correlation = _rank_correlation(reference, current)
    return AttributionDrift(
        drifted=any(s.drifted for s in scores),
        scores=tuple(scores),
        rank_correlation=correlation,
        finding=_finding(scores, correlation),
    )


# --- importance ---------------------------------------------------------------------------------------------------


def _stacked(rows: pd.DataFrame, shuffles: Mapping[str, np.ndarray], repeats: int) -> pd.DataFrame:
    """The rows, `repeats` times for each feature of the group, with that feature shuffled: one frame for one call."""
    import pandas as pd

    n = len(rows)
    own = np.tile(np.arange(n), len(shuffles) * repeats)
    columns: dict[str, Any] = {}
    for name in rows.columns:
        taken = own
        if name in shuffles:
            start = list(shuffles).index(name) * repeats * n
            taken = own.copy()
            taken[start : start + repeats * n] = shuffles[name].ravel()
        columns[name] = rows[name].array.take(taken)
    return pd.DataFrame(columns, columns=rows.columns)


def _importance(gained: np.ndarray, shuffle: np.ndarray) -> Importance:
    """Mean, and its errors.

    Args:
        gained: shape (repeats, n), loss per row minus its loss without shuffling.
        shuffle: shape (repeats, n), the row whose value each row was given.
    """
    repeats, n = gained.shape
    by_row = gained.mean(axis=0)
    # A row counts twice: it receives a value and gives its own away. The mean over pairs of rows (a U-statistic) varies
    # with both parts; the shuffle's own noise is in each of them, which makes the error a little too large.
    by_giver = np.bincount(shuffle.ravel(), weights=gained.ravel(), minlength=n) / repeats
    over_repeats = gained.mean(axis=1)
    return Importance(
        mean=float(by_row.mean()),
        sd=float(over_repeats.std(ddof=1)) if repeats > 1 else 0.0,
        error=math.sqrt((float(by_row.var(ddof=1)) + float(by_giver.var(ddof=1))) / n),
    )


def _wrong(predicted: Any, true: np.ndarray) -> np.ndarray:
    given = np.asarray(predicted, dtype=object)
    _expect(given.shape, (len(true),), "predictions")
    return (given != true).astype(np.float64)


def _absolute_error(predicted: Any, true: np.ndarray) -> np.ndarray:
    try:
        given, wanted = np.asarray(predicted, dtype=np.float64), true.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadInput("Labels or predictions are no numbers; regression needs numbers.") from None
    _expect(given.shape, wanted.shape, "predictions")
    if not np.isfinite(given).all() or not np.isfinite(wanted).all():
        raise BadInput("Labels or predictions are not finite; leave out such rows.")
    return np.abs(given - wanted)


def _log_loss(proba: Any, true: np.ndarray, schema: FeatureSchema) -> np.ndarray:
    given = np.asarray(proba, dtype=np.float64)
    _expect(given.shape, (len(true), len(schema.classes)), "probabilities")
    place = {c: i for i, c in enumerate(schema.classes)}
    at = np.array([place.get(label, -1) for label in true])
    # The model assigns no probability to a class that it has never seen.
    own = np.where(at >= 0, given[np.arange(len(true)), at], 0.0)
    return -np.log(np.clip(own, LEAST_PROBABILITY, 1.0))


def _expect(shape: tuple[int, ...], wanted: tuple[int, ...], what: str) -> None:
    if shape != wanted:
        raise BadInput(f"The model gave {what} of the shape {shape}; expected {wanted}.")


# --- comparison ---------------------------------------------------------------------------------------------------


def _z(before: Importance, after: Importance) -> float | None:
    error = math.hypot(before.error, after.error)
    return (after.mean - before.mean) / error if error > 0 else None


def _score(
    name: str, before: Importance, after: Importance, z: float | None, sure: bool, least: float
) -> ImportanceChange:
    difference = after.mean - before.mean
    drifted = sure and abs(difference) >= least
    if z is None:
        reason = because("not_judged", why=because("no_loss_changes"))
    else:
        moved = {"before": before.mean, "after": after.mean, "z": z}
        if drifted:
            reason = because("importance_drifted", **moved)
        else:
            reason = because("importance_moved_little", **moved) if sure else because("importance_by_chance", **moved)
    return ImportanceChange(
        name=name, before=before.mean, after=after.mean, difference=difference, z=z, drifted=drifted, reason=reason
    )


def _rank_correlation(reference: Mapping[str, Importance], current: Mapping[str, Importance]) -> float | None:
    """Spearman's correlation of the importances that are above chance in a window; None with too few of them.

    The others lie around 0, in random order.
    """
    from scipy.stats import rankdata

    ranked = [
        name
        for name in reference
        if any(w[name].mean > 2 * w[name].error and w[name].mean > 0 for w in (reference, current))
    ]
    if len(ranked) < LEAST_RANKED:
        return None
    a, b = (rankdata([w[name].mean for name in ranked]) for w in (reference, current))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _finding(scores: list[ImportanceChange], correlation: float | None) -> Reason:
    moved = [s for s in scores if s.drifted]
    first = {"before": moved[0].before, "after": moved[0].after} if moved else {}
    names, judged = [s.name for s in moved], sum(s.z is not None for s in scores)
    return because("leans_on", moved=names, **first, judged=judged, correlation=correlation, least=LEAST_RANKED)
