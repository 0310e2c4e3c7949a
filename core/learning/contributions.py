"""Feature contributions to one prediction: Shapley values against background rows.

A feature's contribution is the change of the output when its value replaces a background row's, averaged over all orders
of the features and all background rows. For linear models and trees it is exact, in the space in which they are additive;
for other models it is estimated from sampled orders. Base and contributions add up to the output.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.learning.scorer import Sum, Vote
from core.learning.scorer_parts import Constant, Linear, Part, Values
from core.learning.scorer_trees import TreeArrays, Trees
from core.records import Label

Method = Literal["linear", "trees", "permutation"]
Unit = Literal["log-odds", "probability", "value"]
SAMPLED_ROWS = 6_000  # approximate number of rows predicted for one explanation by sampled orders


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A prediction decomposed: `base` and all contributions add up to `answer`.

    The log-odds of one of several classes are its score minus the mean score of all classes: the logarithm of the ratio
    of its probability to the geometric mean of all.
    """

    method: Method
    unit: Unit
    of: Label | None  # the predicted class; None for a value
    base: float  # mean over the background rows
    answer: float
    contributions: tuple[tuple[str, Any, float], ...]  # feature, its value, contribution; in schema order


def explain(
    part: Part,
    values: Values,
    background: Sequence[Values],
    *,
    names: Sequence[str],
    classes: Sequence[Label],
    place: int = 0,
    seed: int = 0,
) -> Explanation:
    """The prediction for one row, decomposed into feature contributions.

    Args:
        background: at least one row; the prediction is compared with theirs.
        classes: in the order of the probabilities; empty for a value.
        place: index of the predicted class among them.
        seed: of the sampled orders; the same seed gives the same numbers.
    """
    unit: Unit = "probability" if classes else "value"
    choice = np.zeros(max(len(classes), 1))
    choice[place] = 1.0
    if isinstance(part, (Linear, Trees)) and part.link != "identity":
        unit = "log-odds"
        choice = np.array([1.0 if place else -1.0]) if part.link == "sigmoid" else choice - 1.0 / len(choice)
    elif not _adds_up(part):
        return _by_permutation(part, values, background, names, classes, place, seed)
    base, contributions = _exact(part, values, background, choice)
    raw = part.raw(values) if isinstance(part, (Linear, Trees)) else part.one(values)
    return Explanation(
        method="linear" if isinstance(part, Linear) else "trees",
        unit=unit,
        of=classes[place] if classes else None,
        base=base,
        answer=float(np.dot(choice, raw)),
        contributions=_by_feature(names, values, contributions),
    )


def _by_feature(names: Sequence[str], values: Values, contributions: np.ndarray) -> tuple[tuple[str, Any, float], ...]:
    plain = [None if v is None or v != v else v for v in values]
    return tuple(zip(names, plain, contributions.tolist(), strict=True))


# --- exact ------------------------------------------------------------------------------------------------------


def _adds_up(part: Part) -> bool:
    """Whether its predictions themselves are sums of linear models and trees."""
    if isinstance(part, Vote):
        return all(_adds_up(member) for member, _, _ in part.members)
    if isinstance(part, Sum):
        return all(map(_adds_up, part.parts))
    return isinstance(part, Constant) or (isinstance(part, (Linear, Trees)) and part.link == "identity")


def _exact(part: Part, values: Values, background: Sequence[Values], choice: np.ndarray) -> tuple[float, np.ndarray]:
    """Base and contributions of the sum of a part's outputs, weighted by `choice`."""
    if isinstance(part, Linear):
        return _of_line(part, values, background, choice)
    if isinstance(part, Trees):
        return _of_trees(part, values, background, choice)
    if isinstance(part, Constant):
        return float(np.dot(choice, part.one(values))), np.zeros(len(values))
    if isinstance(part, Sum):
        shares = [(member, choice) for member in part.parts]
    elif isinstance(part, Vote):
        whole = math.fsum(weight for _, weight, _ in part.members) if part.shared else 1.0
        shares = [(member, choice[places] * weight / whole) for member, weight, places in part.members]
    else:
        raise TypeError(f"{type(part).__name__} is no sum")
    results = [_exact(member, values, background, share) for member, share in shares]
    return math.fsum(base for base, _ in results), np.sum([own for _, own in results], axis=0)


def _of_line(
    part: Linear, values: Values, background: Sequence[Values], choice: np.ndarray
) -> tuple[float, np.ndarray]:
    """Weight times the distance from the background's mean; for a category, its own term minus the mean term."""
    terms = np.array([part.terms(row) for row in [values, *background]]) @ choice  # (rows, features)
    usual = terms[1:].mean(axis=0)
    return float(np.dot(choice, part.bias) + usual.sum()), terms[0] - usual


def _of_trees(
    part: Trees, values: Values, background: Sequence[Values], choice: np.ndarray
) -> tuple[float, np.ndarray]:
    """Interventional Shapley values (Lundberg et al., Nature Machine Intelligence 2020), all leaves at once.

    A mixture of this row's features and a background row's reaches a leaf when each feature tested on the path passes
    its tests. With u features whose tests only this row passes and v whose tests only the background row passes, the
    leaf's value is added to each of the u with the weight 1 / (u C(u+v, u)), and subtracted from each of the v with the
    weight 1 / (v C(u+v, v)).
    """
    base = float(np.mean([np.dot(choice, part.raw(row)) for row in background]))
    nodes, mine = part.arrays(), part.goes_left(values)
    theirs = [part.goes_left(row) for row in background]
    some = (
        np.any(theirs, axis=0),
        ~np.all(theirs, axis=0),
    )  # for every node: whether any background row goes left, right
    tests = _tests(nodes, _reached(nodes, mine | some[0], ~mine | some[1]), len(values))
    worth, contributions = part.worth(choice), np.zeros(len(values))
    place = np.cumsum(nodes.feature < 0) - 1  # index of each leaf among the leaves
    for row in theirs:
        leaves = _reached(nodes, mine | row, ~(mine & row))
        contributions += _shares(tests, leaves, mine, row, worth[place[leaves]], len(values))
    return base, contributions / len(background)


@dataclass(frozen=True, slots=True)
class _Tests:
    """The tests on the path to each leaf, sorted by leaf and feature."""

    leaves: np.ndarray  # nodes, ascending
    starts: np.ndarray  # index of each leaf's first test; one more at the end
    node: np.ndarray
    to_left: np.ndarray  # direction that leads to the leaf
    feature: np.ndarray


def _reached(nodes: TreeArrays, to_left: np.ndarray, to_right: np.ndarray) -> np.ndarray:
    """The leaves that are reached when both directions may be open, ascending."""
    here, leaves = nodes.roots, []
    while len(here):
        leaf = nodes.feature[here] < 0
        leaves.append(here[leaf])
        here = here[~leaf]
        here = np.concatenate([nodes.left[here[to_left[here]]], nodes.right[here[to_right[here]]]])
    return np.sort(np.concatenate(leaves))


def _tests(nodes: TreeArrays, leaves: np.ndarray, width: int) -> _Tests:
    """The tests of these leaves, collected from the leaves up."""
    inner = np.flatnonzero(nodes.feature >= 0)
    parent = np.full(len(nodes.feature), -1, dtype=np.int64)
    parent[nodes.left[inner]] = parent[nodes.right[inner]] = inner
    here, leaf = leaves, np.arange(len(leaves))
    ways: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while len(here):
        above = parent[here]
        inside = above >= 0
        above, here, leaf = above[inside], here[inside], leaf[inside]
        ways.append((leaf, above, nodes.left[above] == here))
        here = above
    leaf, node, to_left = (np.concatenate(column) for column in zip(*ways, strict=True))
    feature = nodes.feature[node]
    order = np.argsort(leaf * width + feature)
    starts = np.r_[0, np.cumsum(np.bincount(leaf, minlength=len(leaves)))]
    return _Tests(leaves, starts, node[order], to_left[order], feature[order])


def _shares(
    tests: _Tests, leaves: np.ndarray, mine: np.ndarray, theirs: np.ndarray, worth: np.ndarray, width: int
) -> np.ndarray:
    """Contributions against one background row, from the leaves that may be reached; see `_of_trees`."""
    at = np.searchsorted(tests.leaves, leaves)
    counts = tests.starts[at + 1] - tests.starts[at]
    tested = counts > 0  # a tree with a single leaf has no tests
    at, counts, worth = at[tested], counts[tested], worth[tested]
    if not len(at):
        return np.zeros(width)
    leaf = np.repeat(np.arange(len(at)), counts)
    each = np.arange(len(leaf)) + np.repeat(tests.starts[at] - np.r_[0, np.cumsum(counts)[:-1]], counts)
    node, to_left, feature = tests.node[each], tests.to_left[each], tests.feature[each]
    # A feature tested several times on the path is one player: all its tests must hold.
    first = np.flatnonzero(np.r_[True, (np.diff(leaf) != 0) | (np.diff(feature) != 0)])
    i_pass = np.logical_and.reduceat(mine[node] == to_left, first)
    they_pass = np.logical_and.reduceat(theirs[node] == to_left, first)
    leaf, feature = leaf[first], feature[first]
    reached = np.bincount(leaf, ~(i_pass | they_pass)) == 0
    only_mine, only_theirs = i_pass & ~they_pass, they_pass & ~i_pass
    n_mine = np.bincount(leaf, only_mine).astype(np.int64)
    n_theirs = np.bincount(leaf, only_theirs).astype(np.int64)
    gain = _gain(int((n_mine + n_theirs).max()))
    plus = np.where(reached, worth * gain[n_mine, n_theirs], 0.0)[leaf] * only_mine
    minus = np.where(reached, worth * gain[n_theirs, n_mine], 0.0)[leaf] * only_theirs
    shares: np.ndarray = np.bincount(feature, plus - minus, minlength=width)
    return shares


@functools.lru_cache(maxsize=256)
def _gain(most: int) -> np.ndarray:
    """1 / (u C(u+v, u)) for u + v <= most; 0 for u = 0."""
    gain = np.zeros((most + 1, most + 1))
    for u in range(1, most + 1):
        for v in range(most + 1 - u):
            gain[u, v] = 1.0 / (u * math.comb(u + v, u))
    return gain


# --- by sampled orders ------------------------------------------------------------------------------------------


def _by_permutation(
    part: Part,
    values: Values,
    background: Sequence[Values],
    names: Sequence[str],
    classes: Sequence[Label],
    place: int,
    seed: int,
) -> Explanation:
    """Each background row is turned into this row feature by feature, in a random order and in its reverse.

    With very many features, fewer background rows are used.
    """
    n = len(values)
    m = int(np.clip(SAMPLED_ROWS // (2 * (n + 1)), 1, len(background)))
    background = [background[i] for i in np.linspace(0, len(background) - 1, m).astype(int)]
    rng = np.random.default_rng(seed)
    pairs = int(np.clip(SAMPLED_ROWS // (2 * m * (n + 1)), 1, 50))
    orders = np.argsort(rng.random((m * pairs, n)), axis=1)
    orders = np.concatenate([orders, orders[:, ::-1]])  # (walks, features)
    begun = np.tile(np.arange(m), 2 * pairs)  # background row of each walk
    turn = np.argsort(orders, axis=1)  # step at which each feature is replaced
    mine = turn[:, None, :] < np.arange(n + 1)[None, :, None]  # (walks, steps, features)
    flat, source = mine.reshape(-1, n), np.repeat(begun, n + 1)
    columns: list[Any] = []
    for j, value in enumerate(values):
        usual = [row[j] for row in background]
        if any(v is None or isinstance(v, str) for v in [value, *usual]):
            columns.append([value if own else usual[b] for own, b in zip(flat[:, j], source, strict=True)])
        else:
            columns.append(np.where(flat[:, j], value, np.array(usual, dtype=np.float64)[source]))
    answers = part.many(columns, len(flat))[:, place].reshape(-1, n + 1)
    steps = np.diff(answers, axis=1)
    contributions = np.zeros(n)
    np.add.at(contributions, orders.reshape(-1), steps.reshape(-1))
    return Explanation(
        method="permutation",
        unit="probability" if classes else "value",
        of=classes[place] if classes else None,
        base=float(answers[:, 0].mean()),
        answer=float(answers[:, -1].mean()),
        contributions=_by_feature(names, values, contributions / len(orders)),
    )
