"""The scorer: a fitted model as numbers that answer without the libraries that trained it.

Linear models with their preparation folded into the weights, trees as flat arrays, neighbours as their rows, and
committees of those. One row is answered by plain Python, many by numpy, which is imported only then. How a fitted
estimator becomes a scorer is in `export.py`; there too it is held to the estimator's own answers.
"""

from __future__ import annotations

import array
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import StorageError

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 1e-12  # of probabilities, and of values relative to their size
COMPILED_NODES = 8_000  # trees of at most so many nodes together become Python code (5 microseconds a node)
COMPILED_DEPTH = 60  # deeper ones would be nested too deep for the compiler
CHUNK_NODES = 1_500  # of trees in one piece of code: compiling needs memory that is not given back at once
LINKED_NODES = 150_000  # up to here nodes are linked tuples (70 bytes each); beyond, only the arrays
MOST_FEATURES = 100_000  # a node that asks for a later one is damaged
MASK_LEAVES = 64  # trees of at most so many leaves are answered by bit masks

Views = Mapping[str, memoryview]
Values = list[Any]  # one row in schema order: float (NaN = missing), or text (None = missing)
Columns = Sequence[Any]  # many rows in schema order: float64 arrays, or sequences of text


class Part(ABC):
    """A model of a known kind."""

    @abstractmethod
    def one(self, values: Values) -> list[float]:
        """Probabilities in the order of its classes, or the value, of one row."""

    @abstractmethod
    def many(self, columns: Columns, n: int) -> np.ndarray:
        """The same for n rows, shape (n, classes) or (n, 1)."""


def _floats(view: memoryview) -> array.array[float]:
    found = array.array("d")
    found.frombytes(view)
    return found


def _ints(view: memoryview) -> array.array[int]:
    found = array.array("i")
    found.frombytes(view)
    return found


def _code(value: float | None) -> float:
    return math.nan if value is None else value


def _linked(link: str, raw: list[float]) -> list[float]:
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


def _linked_many(link: str, raw: np.ndarray) -> np.ndarray:
    import numpy as np

    if link == "identity":
        return raw
    if link == "sigmoid":
        with np.errstate(over="ignore"):
            p = 1.0 / (1.0 + np.exp(-raw[:, 0]))
        return np.column_stack([1.0 - p, p])
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# --- linear -----------------------------------------------------------------------------------------------------


class Linear(Part):
    """Weights on the raw features; scaling, filling and one-hot coding are folded into them."""

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self.link: str = document["link"]
        self._numeric: list[int] = document["numeric"]  # positions in the schema
        self._fill: list[float] = document["fill"]  # raw value that stands for a missing one
        self.bias: list[float] = document["bias"]
        weights = _floats(views[document["weights"]]).tolist()
        width = len(self._numeric)
        self._weights = [weights[k * width : (k + 1) * width] for k in range(len(self.bias))]
        # feature position, contributions by text, of a missing one, of an unseen one
        self._tables = [(t["feature"], t["known"], t["missing"], t["unseen"]) for t in document["tables"]]
        self._plain = not self._tables and self._numeric == list(range(width))

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        return _linked(self.link, self.raw(values))

    def raw(self, values: Values) -> list[float]:
        """What the link makes the answer of: a sum of terms."""
        x = values if self._plain else [values[j] for j in self._numeric]
        raw = [sum(map(operator.mul, row, x), bias) for row, bias in zip(self._weights, self.bias, strict=True)]
        if raw[0] != raw[0]:  # a missing value makes NaN of the sum
            x = [fill if v != v else v for v, fill in zip(x, self._fill, strict=True)]
            raw = [sum(map(operator.mul, row, x), bias) for row, bias in zip(self._weights, self.bias, strict=True)]
        for feature, known, missing, unseen in self._tables:
            text = values[feature]
            extra = missing if text is None else known.get(text, unseen)
            raw = [z + e for z, e in zip(raw, extra, strict=True)]
        return raw

    def terms(self, values: Values) -> list[list[float]]:
        """What each feature adds to each output, shape (features, outputs); with the bias they are `raw`."""
        found = [[0.0] * len(self.bias) for _ in values]
        for i, (j, fill) in enumerate(zip(self._numeric, self._fill, strict=True)):
            v = values[j] if values[j] == values[j] else fill
            found[j] = [row[i] * v for row in self._weights]
        for feature, known, missing, unseen in self._tables:
            text = values[feature]
            found[feature] = missing if text is None else known.get(text, unseen)
        return found

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
        return _linked_many(self.link, raw)


# --- trees ------------------------------------------------------------------------------------------------------


class Trees(Part):
    """Decision trees: boosted sums of leaves behind a link, or the mean of the leaves' distributions.

    A node tests `value <= threshold`, and goes left where that holds; a missing value goes where the node says.
    """

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self.link: str = document["link"]
        self._mean: bool = document["mean"]  # a forest: the mean, else a sum
        self._single: bool = document["single"]  # it was trained on float32: values are rounded to that
        self._base: list[float] = document["base"]
        self._outputs = len(self._base)
        self._codes = [(c["feature"], c["known"], _code(c["missing"]), _code(c["unseen"])) for c in document["codes"]]
        self._fill = [(f["feature"], f["value"]) for f in document["fill"]]
        name = document["arrays"]
        self._feature = _ints(views[name + "feature"])  # -1 in a leaf
        self._threshold = _floats(views[name + "threshold"])
        self._left, self._right = _ints(views[name + "left"]), _ints(views[name + "right"])
        self._roots, self._of = _ints(views[name + "roots"]), _ints(views[name + "of"])  # `of`: output a tree adds to
        self._gap_left = bytes(views[name + "gap_left"])
        # One value a leaf, or one an output; a leaf's place among them stands where other nodes have their right child.
        self._value = _floats(views[name + "value"])
        _refuse_bad_trees(self)
        self._columns = [self._value[k :: self._outputs] for k in range(self._outputs)] if self._mean else [self._value]
        self._code = _compiled(self)
        linked = not self._code and len(self._feature) <= LINKED_NODES
        self._nodes = _linked_nodes(self) if linked else []
        self._masks: _Masks | None = None

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        return _linked(self.link, self.raw(values))

    def raw(self, values: Values) -> list[float]:
        """What the link makes the answer of: a sum, or the mean, of leaves."""
        x = self._coded(values)
        leaves: list[int] = []
        if self._code:
            for code in self._code:
                leaves += code(*x)
        elif self._nodes and sum(x) - sum(x) == 0.0:  # no gap
            for feature, threshold, left, right in self._nodes:
                while feature >= 0:
                    feature, threshold, left, right = left if x[feature] <= threshold else right
                leaves.append(left)
        else:
            leaves = self._walked(x)
        if self._mean:
            return [sum(map(column.__getitem__, leaves)) / len(leaves) for column in self._columns]
        value, raw = self._value, list(self._base)
        if len(raw) == 1:
            raw[0] = sum(map(value.__getitem__, leaves), raw[0])
        else:
            for k, leaf in zip(self._of, leaves, strict=True):
                raw[k] += value[leaf]
        return raw

    def _coded(self, values: Values) -> list[float]:
        """A row as the trees take it: categories as numbers, gaps filled, rounded."""
        if not (self._codes or self._fill or self._single):
            return values
        x = list(values)
        for feature, known, missing, unseen in self._codes:
            text = x[feature]
            x[feature] = missing if text is None else known.get(text, unseen)
        for feature, value in self._fill:
            if x[feature] != x[feature]:
                x[feature] = value
        if self._single:
            x = array.array("f", x).tolist()
            if math.inf in x or -math.inf in x:
                raise ValueError("a value is too great for single precision")
        return x

    def _walked(self, x: list[float]) -> list[int]:
        """The leaf of each tree, found in the arrays; x may have gaps."""
        features, thresholds, lefts, rights = self._feature, self._threshold, self._left, self._right
        gap_left = self._gap_left
        leaves = []
        for node in self._roots:
            while (f := features[node]) >= 0:
                v = x[f]
                node = lefts[node] if v <= thresholds[node] or (v != v and gap_left[node]) else rights[node]
            leaves.append(rights[node])
        return leaves

    def arrays(self) -> TreeArrays:
        """The nodes of all trees, as arrays."""
        import numpy as np

        feature, left, right, roots = (
            np.frombuffer(a, dtype=np.int32) for a in (self._feature, self._left, self._right, self._roots)
        )
        gap_left = np.frombuffer(self._gap_left, dtype=np.int8).astype(bool)
        return TreeArrays(feature, left, right, roots, np.frombuffer(self._threshold), gap_left)

    def goes_left(self, values: Values) -> np.ndarray:
        """Of every node, whether the row would go left there."""
        import numpy as np

        arrays = self.arrays()
        x = np.array(self._coded(values), dtype=np.float64)[np.maximum(arrays.feature, 0)]
        left: np.ndarray = np.where(np.isnan(x), arrays.gap_left, x <= arrays.threshold)
        return left

    def worth(self, choice: np.ndarray) -> np.ndarray:
        """What each leaf, in the order of the nodes, gives to the sum of the outputs weighted by `choice`."""
        import numpy as np

        arrays = self.arrays()
        leaves = np.flatnonzero(arrays.feature < 0)
        value = np.frombuffer(self._value)
        if self._mean:
            worth: np.ndarray = value.reshape(-1, self._outputs)[arrays.right[leaves]] @ choice / len(self._roots)
            return worth
        tree = np.searchsorted(arrays.roots, leaves, side="right") - 1
        return value[arrays.right[leaves]] * np.asarray(choice)[np.asarray(self._of)[tree]]

    def many(self, columns: Columns, n: int) -> np.ndarray:
        """See `Part`."""
        import numpy as np

        x: list[Any] = list(columns)
        for feature, known, missing, unseen in self._codes:
            x[feature] = np.array([missing if v is None else known.get(v, unseen) for v in x[feature]])
        for feature, value in self._fill:
            x[feature] = np.where(np.isnan(x[feature]), value, x[feature])
        kind = np.float32 if self._single else np.float64
        with np.errstate(over="ignore"):
            x = [np.asarray(column, dtype=kind) for column in x]
        if self._single and any(np.isinf(column).any() for column in x):
            raise ValueError("a value is too great for single precision")
        if self._masks is None:
            self._masks = _Masks(self)
        value = np.frombuffer(self._value)
        if self._mean:
            total = np.zeros((n, self._outputs))
            value = value.reshape(-1, self._outputs)
            for leaves in self._masks.leaves(x, n):
                total += value[leaves]
            return total / len(self._roots)
        raw = np.tile(np.asarray(self._base), (n, 1))
        for k, leaves in zip(self._of, self._masks.leaves(x, n), strict=True):
            raw[:, k] += value[leaves]
        return _linked_many(self.link, raw)


def _refuse_bad_trees(trees: Trees) -> None:
    """ValueError for trees that do not lead from every root to a leaf; they would be walked without end."""
    n, leaves = len(trees._feature), len(trees._value) // (trees._outputs if trees._mean else 1)
    if not len(trees._left) == len(trees._right) == len(trees._threshold) == len(trees._gap_left) == n:
        raise ValueError("the nodes' arrays are not of one length")
    if not all(0 <= root < n for root in trees._roots) or not all(0 <= k < trees._outputs for k in trees._of):
        raise ValueError("a root, or the output of a tree, is out of range")
    if len(trees._roots) != len(trees._of) or (trees._mean and not trees._roots):
        raise ValueError("there are not as many outputs as trees")
    for i, (feature, left, right) in enumerate(zip(trees._feature, trees._left, trees._right, strict=True)):
        if feature < 0:
            if not 0 <= right < leaves:
                raise ValueError("a leaf has no value")
        elif feature >= MOST_FEATURES or not (i < left < n and i < right < n):
            raise ValueError("a node leads out of its tree, or back")


def _linked_nodes(trees: Trees) -> list[tuple[Any, ...]]:
    """The trees' roots: (feature, threshold, left node, right node), and (-1, 0, place, None) for a leaf."""
    nodes: list[Any] = [None] * len(trees._feature)
    for i in range(len(nodes) - 1, -1, -1):  # children come after their node
        feature, left, right = trees._feature[i], trees._left[i], trees._right[i]
        if feature < 0:
            nodes[i] = (-1, 0.0, right, None)
        else:
            nodes[i] = (feature, trees._threshold[i], nodes[left], nodes[right])
    return [nodes[root] for root in trees._roots]


def _compiled(trees: Trees) -> list[Callable[..., Sequence[int]]]:
    """Functions of the features that give the leaves, some trees each; none where the trees are too large for that.

    The source holds whole numbers and floats of the arrays, and nothing else. `x > t` and `x <= t` are both false of a
    gap, so that the way of the gap is the one behind `else`.
    """
    if len(trees._feature) > COMPILED_NODES:
        return []
    width = 1 + max(trees._feature, default=0)
    names = "".join(f"x{j}," for j in range(width))
    chunks: list[list[str]] = [[]]
    size = 0
    for root in trees._roots:
        written = _expression(trees, root)
        if written is None:
            return []
        if size > CHUNK_NODES:
            chunks.append([])
            size = 0
        chunks[-1].append(written)
        size += written.count(" if ") * 2 + 1
    found = []
    for chunk in chunks:
        own: dict[str, Any] = {"__builtins__": {}}
        exec(compile(f"def leaves({names}*_): return ({','.join(chunk)},)", "<trees>", "exec"), own)  # noqa: S102  # numbers of checked arrays, and no builtins
        found.append(own["leaves"])
    return found


def _expression(trees: Trees, root: int) -> str | None:
    """A tree as nested conditions; None where it is too deep, or its thresholds cannot be written."""
    written: list[str] = []
    stack: list[tuple[int, int] | str] = [(root, 0)]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            written.append(item)
            continue
        node, depth = item
        feature = trees._feature[node]
        if feature < 0:
            written.append(str(trees._right[node]))
            continue
        threshold = trees._threshold[node]
        if depth > COMPILED_DEPTH or threshold != threshold:
            return None
        number = repr(threshold).replace("inf", "1e999")
        left, right = (trees._left[node], depth + 1), (trees._right[node], depth + 1)
        if trees._gap_left[node]:
            stack += [")", left, f" if x{feature}>{number} else ", right]
        else:
            stack += [")", right, f" if x{feature}<={number} else ", left]
        written.append("(")
    return "".join(written)


@dataclass(frozen=True, slots=True)
class TreeArrays:
    """Nodes of trees one after the other; a leaf has the feature -1, and its place among the leaves for right child."""

    feature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    roots: np.ndarray
    threshold: np.ndarray
    gap_left: np.ndarray


class _Masks:
    """The leaf (its place among the values) that each of many rows falls in, tree by tree.

    Small trees by bit masks (QuickScorer: Lucchese et al., SIGIR 2015): a test that fails rules out the leaves to its
    left, and the first leaf that no test rules out is the row's. What the tests on one feature rule out together is
    looked up by the place of the value among the feature's thresholds. Large trees are walked level by level.
    """

    def __init__(self, trees: Trees) -> None:
        import numpy as np

        nodes = trees.arrays()
        self._feature, self._threshold, self._left, self._right = (
            nodes.feature,
            nodes.threshold,
            nodes.left,
            nodes.right,
        )
        self._gap_left, self._roots = nodes.gap_left, trees._roots
        self._edges: dict[int, np.ndarray] = {}
        inner = self._feature >= 0
        for j in np.unique(self._feature[inner]).tolist():
            self._edges[j] = np.unique(self._threshold[self._feature == j])
        self._tables = [self._tables_of(root) for root in self._roots]

    def _tables_of(self, root: int) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]] | None:
        """Leaves from left to right, and a table of masks for each feature that is tested; None for a large tree."""
        import numpy as np

        leaves: list[int] = []
        tests: list[tuple[int, int, int]] = []  # node, its first leaf, the first leaf to its right
        stack: list[tuple[int, int]] = [(root, -1)]
        while stack:  # in order, so that leaves come from left to right
            node, first = stack.pop()
            if first >= 0:
                tests.append((node, first, len(leaves)))
            elif self._feature[node] < 0:
                leaves.append(int(self._right[node]))
                if len(leaves) > MASK_LEAVES:
                    return None
            else:
                stack += [(int(self._right[node]), -1), (node, len(leaves)), (int(self._left[node]), -1)]
        kind = np.uint16 if len(leaves) <= 16 else np.uint32 if len(leaves) <= 32 else np.uint64
        every = (1 << len(leaves)) - 1
        tables: dict[int, np.ndarray] = {}
        for node, first, beyond in tests:
            j = int(self._feature[node])
            edges = self._edges[j]
            table = tables.setdefault(j, np.full(len(edges) + 2, every, dtype=kind))  # the last for a missing value
            ruled_out = kind(every & ~(((1 << beyond) - 1) ^ ((1 << first) - 1)))
            place = int(np.searchsorted(edges, self._threshold[node]))
            table[place + 1 : -1] &= ruled_out
            if not self._gap_left[node]:
                table[-1] &= ruled_out
        return np.array(leaves, dtype=np.int32), list(tables.items())

    def leaves(self, x: list[Any], n: int) -> Any:
        """One array of leaves a tree, in their order."""
        import numpy as np

        places: dict[int, np.ndarray] = {}
        for j, edges in self._edges.items():
            # compared with the threshold in double precision, as in training
            column = np.asarray(x[j], dtype=np.float64)
            place = np.searchsorted(edges, column, side="left")
            gaps = np.isnan(column)
            place[gaps] = len(edges) + 1
            places[j] = place.astype(np.int32)
        for root, tables in zip(self._roots, self._tables, strict=True):
            if tables is None:
                yield self._walked(root, x, n)
                continue
            leaves, masks = tables
            left = np.full(n, (1 << len(leaves)) - 1, dtype=masks[0][1].dtype if masks else np.uint16)
            for j, table in masks:
                left &= table.take(places[j])
            yield leaves.take(_lowest_bit(left))

    def _walked(self, root: int, x: list[Any], n: int) -> np.ndarray:
        import numpy as np

        matrix = np.column_stack(x).astype(np.float64)
        nodes = np.full(n, root, dtype=np.int32)
        active = np.arange(n)
        while len(active):
            at = nodes[active]
            values = matrix[active, self._feature[at]]
            left = np.where(np.isnan(values), self._gap_left[at], values <= self._threshold[at])
            at = np.where(left, self._left[at], self._right[at])
            nodes[active] = at
            active = active[self._feature[at] >= 0]
        return self._right[nodes]


def _lowest_bit(masks: np.ndarray) -> np.ndarray:
    """Place of each mask's lowest set bit."""
    import numpy as np

    lone = masks & (~masks + masks.dtype.type(1))
    return np.frexp(lone.astype(np.float64))[1] - 1


# --- the others -------------------------------------------------------------------------------------------------


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
        if math.inf in weights:  # rows at no distance alone decide
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
        weights[rows] = touching[rows]  # rows at no distance alone decide
        targets = self._targets[near]
        if self._classes is None:
            mean: np.ndarray = (weights * targets).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
            return mean
        votes = np.column_stack([(weights * (targets == k)).sum(axis=1) for k in range(self._classes)])
        shares: np.ndarray = votes / votes.sum(axis=1, keepdims=True)
        return shares


def nearest_rows(rows: np.ndarray, squares: np.ndarray, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances and numbers of each row's k nearest rows, nearest first, of equals the lower number.

    The product finds them, rounded; their distances are then computed from the differences, so that a row is at no
    distance from itself and the answer does not depend on how many are asked at once.

    Args:
        rows: shape (m, columns). squares: their squared lengths. x: shape (n, columns).
    """
    import numpy as np

    rounded = squares - 2.0 * (x @ rows.T)
    found = [_nearest(rows, rounded[i], row, k) for i, row in enumerate(x)]
    return np.array([d for d, _ in found]).reshape(-1, k), np.array([n for _, n in found]).reshape(-1, k)


def _nearest(rows: np.ndarray, rounded: np.ndarray, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """One row's neighbours, from the rounded squares of the distances (less x's own square)."""
    import numpy as np

    kth = np.partition(rounded, k - 1)[k - 1]
    near = (rounded <= kth + 1e-9 * (x @ x + abs(kth) + 1.0)).nonzero()[0]
    apart = rows[near] - x
    squared = (apart * apart).sum(axis=1)
    first = squared.argsort(kind="stable")[:k]
    return np.sqrt(squared[first]), near[first]


class Constant(Part):
    """The same answer to every row."""

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self._answer: list[float] = document["answer"]

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        return list(self._answer)

    def many(self, columns: Columns, n: int) -> np.ndarray:
        """See `Part`."""
        import numpy as np

        return np.tile(np.asarray(self._answer), (n, 1))


class Sum(Part):
    """A line, and what another model adds to it."""

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
    """Members that vote by weight, as `core.learning.models.Committee` has them."""

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self._width: int = document["width"]
        self.shared: bool = document["shared"]  # divided by the sum: probabilities
        # member, weight, place of each of its classes
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
    """The model that a document and its arrays describe.

    Raises:
        StorageError: a kind that this version does not know, or a document that is not of its form.
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
    """Greatest distance between two lists of answers; of values (not probabilities) relative to their size."""
    worst = 0.0
    for got, wanted in zip(answers, expected, strict=True):
        for a, b in zip(got, wanted, strict=True):
            distance = abs(a - b) / (max(1.0, abs(b)) if value else 1.0)
            worst = max(worst, distance if distance == distance else math.inf)
    return worst
