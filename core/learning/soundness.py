"""Whether a model's arrays are consistent: compiled code follows them unchecked, and a wrong index crashes the process."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import BadInput

METRICS = frozenset({"minkowski", "euclidean", "manhattan", "cosine", "chebyshev", "l1", "l2", "cityblock"})
_TREES = "sklearn.tree._classes"
_NEIGHBOURS = ("KNeighborsClassifier", "KNeighborsRegressor", "NearClassifier", "NearRegressor")
_BOOSTED = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")


def refuse_unsound(model: Any) -> None:
    """Check every tree and every neighbours model in an estimator, however deeply nested.

    Raises:
        BadInput: a tree that leads nowhere, or tests columns that its model does not have; a neighbours model whose rows,
            labels and counts do not match.
    """
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (str, bytes, int, float, type(None), type)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple, set)):
            waiting.extend(value)
        elif isinstance(value, np.ndarray):
            if value.dtype == object:
                waiting.extend(value.reshape(-1).tolist())
        else:
            _refuse(value)
            waiting.extend(getattr(value, "__dict__", {}).values())


def _refuse(estimator: Any) -> None:
    kind, held = type(estimator).__name__, getattr(estimator, "__dict__", {})
    if type(estimator).__module__ == _TREES and "tree_" in held:
        _refuse_tree(estimator)
    elif kind in _BOOSTED and "_predictors" in held:
        for stage in estimator._predictors:
            for predictor in stage:
                _refuse_boosted(predictor, _columns(estimator))
    elif kind in _NEIGHBOURS and "_fit_X" in held:
        _refuse_neighbours(estimator)


def _columns(estimator: Any) -> int:
    """The number of columns that a model expects."""
    columns = getattr(estimator, "n_features_in_", None)
    if not isinstance(columns, (int, np.integer)) or columns < 1:
        raise BadInput(f"A {type(estimator).__name__} says it has {columns!r} columns, expected a whole number.")
    return int(columns)


def _refuse_tree(estimator: Any) -> None:
    tree, columns = estimator.tree_, _columns(estimator)
    if f"{type(tree).__module__}.{type(tree).__name__}" != "sklearn.tree._tree.Tree" or tree.n_features != columns:
        raise BadInput(f"A {type(estimator).__name__} of {columns} columns holds a tree of another number of them.")
    left = tree.children_left
    refuse_bad_tree(left, tree.children_right, tree.feature, tree.threshold, features=columns, leaf=left == -1)


def _refuse_boosted(predictor: Any, columns: int) -> None:
    nodes = getattr(predictor, "nodes", None)
    if not isinstance(nodes, np.ndarray) or "num_threshold" not in (nodes.dtype.names or ()) or nodes.ndim != 1:
        raise BadInput("A boosted tree is no list of nodes. Save the fitted pipeline again.")
    if (nodes["is_categorical"] != 0).any():
        raise BadInput(
            "A boosted tree splits on sets of categories, which are not followed here. Code them as numbers."
        )
    left, right = nodes["left"], nodes["right"]
    leaf = nodes["is_leaf"] != 0
    refuse_bad_tree(left, right, nodes["feature_idx"], nodes["num_threshold"], features=columns, leaf=leaf)


def _refuse_neighbours(estimator: Any) -> None:
    rows, targets = np.asarray(estimator._fit_X), np.asarray(getattr(estimator, "_y", ()))
    held, n = estimator.__dict__, len(rows) if rows.ndim else 0
    if held.get("_fit_method") != "brute" or held.get("_tree") is not None:
        raise BadInput("Neighbours are found by a tree in memory, which cannot be checked. Use algorithm='brute'.")
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or rows.shape[1] != _columns(estimator) or len(targets) != n:
        raise BadInput("Neighbours whose rows and labels are not of the same number, or whose rows are no numbers.")
    if held.get("n_samples_fit_") != n or not 1 <= int(estimator.n_neighbors) <= n:
        raise BadInput(
            f"Neighbours that ask for {estimator.n_neighbors} of {held.get('n_samples_fit_')} rows; {n} are held."
        )
    if held.get("effective_metric_") not in METRICS or set(held.get("effective_metric_params_") or ()) - {"p"}:
        raise BadInput(
            f"Neighbours by the metric {held.get('effective_metric_')}, expected {', '.join(sorted(METRICS))}."
        )
    if "classes_" in held:
        classes = len(held["classes_"])
        if targets.dtype.kind not in "iu" or targets.ndim != 1 or ((targets < 0) | (targets >= classes)).any():
            raise BadInput(f"Neighbours whose labels are not numbers of the {classes} classes.")


def refuse_bad_tree(
    left: np.ndarray, right: np.ndarray, feature: np.ndarray, threshold: np.ndarray, *, features: int, leaf: np.ndarray
) -> None:
    """Refuse a tree that compiled code cannot follow from its root to a leaf.

    Args:
        left, right: shape (nodes,), indices of the children. feature, threshold: the test of each inner node.
        features: number of columns. leaf: which nodes are leaves.

    Raises:
        BadInput: a child out of range or before its parent, a feature that does not exist, a threshold that is NaN.
    """
    n = len(leaf)
    if n == 0:
        raise BadInput("A tree has no nodes, expected at least a root.")
    inner = ~np.asarray(leaf, dtype=bool)
    at = np.flatnonzero(inner)
    for side in (left, right):
        child = np.asarray(side)[inner].astype(np.int64)
        if ((child <= at) | (child >= n)).any():
            raise BadInput(f"A tree leads to a node that it does not have, or back; it has {n:,}.")
    asked = np.asarray(feature)[inner].astype(np.int64)
    if ((asked < 0) | (asked >= features)).any():
        raise BadInput(f"A tree asks for column {int(asked.max()):,} of {features:,}.")
    if np.isnan(np.asarray(threshold)[inner]).any():
        raise BadInput("A tree compares with a value that is no number.")
