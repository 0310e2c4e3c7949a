"""The scorer: a fitted model as plain numbers that predicts without the libraries that trained it.

Linear models with their preparation folded into the weights, trees as flat arrays, neighbours as their rows, and
committees of those. One row is predicted by plain Python, many by numpy, which is imported only then. `export.py` turns
a fitted estimator into a scorer and verifies that both give the same predictions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import StorageError

if TYPE_CHECKING:
    import numpy as np
from core.learning.scorer_neighbours import Neighbours
from core.learning.scorer_parts import Columns, Constant, Linear, Part, Values, Views
from core.learning.scorer_trees import Trees

TOLERANCE = 1e-12  # absolute for probabilities, relative for values


class Sum(Part):
    """The sum of a linear model and of a model of its residuals."""

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self.parts = [part_of(d, views) for d in document["parts"]]

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        return [sum(part.one(values)[0] for part in self.parts)]

    def many(self, columns: Columns, n: int) -> np.ndarray:
        """See `Part`."""
        total = self.parts[0].many(columns, n)
        for part in self.parts[1:]:
            total = total + part.many(columns, n)
        return total


class Vote(Part):
    """A weighted vote of members, as in `core.learning.models.Committee`."""

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self._width: int = document["width"]
        self.shared: bool = document["shared"]  # True: divided by the sum, which gives probabilities
        # member, weight, output index of each of its classes
        self.members = [(part_of(m["part"], views), m["weight"], m["places"]) for m in document["members"]]

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        total = [0.0] * self._width
        for part, weight, places in self.members:
            for place, p in zip(places, part.one(values), strict=True):
                total[place] += weight * p
        if not self.shared:
            return total
        whole = sum(total)
        return [t / whole for t in total]

    def many(self, columns: Columns, n: int) -> np.ndarray:
        """See `Part`."""
        import numpy as np

        total = np.zeros((n, self._width))
        for part, weight, places in self.members:
            total[:, places] += weight * part.many(columns, n)
        return total / total.sum(axis=1, keepdims=True) if self.shared else total


_KINDS: Mapping[str, type[Part]] = {
    "linear": Linear,
    "trees": Trees,
    "neighbours": Neighbours,
    "constant": Constant,
    "sum": Sum,
    "vote": Vote,
}


def part_of(document: Mapping[str, Any], views: Views) -> Part:
    """The model described by a document and its arrays.

    Raises:
        StorageError: a kind unknown to this version, or a malformed document.
    """
    named = document.get("kind") if isinstance(document, Mapping) else None
    kind = _KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        raise StorageError(f"A scorer of the kind {named!r} is not known to this version.")
    try:
        return kind(document, views)  # type: ignore[call-arg]
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise StorageError(
            f"A scorer cannot be read: {type(error).__name__} in a part of kind {document['kind']} ({error})."
        ) from error


def largest_difference(
    answers: Sequence[Sequence[float]], expected: Sequence[Sequence[float]], *, value: bool
) -> float:
    """Largest difference between two lists of predictions; relative to their size for values, absolute for probabilities."""
    worst = 0.0
    for got, wanted in zip(answers, expected, strict=True):
        for a, b in zip(got, wanted, strict=True):
            distance = abs(a - b) / (max(1.0, abs(b)) if value else 1.0)
            worst = max(worst, distance if distance == distance else math.inf)
    return worst
