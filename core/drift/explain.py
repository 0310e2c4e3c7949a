"""What most of the change between two windows is, in a sentence found by a shallow tree. Needs sklearn when it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.drift import words
from core.drift.encode import encoded, sampled
from core.records import FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

DEPTH = 3  # of the tree; a rule has at most two of its conditions
MIN_ROWS = 100  # of each window
_LEAST_GAIN = 0.03  # share of rows that must have moved
_LEAST_SURE = 3.0  # standard errors of that share
_LONGER = 1.25  # how much more a rule of two conditions must gain than one of a single condition
_MOST_CATEGORIES = 20  # of a feature that a rule may name


@dataclass(frozen=True, slots=True)
class _Rule:
    """A region of the tree on rows that did not grow it."""

    conditions: tuple[tuple[int, bool, float], ...]  # column, above (else at most), threshold
    before: float  # share of reference rows in it
    after: float

    @property
    def gain(self) -> float:
        return self.after - self.before


def explain(reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema, *, seed: int = 0) -> str | None:
    """`71 % of the change is temperature > 31: 1 % → 38 % of rows`; None when nothing can be told apart.

    A tree is grown on half of the rows; shares are counted on the other half, so that the sentence does not describe
    chance. The change is the total variation between the windows over the tree's leaves.
    """
    if min(len(reference), len(current)) < MIN_ROWS:
        return None
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(seed)
    X, y, names = encoded(sampled(reference, rng), sampled(current, rng), schema)
    columns, questions = _questions(X, names, schema)
    half = rng.permutation(len(y)) % 2 == 0
    tree = DecisionTreeClassifier(
        max_depth=DEPTH, min_samples_leaf=max(10, len(y) // 100), class_weight="balanced", random_state=seed
    ).fit(columns[half], y[half])
    held, window = columns[~half], y[~half]
    rules, leaves = _rules(tree.tree_, held, window)
    total = sum(max(0.0, leaf.gain) for leaf in leaves)
    best = max((r for r in rules if len(r.conditions) == 1), key=lambda r: r.gain, default=None)
    longer = max((r for r in rules if len(r.conditions) == 2), key=lambda r: r.gain, default=None)
    if longer is not None and (best is None or longer.gain > _LONGER * best.gain):
        best = longer
    if best is None or total <= 0:
        return None
    n, m = int((~window).sum()), int(window.sum())
    chance = math.sqrt(best.before * (1 - best.before) / n + best.after * (1 - best.after) / m)
    if best.gain < max(_LEAST_GAIN, _LEAST_SURE * chance):
        return None
    rule = " and ".join(_condition(questions[j], above, at, columns[:, j]) for j, above, at in best.conditions)
    part = words.share(min(1.0, best.gain / total))
    return f"{part} of the change is {rule}: {words.shares(best.before, best.after)} of rows"


def _questions(
    X: np.ndarray, names: list[list[str]], schema: FeatureSchema
) -> tuple[np.ndarray, list[tuple[str, str, str]]]:
    """Columns that a rule can be told about: numbers, one yes/no per category, one per missing cell.

    Returns the matrix without NaN and for each column its feature, its kind (number, is, missing) and its category.
    """
    columns: list[np.ndarray] = []
    told: list[tuple[str, str, str]] = []
    for j, feature in enumerate(schema.features):
        missing = np.isnan(X[:, j])
        if missing.any():
            columns.append(missing.astype(np.float64))
            told.append((feature.name, "missing", ""))
        if missing.all():
            continue
        if names[j]:
            for code, name in enumerate(names[j][:_MOST_CATEGORIES]):
                columns.append((X[:, j] == code).astype(np.float64))
                told.append((feature.name, "is", name))
        else:
            columns.append(np.where(missing, np.median(X[~missing, j]), X[:, j]))
            told.append((feature.name, "number", ""))
    return np.column_stack(columns), told


def _rules(tree: Any, held: np.ndarray, window: np.ndarray) -> tuple[list[_Rule], list[_Rule]]:
    """Every region of one or two conditions, and every leaf, with its shares on the rows held back."""
    rules: list[_Rule] = []
    leaves: list[_Rule] = []
    n, m = max(1, int((~window).sum())), max(1, int(window.sum()))

    def visit(node: int, mask: np.ndarray, conditions: tuple[tuple[int, bool, float], ...]) -> None:
        rule = _Rule(conditions, float((mask & ~window).sum() / n), float((mask & window).sum() / m))
        if 1 <= len(conditions) <= 2:
            rules.append(rule)
        if tree.children_left[node] == -1:
            leaves.append(rule)
            return
        j, at = int(tree.feature[node]), float(tree.threshold[node])
        # The tree compares in single precision.
        above = held[:, j].astype(np.float32) > at
        visit(tree.children_left[node], mask & ~above, (*conditions, (j, False, at)))
        visit(tree.children_right[node], mask & above, (*conditions, (j, True, at)))

    visit(0, np.ones(len(window), dtype=bool), ())
    return rules, leaves


def _condition(question: tuple[str, str, str], above: bool, at: float, column: np.ndarray) -> str:
    name, kind, category = question
    if kind == "missing":
        return f"{name} {'is' if above else 'is not'} missing"
    if kind == "is":
        return f"{name} {'=' if above else '≠'} {category}"
    low, high = np.quantile(column, (0.05, 0.95))
    return f"{name} {'>' if above else '≤'} {words.number(at, float(high - low) / 10)}"
