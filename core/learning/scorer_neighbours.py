"""Nearest neighbours in a scorer: the training rows that such a model stores."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
from core.learning.scorer_parts import Columns, Part, Values, Views


class Neighbours(Part):
    """The nearest stored rows, weighted by the inverse of their distance."""

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        import numpy as np

        self._k: int = document["k"]
        self._numeric = [(c["feature"], c["fill"], c["mean"], c["scale"]) for c in document["numeric"]]
        self._tables = [(t["feature"], t["known"], t["missing"], t["unseen"]) for t in document["tables"]]
        self._rows = np.frombuffer(views[document["rows"]]).reshape(document["shape"])
        self._squares = np.einsum("ij,ij->i", self._rows, self._rows)
        self._targets = np.frombuffer(views[document["targets"]])
        self._classes: int | None = document["classes"]

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        import numpy as np

        x: list[float] = []
        for feature, fill, mean, scale in self._numeric:
            v = values[feature]
            x.append(((v if v == v else fill) - mean) / scale)
        for feature, known, missing, unseen in self._tables:
            text = values[feature]
            x += missing if text is None else known.get(text, unseen)
        row = np.array(x)
        distances, near = _nearest(self._rows, self._squares - 2.0 * (self._rows @ row), row, self._k)
        weights = [1.0 / d if d > 0.0 else math.inf for d in distances.tolist()]
        if math.inf in weights:  # rows at distance 0 decide alone
            weights = [float(w == math.inf) for w in weights]
        targets, total = self._targets[near].tolist(), sum(weights)
        if self._classes is None:
            return [sum(map(operator.mul, weights, targets)) / total]
        votes = [0.0] * self._classes
        for k, weight in zip(targets, weights, strict=True):
            votes[int(k)] += weight
        return [vote / total for vote in votes]

    def many(self, columns: Columns, n: int) -> np.ndarray:
        """See `Part`."""
        import numpy as np

        parts = []
        for feature, fill, mean, scale in self._numeric:
            column = np.asarray(columns[feature], dtype=np.float64)
            parts.append(((np.where(np.isnan(column), fill, column) - mean) / scale).reshape(n, 1))
        for feature, known, missing, unseen in self._tables:
            coded = [missing if v is None else known.get(v, unseen) for v in columns[feature]]
            parts.append(np.array(coded, dtype=np.float64).reshape(n, -1))
        x = np.hstack(parts)
        answers = [self._some(x[i : i + 256]) for i in range(0, n, 256)]
        return np.vstack(answers)

    def _some(self, x: np.ndarray) -> np.ndarray:
        import numpy as np

        distances, near = nearest_rows(self._rows, self._squares, x, self._k)
        with np.errstate(divide="ignore"):
            weights = 1.0 / distances
        touching = np.isinf(weights)
        rows = touching.any(axis=1)
        weights[rows] = touching[rows]  # rows at distance 0 decide alone
        targets = self._targets[near]
        if self._classes is None:
            mean: np.ndarray = (weights * targets).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
            return mean
        votes = np.column_stack([(weights * (targets == k)).sum(axis=1) for k in range(self._classes)])
        shares: np.ndarray = votes / votes.sum(axis=1, keepdims=True)
        return shares


def nearest_rows(rows: np.ndarray, squares: np.ndarray, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances and indices of each row's k nearest rows, nearest first; ties go to the lower index.

    The matrix product finds them, with rounding errors; their distances are then computed from the differences, so that
    a row is at distance 0 from itself and the result does not depend on how many rows are requested at once.

    Args:
        rows: shape (m, columns). squares: their squared lengths. x: shape (n, columns).
    """
    import numpy as np

    rounded = squares - 2.0 * (x @ rows.T)
    neighbours = [_nearest(rows, rounded[i], row, k) for i, row in enumerate(x)]
    return np.array([d for d, _ in neighbours]).reshape(-1, k), np.array([n for _, n in neighbours]).reshape(-1, k)


def _nearest(rows: np.ndarray, rounded: np.ndarray, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """One row's neighbours, from the approximate squared distances (without x's own square)."""
    import numpy as np

    kth = np.partition(rounded, k - 1)[k - 1]
    near = (rounded <= kth + 1e-9 * (x @ x + abs(kth) + 1.0)).nonzero()[0]
    apart = rows[near] - x
    squared = (apart * apart).sum(axis=1)
    first = squared.argsort(kind="stable")[:k]
    return np.sqrt(squared[first]), near[first]
