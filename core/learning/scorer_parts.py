"""The interface of a scorer's parts, the arrays they are read from, and the two simplest: a linear model and a constant."""

from __future__ import annotations

import array
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


MOST_FEATURES = 100_000  # a node that tests a feature beyond it is corrupt


Views = Mapping[str, memoryview]


Values = list[Any]  # one row in schema order: float (NaN = missing), or text (None = missing)


Columns = Sequence[Any]  # many rows in schema order: float64 arrays, or sequences of text


class Part(ABC):
    """A model of a known kind."""

    @abstractmethod
    def one(self, values: Values) -> list[float]:
        """One row's probabilities, in the order of the classes, or its value."""

    @abstractmethod
    def many(self, columns: Columns, n: int) -> np.ndarray:
        """The same for n rows, shape (n, classes) or (n, 1)."""


def floats(view: memoryview) -> array.array[float]:
    numbers = array.array("d")
    numbers.frombytes(view)
    return numbers


def ints(view: memoryview) -> array.array[int]:
    numbers = array.array("i")
    numbers.frombytes(view)
    return numbers


def code(value: float | None) -> float:
    return math.nan if value is None else value


def linked(link: str, raw: list[float]) -> list[float]:
    if link == "identity":
        return raw
    if link == "sigmoid":
        z = raw[0]
        p = 1.0 / (1.0 + math.exp(-z)) if z > -700.0 else 0.0
        return [1.0 - p, p]
    top = max(raw)
    powers = [math.exp(z - top) for z in raw]
    total = math.fsum(powers)
    return [p / total for p in powers]


def linked_many(link: str, raw: np.ndarray) -> np.ndarray:
    import numpy as np

    if link == "identity":
        return raw
    if link == "sigmoid":
        with np.errstate(over="ignore"):
            p = 1.0 / (1.0 + np.exp(-raw[:, 0]))
        return np.column_stack([1.0 - p, p])
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class Linear(Part):
    """Weights on the raw features; scaling, filling and one-hot coding are folded into them."""

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self.link: str = document["link"]
        self._numeric: list[int] = document["numeric"]  # positions in the schema
        self._fill: list[float] = document["fill"]  # raw value that replaces a missing one
        self.bias: list[float] = document["bias"]
        weights = floats(views[document["weights"]]).tolist()
        width = len(self._numeric)
        self._weights = [weights[k * width : (k + 1) * width] for k in range(len(self.bias))]
        # feature position; contributions by category, of a missing one, of an unseen one
        self._tables = [(t["feature"], t["known"], t["missing"], t["unseen"]) for t in document["tables"]]
        self._plain = not self._tables and self._numeric == list(range(width))

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        return linked(self.link, self.raw(values))

    def raw(self, values: Values) -> list[float]:
        """The outputs before the link function: sums of terms."""
        x = values if self._plain else [values[j] for j in self._numeric]
        raw = [sum(map(operator.mul, row, x), bias) for row, bias in zip(self._weights, self.bias, strict=True)]
        if raw[0] != raw[0]:  # a missing value makes the sum NaN
            x = [fill if v != v else v for v, fill in zip(x, self._fill, strict=True)]
            raw = [sum(map(operator.mul, row, x), bias) for row, bias in zip(self._weights, self.bias, strict=True)]
        for feature, known, missing, unseen in self._tables:
            text = values[feature]
            extra = missing if text is None else known.get(text, unseen)
            raw = [z + e for z, e in zip(raw, extra, strict=True)]
        return raw

    def terms(self, values: Values) -> list[list[float]]:
        """Each feature's contribution to each output, shape (features, outputs); their sum and the bias make `raw`."""
        contributions = [[0.0] * len(self.bias) for _ in values]
        for i, (j, fill) in enumerate(zip(self._numeric, self._fill, strict=True)):
            v = values[j] if values[j] == values[j] else fill
            contributions[j] = [row[i] * v for row in self._weights]
        for feature, known, missing, unseen in self._tables:
            text = values[feature]
            contributions[feature] = missing if text is None else known.get(text, unseen)
        return contributions

    def many(self, columns: Columns, n: int) -> np.ndarray:
        """See `Part`."""
        import numpy as np

        raw = np.tile(np.asarray(self.bias), (n, 1))
        for i, j in enumerate(self._numeric):
            column = np.asarray(columns[j], dtype=np.float64)
            gaps = np.isnan(column)
            if gaps.any():
                column = np.where(gaps, self._fill[i], column)
            for k, row in enumerate(self._weights):
                raw[:, k] += row[i] * column
        for feature, known, missing, unseen in self._tables:
            raw += np.array([missing if v is None else known.get(v, unseen) for v in columns[feature]]).reshape(n, -1)
        return linked_many(self.link, raw)


class Constant(Part):
    """The same prediction for every row."""

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self._answer: list[float] = document["answer"]

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        return list(self._answer)

    def many(self, columns: Columns, n: int) -> np.ndarray:
        """See `Part`."""
        import numpy as np

        return np.tile(np.asarray(self._answer), (n, 1))
