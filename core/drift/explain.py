"""What most of the change between two windows is, in a sentence: which rows became more frequent, since when, at what cost.

Owns the segment, how it is found (a shallow tree), and the facts of its sentence. Needs sklearn to search for a segment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core import words
from core.drift.encode import ANOTHER, categories, encoded, numbers, sampled
from core.errors import BadInput
from core.records import FeatureSchema, Reason, because

if TYPE_CHECKING:
    import pandas as pd

DEPTH = 3  # of the tree; a rule has at most two of its conditions
MIN_ROWS = 100  # of each window
LEAST_SCORED = 30  # rows in a segment from which its score is reported
SIGMAS = 3.0  # by which a batch's share must exceed the reference share
_LEAST_GAIN = 0.03  # minimum share of rows that must have moved
_LEAST_SURE = 3.0  # standard errors of that share
_LONGER = 1.25  # factor by which a rule of two conditions must gain more than one of a single condition
_MOST_CATEGORIES = 20  # of a feature that a rule may name
_MOST_MOVED_ROWS = 0.005  # share of rows that rounding a threshold may move to its other side

Op = Literal[">", "<=", "=", "!=", "missing", "not missing"]
Condition = tuple[str, Op, float | str | None]  # feature, op, and a number, a category as text, or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The rows that hold most of the change. All conditions must hold."""

    rule: str  # "temperature > 31", "site = east and wind is missing"
    conditions: tuple[Condition, ...]  # one or two
    part: float  # share of the change, in (0, 1]
    before: float  # share of reference rows in it
    after: float  # share of current rows


@dataclass(frozen=True, slots=True)
class _Question:
    """A column of the tree: a feature's number (as its rank), one of its categories, or whether it is missing."""

    feature: str
    kind: Literal["number", "is", "missing"]
    category: str = ""
    values: np.ndarray | None = None  # of a number: its distinct values, ascending; the column holds their positions


@dataclass(frozen=True, slots=True)
class _Rule:
    """A region of the tree, measured on rows that did not grow it."""

    conditions: tuple[tuple[int, bool, float], ...]  # column, above (else at most) the threshold, threshold
    before: float  # share of reference rows in it
    after: float

    @property
    def gain(self) -> float:
        return self.after - self.before


def explain(reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema, *, seed: int = 0) -> Reason | None:
    """`71 % of the change is temperature > 31: 1 % → 38 % of rows`; None when the windows are not distinguishable."""
    segment = find_segment(reference, current, schema, seed=seed)
    if segment is None:
        return None
    return because("change_is", part=segment.part, rule=segment.rule, before=segment.before, after=segment.after)


def find_segment(
    reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema, *, seed: int = 0
) -> Segment | None:
    """The rows that became more frequent between the windows; None with fewer than MIN_ROWS rows or nothing significant.

    A tree is grown on half of the rows; shares are counted on the other half, so that the segment does not describe
    noise. The change is the total variation between the windows over the tree's leaves. At most 5,000 rows of each
    window are used.
    """
    if min(len(reference), len(current)) < MIN_ROWS:
        return None
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(seed)
    old, new = sampled(reference, rng), sampled(current, rng)
    X, y, names = encoded(old, new, schema)
    half = rng.permutation(len(y)) % 2 == 0
    columns, questions = _questions(X, names, schema, y, half)
    if not questions:
        return None
    tree = DecisionTreeClassifier(
        max_depth=DEPTH, min_samples_leaf=max(10, len(y) // 100), class_weight="balanced", random_state=seed
    ).fit(columns[half], y[half])
    rules, leaves = _rules(tree.tree_, columns[~half], y[~half])
    best = _best(rules)
    total = sum(max(0.0, leaf.gain) for leaf in leaves)
    if best is None or total <= 0:
        return None
    place = {name: j for j, name in enumerate(schema.names)}
    parts = [_condition(questions[j], above, at, X[:, place[questions[j].feature]]) for j, above, at in best.conditions]
    conditions = tuple(condition for condition, _ in parts)
    # Counted as `in_segment` will: at the rounded threshold, missing cells on neither side.
    held_old, held_new = ~half[: len(old)], ~half[len(old) :]
    before = float(_mask(old, conditions)[held_old].mean())
    after = float(_mask(new, conditions)[held_new].mean())
    chance = math.sqrt(before * (1 - before) / int(held_old.sum()) + after * (1 - after) / int(held_new.sum()))
    if after - before < max(_LEAST_GAIN, _LEAST_SURE * chance):
        return None
    return Segment(
        rule=" and ".join(text for _, text in parts),
        conditions=conditions,
        part=min(1.0, (after - before) / total),
        before=before,
        after=after,
    )


def in_segment(frame: pd.DataFrame, segment: Segment) -> np.ndarray:
    """Which rows are in the segment, shape (n,).

    A missing cell (for numbers also: infinite or not a number) is neither above nor at most a number, and is not a
    category: `!=` holds for it.

    Raises:
        BadInput: the frame lacks a feature of the segment.
    """
    return _mask(frame, segment.conditions)


def located(
    segment: Segment,
    *,
    since: datetime | None = None,
    score_inside: float | None = None,
    score_outside: float | None = None,
    n_inside: int = 0,
    metric: str = "accuracy",
) -> Reason:
    """`71 % of it is temperature > 31 (1 % → 38 % of rows); new since 3 May; accuracy there is 4.1 points lower (n = 412)`.

    Args:
        since: when the segment began to grow; left out when None.
        score_inside, score_outside: of the rows with labels; left out when one is None.
        n_inside: rows with labels in the segment; below LEAST_SCORED the sentence says that there are too few.
        metric: name of the metric.

    Raises:
        BadInput: a score is not finite.
    """
    if not all(math.isfinite(s) for s in (score_inside, score_outside) if s is not None):
        raise BadInput(f"The scores are {score_inside} and {score_outside}; expected numbers, or None where unknown.")
    return because(
        "change_located",
        part=segment.part,
        rule=segment.rule,
        before=segment.before,
        after=segment.after,
        since=since.isoformat() if since is not None else None,
        inside=score_inside,
        outside=score_outside,
        n=n_inside,
        least=LEAST_SCORED,
        metric=metric,
    )


def since(batches: Sequence[tuple[Any, float, int]], *, reference: float) -> int | None:
    """Position of the first batch since which the segment's share has stayed significantly above the reference share.

    Args:
        batches: (label, share of its rows in the segment, rows), oldest first; those without rows are ignored.
        reference: share of the reference rows in the segment, in [0, 1].

    Returns:
        None when the newest batch with rows is not above it by SIGMAS standard errors.
    """
    first: int | None = None
    for i in range(len(batches) - 1, -1, -1):
        _, part, n = batches[i]
        if n <= 0:
            continue
        # A share of 0 or 1 has no spread of its own; half a row prevents a single row from being significant.
        base = min(max(reference, 0.5 / n), 1 - 0.5 / n)
        if not part - reference > SIGMAS * math.sqrt(base * (1 - base) / n):
            break
        first = i
    return first


# --- the search ---------------------------------------------------------------------------------------------------


def _questions(
    X: np.ndarray, names: list[list[str]], schema: FeatureSchema, y: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, list[_Question]]:
    """Columns that a rule can use: numbers, one yes/no per category, one yes/no for missing.

    Of many categories, those are used whose share differs most on the half that grows the tree.
    """
    columns: list[np.ndarray] = []
    questions: list[_Question] = []
    for j, feature in enumerate(schema.features):
        missing = np.isnan(X[:, j])
        if missing.all():
            continue
        if missing.any():
            columns.append(missing.astype(np.float64))
            questions.append(_Question(feature.name, "missing"))
        if names[j]:
            for code in _most_moved(X[:, j], names[j], y, half):
                columns.append((X[:, j] == code).astype(np.float64))
                questions.append(_Question(feature.name, "is", names[j][code]))
        else:
            # The tree compares in single precision: positions are exact there, large values may not be.
            values, position = np.unique(X[~missing, j], return_inverse=True)
            column = np.full(len(X), float(np.median(position)))
            column[~missing] = position
            columns.append(column)
            questions.append(_Question(feature.name, "number", values=values))
    return (np.column_stack(columns) if columns else np.empty((len(X), 0))), questions


def _most_moved(codes: np.ndarray, names: list[str], y: np.ndarray, half: np.ndarray) -> list[int]:
    """The categories that a rule may name, those that moved most first."""
    known = ~np.isnan(codes) & half
    old, new = (
        np.bincount(codes[known & (y == side)].astype(np.int64), minlength=len(names)) for side in (False, True)
    )
    moved = np.abs(new / max(1, int((half & y).sum())) - old / max(1, int((half & ~y).sum())))
    order = [int(c) for c in np.argsort(-moved, kind="stable")[:_MOST_CATEGORIES]]
    # Many categories under one name are not a rule that anyone could check.
    return [c for c in order if names[c] != ANOTHER]


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
        above = held[:, j] > at
        visit(tree.children_left[node], mask & ~above, (*conditions, (j, False, at)))
        visit(tree.children_right[node], mask & above, (*conditions, (j, True, at)))

    visit(0, np.ones(len(window), dtype=bool), ())
    return rules, leaves


def _best(rules: list[_Rule]) -> _Rule | None:
    """The rule that gained most; one with two conditions only if it gains clearly more."""
    best = max((r for r in rules if len(r.conditions) == 1), key=lambda r: r.gain, default=None)
    longer = max((r for r in rules if len(r.conditions) == 2), key=lambda r: r.gain, default=None)
    if longer is not None and (best is None or longer.gain > _LONGER * best.gain):
        return longer
    return best


def _condition(question: _Question, above: bool, at: float, column: np.ndarray) -> tuple[Condition, str]:
    """A split of the tree as a condition on the feature itself, and as text."""
    name = question.feature
    if question.kind == "missing":
        return (name, "missing" if above else "not missing", None), f"{name} {'is' if above else 'is not'} missing"
    if question.kind == "is":
        return (name, "=" if above else "!=", question.category), f"{name} {'=' if above else '≠'} {question.category}"
    assert question.values is not None
    left, right = (float(question.values[math.floor(at) + k]) for k in (0, 1))
    value, shown = _rounded(left / 2 + right / 2, column[~np.isnan(column)])
    return (name, ">" if above else "<=", value), f"{name} {'>' if above else '≤'} {shown}"


def _rounded(threshold: float, known: np.ndarray) -> tuple[float, str]:
    """The threshold with as few digits as keep the rows on their side, and as text."""
    low, high = np.quantile(known, (0.05, 0.95))
    for finer in (10.0, 100.0, 1_000.0, 10_000.0):
        shown = words.figure(threshold, float(high / finer - low / finer))
        value = float(shown.replace(",", ""))
        if float(((known > value) != (known > threshold)).mean()) <= _MOST_MOVED_ROWS:
            return value, shown
    return threshold, f"{threshold:.15g}"


def _mask(frame: pd.DataFrame, conditions: Sequence[Condition]) -> np.ndarray:
    """Rows for which all conditions hold, shape (n,)."""
    inside = np.ones(len(frame), dtype=bool)
    for name, op, value in conditions:
        if name not in frame.columns:
            raise BadInput(f"The rows have no column '{name}', which the segment asks for.")
        inside &= _holds(frame[name], op, value)
    return inside


def _holds(column: pd.Series, op: Op, value: float | str | None) -> np.ndarray:
    if op in (">", "<="):
        cells, at = numbers(column), float(value or 0.0)
        # NaN is on neither side.
        return cells > at if op == ">" else cells <= at
    if op in ("=", "!="):
        is_it = (categories(column) == value).to_numpy(dtype=bool)
        return is_it if op == "=" else ~is_it
    missing = column.isna().to_numpy()
    if column.dtype.kind == "f":
        missing = missing | ~np.isfinite(numbers(column))
    return missing if op == "missing" else ~missing
