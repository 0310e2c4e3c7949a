"""Trees in a scorer: compiled code, linked nodes or bit masks, whichever predicts one row or many fastest."""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
from core.learning.scorer_parts import (
    MOST_FEATURES,
    Columns,
    Part,
    Values,
    Views,
    code,
    floats,
    ints,
    linked,
    linked_many,
)

COMPILED_NODES = (
    8_000  # trees with at most this many nodes in total are compiled to Python code (5 microseconds per node)
)


COMPILED_DEPTH = 60  # deeper trees exceed the nesting that the compiler accepts


CHUNK_NODES = 1_500  # nodes per compiled function: compiling takes memory that is not released at once


LINKED_NODES = 150_000  # up to this many nodes are linked tuples (70 bytes each); beyond it there are only the arrays


MASK_LEAVES = 64  # trees with at most this many leaves are evaluated by bit masks


class Trees(Part):
    """Decision trees: boosted sums of leaves behind a link, or the mean of the leaves' distributions.

    A node tests `value <= threshold`, and goes left if it holds; for missing values each node stores a direction.
    """

    def __init__(self, document: Mapping[str, Any], views: Views) -> None:
        self.link: str = document["link"]
        self._mean: bool = document["mean"]  # True: a forest, the mean of leaves; False: their sum
        self._single: bool = document["single"]  # trained on float32, so values are rounded to it
        self._base: list[float] = document["base"]
        self._outputs = len(self._base)
        self._codes = [(c["feature"], c["known"], code(c["missing"]), code(c["unseen"])) for c in document["codes"]]
        self._fill = [(f["feature"], f["value"]) for f in document["fill"]]
        name = document["arrays"]
        self._feature = ints(views[name + "feature"])  # -1 in a leaf
        self._threshold = floats(views[name + "threshold"])
        self._left, self._right = ints(views[name + "left"]), ints(views[name + "right"])
        self._roots, self._of = (
            ints(views[name + "roots"]),
            ints(views[name + "of"]),
        )  # `of`: output that each tree adds to
        self._gap_left = bytes(views[name + "gap_left"])
        # One value per leaf, or one per output; leaves store their index among them in the place of the right child.
        self._value = floats(views[name + "value"])
        _refuse_bad_trees(self)
        self._columns = [self._value[k :: self._outputs] for k in range(self._outputs)] if self._mean else [self._value]
        self._code = _compiled(self)
        linked = not self._code and len(self._feature) <= LINKED_NODES
        self._nodes = _linked_nodes(self) if linked else []
        self._masks: _Masks | None = None

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        return linked(self.link, self.raw(values))

    def raw(self, values: Values) -> list[float]:
        """The outputs before the link function: a sum, or the mean, of leaves."""
        x = self._coded(values)
        leaves: list[int] = []
        if self._code:
            for code in self._code:
                leaves += code(*x)
        elif self._nodes and sum(x) - sum(x) == 0.0:  # no missing value
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
        """A row as the trees expect it: categories as numbers, missing values filled, rounded."""
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
        """The leaf reached in each tree, by walking the arrays; x may have missing values."""
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
        """For every node, whether the row would go left there."""
        import numpy as np

        arrays = self.arrays()
        x = np.array(self._coded(values), dtype=np.float64)[np.maximum(arrays.feature, 0)]
        left: np.ndarray = np.where(np.isnan(x), arrays.gap_left, x <= arrays.threshold)
        return left

    def worth(self, choice: np.ndarray) -> np.ndarray:
        """Each leaf's contribution, in the order of the nodes, to the sum of the outputs weighted by `choice`."""
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
        return linked_many(self.link, raw)


def _refuse_bad_trees(trees: Trees) -> None:
    """ValueError for trees that do not lead from every root to a leaf: walking them would never end."""
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
    """The trees' roots: (feature, threshold, left node, right node), and (-1, 0, index, None) for a leaf."""
    nodes: list[Any] = [None] * len(trees._feature)
    for i in range(len(nodes) - 1, -1, -1):  # children follow their parent
        feature, left, right = trees._feature[i], trees._left[i], trees._right[i]
        if feature < 0:
            nodes[i] = (-1, 0.0, right, None)
        else:
            nodes[i] = (feature, trees._threshold[i], nodes[left], nodes[right])
    return [nodes[root] for root in trees._roots]


def _compiled(trees: Trees) -> list[Callable[..., Sequence[int]]]:
    """Functions from features to leaves, for some trees each; none when the trees are too large to compile.

    The source contains integers and floats from the arrays, and nothing else. `x > t` and `x <= t` are both false for
    a missing value, so it takes the branch after `else`.
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
    functions = []
    for chunk in chunks:
        own: dict[str, Any] = {"__builtins__": {}}
        exec(compile(f"def leaves({names}*_): return ({','.join(chunk)},)", "<trees>", "exec"), own)  # noqa: S102  # numbers of checked arrays, and no builtins
        functions.append(own["leaves"])
    return functions


def _expression(trees: Trees, root: int) -> str | None:
    """A tree as nested conditions; None when it is too deep or a threshold cannot be written as a literal."""
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
    """Nodes of all trees, concatenated; a leaf has feature -1 and its index among the leaves as right child."""

    feature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    roots: np.ndarray
    threshold: np.ndarray
    gap_left: np.ndarray


class _Masks:
    """The leaf (its index among the values) that each of many rows reaches, tree by tree.

    Small trees by bit masks (QuickScorer: Lucchese et al., SIGIR 2015): a failed test rules out the leaves to its left,
    and a row's leaf is the first that no test rules out. The leaves that one feature's tests rule out together are looked
    up by the position of the value among the feature's thresholds. Large trees are walked level by level.
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
        """Leaves from left to right, and a table of masks for each tested feature; None for a large tree."""
        import numpy as np

        leaves: list[int] = []
        tests: list[tuple[int, int, int]] = []  # node, its first leaf, the first leaf to its right
        stack: list[tuple[int, int]] = [(root, -1)]
        while stack:  # depth first, so that leaves are numbered from left to right
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
        """One array of leaves per tree, in the order of the trees."""
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
    """Position of each mask's lowest set bit."""
    import numpy as np

    lone = masks & (~masks + masks.dtype.type(1))
    return np.frexp(lone.astype(np.float64))[1] - 1
