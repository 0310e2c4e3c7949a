"""Drift of all features together: can a classifier tell current rows from reference rows?

It sees what no single column shows, e.g. two features that change places. Needs sklearn: imported when it runs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from core.drift.encode import encoded, sampled
from core.errors import NotEnoughRows
from core.records import FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

Z95 = 1.959963984540054
MIN_ROWS = 100  # of each window
FOLDS = 2
GATE = 0.55  # the AUC must exceed it, besides being above 0.5 for sure
NAMED = 10  # features that are weighed in the result


def domain_classifier(
    reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema, *, seed: int = 0, gate: float = GATE
) -> dict[str, Any]:
    """`{drifted, auc, low, high, features}`: how well the windows can be told apart, and by which features.

    The AUC is cross-fitted: each row is scored by a model that has not seen it. 0.5 = not at all, 1 = perfectly; low and
    high are a 95 % interval from DeLong's standard errors of the folds. Drifted when low is above 0.5 and the AUC above the gate. `features` maps the
    features that matter to the AUC that is lost when they are shuffled, largest first.

    Raises:
        NotEnoughRows: a window has fewer than MIN_ROWS rows.
    """
    found = min(len(reference), len(current))
    if found < MIN_ROWS:
        raise NotEnoughRows("A domain classifier in each window", needed=MIN_ROWS, found=found)
    rng = np.random.default_rng(seed)
    X, y, names = encoded(sampled(reference, rng), sampled(current, rng), schema)
    fold = _folds(y, rng)
    auc, spread = 0.0, 0.0
    lost = np.zeros(X.shape[1])
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        # A column without any value cannot be binned; as a constant it says as little.
        filled = np.where(np.isnan(X[train]).all(axis=0), 0.0, X)
        model = _classifier([bool(n) for n in names], seed)
        model.fit(filled[train], y[train])
        scores = model.predict_proba(filled[test])[:, 1]
        part, part_spread = delong(scores[y[test]], scores[~y[test]])
        # The folds' models are each other's test rows: errors add up as if they were one, which bounds any correlation.
        auc, spread = auc + part / FOLDS, spread + part_spread / FOLDS
        lost += _importance(model, filled[test], y[test], part, rng) / FOLDS
    low, high = max(0.0, auc - Z95 * spread), min(1.0, auc + Z95 * spread)
    order = [int(j) for j in np.argsort(-lost, kind="stable") if lost[j] > 0.002][:NAMED]
    return {
        "drifted": bool(low > 0.5 and auc > gate),
        "auc": auc,
        "low": low,
        "high": high,
        "features": {schema.names[j]: round(float(lost[j]), 4) for j in order},
    }


def delong(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """AUC of two samples of scores, and its standard error (DeLong, DeLong and Clarke-Pearson 1988, ties half).

    Args:
        positive, negative: shape (n,) and (m,), at least two each.
    """
    a, b = np.sort(positive), np.sort(negative)
    wins = (np.searchsorted(b, positive, "left") + np.searchsorted(b, positive, "right")) / (2 * len(b))
    losses = (np.searchsorted(a, negative, "left") + np.searchsorted(a, negative, "right")) / (2 * len(a))
    return float(wins.mean()), math.sqrt(wins.var(ddof=1) / len(a) + losses.var(ddof=1) / len(b))


def _folds(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fold for each row, both windows spread evenly over all of them."""
    fold = np.empty(len(y), dtype=np.int64)
    for side in (False, True):
        at = np.flatnonzero(y == side)
        fold[at] = rng.permutation(np.arange(len(at)) % FOLDS)
    return fold


def _classifier(categorical: list[bool], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.15, max_leaf_nodes=8, min_samples_leaf=20, max_bins=64, early_stopping=False,
        categorical_features=categorical if any(categorical) else None, random_state=seed,
    )  # fmt: skip


def _importance(model: Any, X: np.ndarray, y: np.ndarray, auc: float, rng: np.random.Generator) -> np.ndarray:
    """AUC lost on unseen rows when one column at a time is shuffled (Breiman 2001)."""
    lost = np.zeros(X.shape[1])
    mixed = X.copy()
    for j in range(X.shape[1]):
        mixed[:, j] = rng.permutation(X[:, j])
        shuffled = model.predict_proba(mixed)[:, 1]
        lost[j] = auc - delong(shuffled[y], shuffled[~y])[0]
        mixed[:, j] = X[:, j]
    return lost
