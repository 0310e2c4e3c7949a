"""Paired comparison of two models on the same rows, by any metric: the difference and its significance.

`paired` tests once, on given rows. `gains` decomposes a metric into the contribution of each row to the difference, for
sequential testing while rows arrive (`core.learning.evidence`). Numpy only: pages import it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.performance.formulas import COMPUTE, brier_losses, class_counts, log_losses, structural_components
from core.performance.head_to_head import mcnemar_exact, paired_difference
from core.performance.intervals import Z95
from core.performance.material import RESAMPLES
from core.performance.realised import measure
from core.records import METRICS, Score, Task, row_metric

PERMUTATIONS = 1_999
MAX_VALUES = 8_000_000  # permutations x cells, or x rows, in memory at once
MIN_PERMUTATIONS = 199
SMOOTHING = 0.5  # pseudo-count of each cell of the table when a metric is linearised
WIDE = 3.0  # times the root mean square of earlier gains: larger ones are clipped, so that one row cannot decide


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutput:
    """A model's output: classes or values, and probabilities with the labels of their columns."""

    answers: np.ndarray
    proba: np.ndarray | None = None
    classes: Sequence[Any] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A difference on the same rows; above 0 the first model is better, even if lower values of the metric are better."""

    difference: Score
    p: float  # two-sided
    test: str  # name of the test


def paired(
    task: Task,
    metric: str,
    true: Any,
    new: ModelOutput,
    old: ModelOutput,
    *,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> Paired:
    """How much better the first model is by the metric, with a 95 % interval and a test.

    Args:
        true: shape (n,), n >= 1.
        weights: shape (n,), above 0, for rows that were sampled with known probabilities; None = equal weights.

    Accuracy is tested by McNemar's exact test. The other metrics of classes, and means over rows, by permutation: under
    equal models each row's two predictions may be exchanged (Good 2005). AUC by DeLong's paired test (1988). Rows
    sampled because one of the two was unsure are not exchangeable: for these the weighted difference is compared with its
    bootstrap error. A metric that is undefined on these rows (one class only, no probabilities) is replaced by accuracy, or mae.
    """
    y = np.asarray(true)
    name = metric if _is_defined(task, metric, y, new) and _is_defined(task, metric, y, old) else row_metric(task)
    if weights is not None and len(y) > 1 and not np.all(weights == weights[0]):
        return _weighted(task, name, y, new, old, np.asarray(weights, dtype=np.float64), seed)
    needs = METRICS[name].needs
    if name == "accuracy":
        right, other = (np.asarray(g.answers == y, dtype=np.float64) for g in (new, old))
        wins, losses = int((right > other).sum()), int((other > right).sum())
        return Paired(difference=paired_difference(right, other), p=mcnemar_exact(wins, losses), test="exact McNemar")
    if needs == "classes":
        return _by_table(name, y, new, old, seed)
    if needs == "ranks":
        return _by_ranks(task, name, y, new, old)
    losses_new, losses_old = (_row_losses(task, name, y, g) for g in (new, old))
    p = _exchanged(losses_old - losses_new, seed)
    if name in ("rmse", "r2"):
        return Paired(difference=_resampled(task, name, y, new, old, seed), p=p, test="permutation")
    return Paired(difference=paired_difference(-losses_new, -losses_old, metric=name), p=p, test="permutation")


def gains(
    task: Task, metric: str, true: Any, new: ModelOutput, old: ModelOutput, table: dict[tuple[Any, Any], float]
) -> tuple[np.ndarray, float | None]:
    """Contribution of each row to the difference by the metric, and its bound; above 0 favours the first model.

    Args:
        table: {(true class, predicted class): rows} of earlier rows, of both models together. A metric of classes that is
            not a mean is linearised there (influence function): a row's contribution depends on earlier rows only.

    Returns:
        shape (n,), and a bound of the absolute values; None if only earlier rows can give a scale.
        For AUC one number for all rows together, clipped at 1.
    """
    y = np.asarray(true)
    name = metric if _is_defined(task, metric, y, new) and _is_defined(task, metric, y, old) else row_metric(task)
    if name == "accuracy":
        return np.asarray(new.answers == y, dtype=np.float64) - np.asarray(old.answers == y, dtype=np.float64), 1.0
    needs = METRICS[name].needs
    if needs == "classes":
        labels: dict[Any, int] = {}
        for true_class, answered in table:
            labels.setdefault(true_class, len(labels))
            labels.setdefault(answered, len(labels))
        codes = [_coded(v, labels) for v in (y, new.answers, old.answers)]
        counts = np.full((len(labels), len(labels)), SMOOTHING)
        for (true_class, answered), rows in table.items():
            counts[labels[true_class], labels[answered]] += rows
        gain_of_cell = influence(name, counts)
        bound = float((gain_of_cell.max(axis=1) - gain_of_cell.min(axis=1)).max())
        return gain_of_cell[codes[0], codes[1]] - gain_of_cell[codes[0], codes[2]], bound or 1.0
    if needs == "ranks":
        difference, _ = _ranked_difference(task, y, new, old)
        smaller = _smaller_side(task, y)
        return np.array([difference * math.sqrt(smaller)]), 1.0
    return _row_losses(task, name, y, old) - _row_losses(task, name, y, new), None


def with_counts(
    true: Any, outputs: Sequence[ModelOutput], table: dict[tuple[Any, Any], float]
) -> dict[tuple[Any, Any], float]:
    """The table with these rows' predictions added."""
    more = dict(table)
    for each in outputs:
        for pair in zip(np.asarray(true).tolist(), np.asarray(each.answers).tolist(), strict=True):
            more[pair] = more.get(pair, 0.0) + 1.0
    return more


def influence(metric: str, counts: np.ndarray) -> np.ndarray:
    """Influence of one more row in each cell on a metric of classes, times the rows: shape (K, K), true by predicted.

    The derivative is a finite difference of a millionth of the rows; only differences within a true class are meaningful,
    a constant per class is arbitrary.
    """
    n, k = counts.sum(), len(counts)
    step = 1e-6 * n
    compute = COMPUTE[metric]
    base = float(compute(counts[None])[0])
    gain_of_cell = np.empty((k, k))
    for i in range(k):
        moved = np.repeat(counts[None], k, axis=0)
        moved[np.arange(k), i, np.arange(k)] += step
        gain_of_cell[i] = (compute(moved) - base) / step * n
    return np.nan_to_num(gain_of_cell) if METRICS[metric].higher_is_better else -np.nan_to_num(gain_of_cell)


# --- once ---------------------------------------------------------------------------------------------------------


def _is_defined(task: Task, metric: str, y: np.ndarray, output: ModelOutput) -> bool:
    score = measure(
        task, y, output.answers, output.proba, list(output.classes), metrics=[metric], intervals=None
    ).scores[metric]
    return score.value is not None


def _coded(values: np.ndarray, labels: dict[Any, int]) -> np.ndarray:
    return np.fromiter((labels.setdefault(v, len(labels)) for v in np.asarray(values).tolist()), np.int64, len(values))


def _better(metric: str, value: float) -> float:
    return value if METRICS[metric].higher_is_better else -value


def _by_table(name: str, y: np.ndarray, new: ModelOutput, old: ModelOutput, seed: int) -> Paired:
    labels: dict[Any, int] = {}
    true, a, b = (_coded(v, labels) for v in (y, new.answers, old.answers))
    k = len(labels)
    compute = COMPUTE[name]
    tables = [class_counts(true, codes, k)[None] for codes in (a, b)]
    value = float(compute(tables[0])[0] - compute(tables[1])[0])
    apart = a != b
    rng = np.random.default_rng(seed)
    if not apart.any():
        none = paired_difference(a == true, b == true)
        return Paired(difference=Score(metric=name, value=0.0, low=none.low, high=none.high, n=len(y), method="Agresti-Min 95 %"), p=1.0, test="permutation")  # fmt: skip
    moves = _moves(true[apart], a[apart], b[apart], k)
    permutations = int(np.clip(MAX_VALUES // (k * k), MIN_PERMUTATIONS, PERMUTATIONS))
    moved = (rng.random((permutations, int(apart.sum()))) < 0.5).astype(np.float64) @ moves
    exchanged = [tables[0] + moved.reshape(-1, k, k), tables[1] - moved.reshape(-1, k, k)]
    differences = np.nan_to_num(compute(exchanged[0]) - compute(exchanged[1]))
    p = float((1 + (np.abs(differences) >= abs(value) - 1e-12).sum()) / (1 + permutations))
    # A resample of rows is a multinomial draw over the cells (true class, both predictions) that occur.
    cells, counts = np.unique((true * k + a) * k + b, return_counts=True)
    draws = rng.multinomial(len(y), counts / len(y), size=RESAMPLES)
    pairs = np.zeros((2, RESAMPLES, k * k))
    for place, cell in enumerate(cells):
        for side, answered in enumerate(((cell // k) % k, cell % k)):
            pairs[side, :, cell // (k * k) * k + answered] += draws[:, place]
    spread = compute(pairs[0].reshape(-1, k, k)) - compute(pairs[1].reshape(-1, k, k))
    low, high = (float(v) for v in np.quantile(np.nan_to_num(spread), (0.025, 0.975)))
    score = Score(
        metric=name, value=value, low=min(low, value), high=max(high, value), n=len(y), method="paired bootstrap 95 %"
    )
    return Paired(difference=score, p=p, test="permutation")


def _moves(true: np.ndarray, a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Change of the first model's table when the predictions of a row are exchanged, shape (rows, k * k)."""
    rows = np.arange(len(true))
    moves = np.zeros((len(true), k * k))
    moves[rows, true * k + b] += 1.0
    moves[rows, true * k + a] -= 1.0
    return moves


def _exchanged(gain: np.ndarray, seed: int) -> float:
    """Two-sided p of a mean gain under random signs of the rows."""
    gain = gain[gain != 0]
    n = len(gain)
    if n == 0:
        return 1.0
    total, root = float(gain.sum()), math.sqrt(float((gain**2).sum()))
    if n > MAX_VALUES // PERMUTATIONS:
        return math.erfc(abs(total) / root / math.sqrt(2.0))
    signs = np.where(np.random.default_rng(seed).random((PERMUTATIONS, n)) < 0.5, -1.0, 1.0)
    return float((1 + (np.abs(signs @ gain) >= abs(total) - 1e-12 * root).sum()) / (1 + PERMUTATIONS))


def _row_losses(task: Task, name: str, y: np.ndarray, output: ModelOutput) -> np.ndarray:
    """The loss of each row; the metric is its mean, or an increasing function of that."""
    if task == "regression":
        error = np.abs(np.asarray(output.answers, dtype=np.float64) - y.astype(np.float64))
        return error if name == "mae" else error**2
    assert output.proba is not None
    labels = {label: i for i, label in enumerate(np.asarray(output.classes).tolist())}
    codes = _coded(y, labels)
    return (log_losses if name == "log_loss" else brier_losses)(codes, np.asarray(output.proba, dtype=np.float64))


def _resampled(task: Task, name: str, y: np.ndarray, new: ModelOutput, old: ModelOutput, seed: int) -> Score:
    """Difference of a metric of values with a bootstrap interval."""
    true = y.astype(np.float64)
    sides = [np.asarray(g.answers, dtype=np.float64) for g in (new, old)]
    resamples = max(20, min(RESAMPLES, MAX_VALUES // max(len(y), 1)))
    rows = np.random.default_rng(seed).integers(0, len(y), size=(resamples, len(y)))

    def of(answers: np.ndarray, use: np.ndarray) -> np.ndarray:
        if name == "r2":
            return np.asarray(COMPUTE[name](true[use], answers[use]))
        return np.asarray(COMPUTE[name]((true[use] - answers[use]) ** 2))

    every = np.arange(len(y))[None]
    value = _better(name, float((of(sides[0], every) - of(sides[1], every))[0]))
    spread = of(sides[0], rows) - of(sides[1], rows)
    spread = spread[np.isfinite(spread)]
    if len(spread) < resamples // 2:
        return Score(metric=name, value=value, n=len(y))
    low, high = sorted(_better(name, float(v)) for v in np.quantile(spread, (0.025, 0.975)))
    return Score(
        metric=name, value=value, low=min(low, value), high=max(high, value), n=len(y), method="paired bootstrap 95 %"
    )


def _by_ranks(task: Task, name: str, y: np.ndarray, new: ModelOutput, old: ModelOutput) -> Paired:
    value, spread = _ranked_difference(task, y, new, old)
    score = Score(metric=name, value=value, low=value - Z95 * spread, high=value + Z95 * spread, n=len(y), method="DeLong 95 %")  # fmt: skip
    p = math.erfc(abs(value) / spread / math.sqrt(2.0)) if spread > 1e-12 else 1.0
    return Paired(difference=score, p=p, test="DeLong")


def _members(task: Task, y: np.ndarray, output: ModelOutput) -> tuple[np.ndarray, np.ndarray]:
    """For each ranked class: which rows belong to it, and the scores by which rows are ranked."""
    assert output.proba is not None
    columns = {label: i for i, label in enumerate(np.asarray(output.classes).tolist())}
    plain = y.tolist()
    present = list(dict.fromkeys(plain))
    wanted = [np.asarray(output.classes).tolist()[1]] if task == "binary" else sorted(present, key=str)
    inside = np.array([[label == one for label in plain] for one in wanted])
    scores = np.zeros(inside.shape)
    for place, label in enumerate(wanted):
        if label in columns:
            scores[place] = output.proba[:, columns[label]]
    return inside, scores


def _ranked_difference(task: Task, y: np.ndarray, new: ModelOutput, old: ModelOutput) -> tuple[float, float]:
    """Difference of the (mean) AUC, and DeLong's error of it with the covariance of both on the same rows."""
    inside, first = _members(task, y, new)
    _, second = _members(task, y, old)
    deviation = np.zeros(len(y))
    total = 0.0
    for members, a, b in zip(inside, first, second, strict=True):
        parts = structural_components(members, a) - structural_components(members, b)
        middle = float(parts[members].mean())
        total += middle
        for side in (members, ~members):
            n = int(side.sum())
            if n > 1:
                deviation[side] += (parts[side] - parts[side].mean()) / math.sqrt(n * (n - 1))
    k = len(inside)
    return total / k, math.sqrt(float((deviation**2).sum())) / k


def _smaller_side(task: Task, y: np.ndarray) -> int:
    _, counts = np.unique(y.astype(str), return_counts=True)
    return int(min(counts.min(), len(y) - counts.min()))


def _weighted(
    task: Task, name: str, y: np.ndarray, new: ModelOutput, old: ModelOutput, weights: np.ndarray, seed: int
) -> Paired:
    """The weighted difference against its bootstrap error: valid for rows sampled at random, for whatever reason."""
    n = len(y)
    metric = METRICS[name]
    if metric.needs == "ranks":  # pairs of sampled rows do not represent all pairs
        name, metric = row_metric(task), METRICS[row_metric(task)]
    rng = np.random.default_rng(seed)
    resamples = max(MIN_PERMUTATIONS, min(999, MAX_VALUES // n))
    use = rng.multinomial(n, np.full(n, 1 / n), size=resamples) * weights
    use = np.vstack([weights, use])  # the rows themselves first
    if metric.needs == "classes":
        labels: dict[Any, int] = {}
        true, *sides = (_coded(v, labels) for v in (y, new.answers, old.answers))
        k = len(labels)

        def of(codes: np.ndarray) -> np.ndarray:
            cells = np.zeros((n, k * k))
            cells[np.arange(n), true * k + codes] = 1.0
            return np.asarray(COMPUTE[name]((use @ cells).reshape(-1, k, k)))

        values = np.nan_to_num(of(sides[0]) - of(sides[1]))
    else:
        losses = [_row_losses(task, name, y, g) for g in (new, old)]
        means = [(use @ loss) / use.sum(axis=1) for loss in losses]
        if name == "r2":
            spread = np.array([np.average((y - np.average(y, weights=w)) ** 2, weights=w) for w in use])
            means = [m / np.where(spread > 0, spread, np.inf) for m in means]
        means = [np.sqrt(m) for m in means] if name == "rmse" else means
        values = means[1] - means[0]
        return _against_error(name, values, n)
    return _against_error(name, values if metric.higher_is_better else -values, n)


def _against_error(name: str, values: np.ndarray, n: int) -> Paired:
    value, error = float(values[0]), float(values[1:].std(ddof=1)) * math.sqrt(n / (n - 1))
    score = Score(metric=name, value=value, low=value - Z95 * error, high=value + Z95 * error, n=n, method="weighted bootstrap 95 %")  # fmt: skip
    p = math.erfc(abs(value) / error / math.sqrt(2.0)) if error > 1e-12 else 1.0
    return Paired(difference=score, p=p, test="weighted bootstrap")
