"""Trees of a fitted ensemble as flat arrays."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.learning.export_preparation import NotExportable


class Nodes:
    """The nodes of all trees, concatenated."""

    def __init__(self, outputs: int) -> None:
        self._outputs = outputs
        self.feature, self.left, self.right, self.roots = (array.array("i") for _ in range(4))
        self.threshold, self.value = array.array("d"), array.array("d")
        self.gap_left = bytearray()

    def add(self, tree: dict[str, np.ndarray]) -> None:
        """Append a tree whose first node is its root."""
        start = len(self.feature)
        self.roots.append(start)
        inner = tree["feature"] >= 0
        self.feature.extend(tree["feature"].tolist())
        self.left.extend(np.where(inner, tree["left"] + start, -1).tolist())
        leaf = len(self.value) // self._outputs + np.cumsum(~inner) - 1
        self.right.extend(np.where(inner, tree["right"] + start, leaf).tolist())
        self.threshold.extend(np.where(inner, tree["threshold"], 0.0).tolist())
        self.value.extend(tree["value"][~inner].reshape(-1).tolist())
        self.gap_left.extend(tree["gap_left"].astype(np.uint8).tolist())


def hist_nodes(nodes: np.ndarray, places: Sequence[int], fixed: float | None) -> dict[str, np.ndarray]:
    """A boosted tree, without the branches that a fixed column rules out."""
    visited: list[int] = []
    links: list[tuple[int, int]] = []

    def follow(at: int) -> int:
        while fixed is not None and not nodes["is_leaf"][at] and places[nodes["feature_idx"][at]] < 0:
            at = int(nodes["left"][at] if fixed <= nodes["num_threshold"][at] else nodes["right"][at])
        return at

    def visit(at: int) -> int:
        at = follow(at)
        me = len(visited)
        visited.append(at)
        links.append((-1, -1))
        if not nodes["is_leaf"][at]:
            links[me] = visit(int(nodes["left"][at])), visit(int(nodes["right"][at]))
        return me

    visit(0)
    chosen = nodes[visited]
    inner = chosen["is_leaf"] == 0
    feature = np.array([places[j] for j in chosen["feature_idx"]], dtype=np.int64)
    return {
        "feature": np.where(inner, feature, -1),
        "threshold": chosen["num_threshold"],
        "left": np.array([left for left, _ in links]),
        "right": np.array([right for _, right in links]),
        "gap_left": chosen["missing_go_to_left"] == 1,
        "value": chosen["value"],
    }


def tree_nodes(tree: Any, places: Sequence[int], outputs: int) -> dict[str, np.ndarray]:
    """A tree of a forest; its leaves hold class shares, or values."""
    inner = tree.children_left >= 0
    value = tree.value[:, 0, :]
    if value.shape[1] != outputs:
        raise NotExportable("trees of other classes")
    if outputs > 1:
        value = value / value.sum(axis=1, keepdims=True)
    gap_left = getattr(tree, "missing_go_to_left", None)
    return {
        "feature": np.where(inner, np.array(places)[np.maximum(tree.feature, 0)], -1),
        "threshold": tree.threshold,
        "left": tree.children_left,
        "right": tree.children_right,
        "gap_left": np.zeros(len(inner), dtype=bool) if gap_left is None else np.asarray(gap_left) == 1,
        "value": value,
    }
