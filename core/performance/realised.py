"""Realised performance: what the labels say about predictions that were made before they were known.

Owns how the metrics of the catalogue are computed (COMPUTE), which interval each has (the forms are in `intervals`), the paired comparison of two models on the same
rows, and how far past estimates were from the labels. Numpy only: pages import it. Which rows are measured is the
caller's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from core.performance import intervals as forms
from core.records import METRICS, EstimatePoint, Metric, PerformanceReport, Score, Task, metrics_of
from core.records.reasons import NO_REASON, Reason, because

Z95 = forms.Z95
RESAMPLED_VALUES = 4_000_000  # rows x resamples that are drawn at the most
LEAST_RESAMPLES = 20
NORMAL_ROWS = 20_000  # rows from which a mean's interval is the normal one: the bootstrap gives the same, far slower
RESAMPLES = 200  # bootstrap: the ends of a 95 % interval then rest on five resamples each
ROUNDING = 8 * float(np.finfo(np.float64).eps)  # relative to the largest value: a target that varies less is constant
INFLUENCE_CLASSES = 20  # up to which a row's part in a metric of classes is told; beyond, right or wrong stands for it
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)  # where sklearn clips log-loss too


# --- metrics, each over a leading axis of resamples -------------------------------------------------------------
# Confusion counts have shape (B, K, K): true class, predicted class.


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0 (no warning)."""
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b != 0)


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return _divide(np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2)))


def _balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    recalls = _divide(np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2))
    present = np.isfinite(recalls)
    return _divide(np.where(present, recalls, 0.0).sum(axis=1), present.sum(axis=1))


def _kappa(counts: np.ndarray) -> np.ndarray:
    """Cohen 1960: agreement beyond chance; NaN when chance alone already agrees on every row."""
    n = counts.sum(axis=(1, 2))
    expected = (counts.sum(axis=1) * counts.sum(axis=2)).sum(axis=1)
    return _divide(n * np.trace(counts, axis1=1, axis2=2) - expected, n * n - expected)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur as truth or as prediction."""
    both = counts.sum(axis=1) + counts.sum(axis=2)
    f1 = _divide(2.0 * np.diagonal(counts, axis1=1, axis2=2), both)
    present = both > 0
    return _divide(np.where(present, f1, 0.0).sum(axis=1), present.sum(axis=1))


def _mcc(counts: np.ndarray) -> np.ndarray:
    """Matthews correlation for any number of classes (Gorodkin 2004); 0 when one side is constant, as in sklearn."""
    n = counts.sum(axis=(1, 2))
    true, predicted = counts.sum(axis=2), counts.sum(axis=1)
    covariance = np.trace(counts, axis1=1, axis2=2) * n - (true * predicted).sum(axis=1)
    spread = (n * n - (true * true).sum(axis=1)) * (n * n - (predicted * predicted).sum(axis=1))
    return np.where(spread > 0, _divide(covariance, np.sqrt(np.maximum(spread, 0.0))), 0.0)


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1)


def _root_mean(values: np.ndarray) -> np.ndarray:
    return np.sqrt(values.mean(axis=1))


def _r2(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    residual = ((y_true - y_pred) ** 2).sum(axis=1)
    total = ((y_true - y_true.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    # The mean of equal values is off by some of their last digits: what varies no more than that does not vary.
    rounding = ROUNDING * np.maximum(y_true.max(axis=1), -y_true.min(axis=1))
    with np.errstate(over="ignore"):
        return 1.0 - _divide(residual, np.where(total <= y_true.shape[1] * rounding**2, 0.0, total))


def macro_auc(members: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Mean area under the ROC curves of some classes, each against all other rows, and its standard error.

    Args:
        members: shape (K, n), True where the row is of the class; each class has some rows and leaves some out.
        scores: shape (K, n), what ranks the rows for that class; ties count half.

    The error is that of DeLong, DeLong and Clarke-Pearson 1988, with the covariance of the classes through their common
    rows: a row's structural components are added up over the classes before they are squared. K = 1 is the usual AUC.
    The spread of a side with a single row cannot be told; it counts as the largest that there is, 1/4.
    """
    area, deviation, alone = _auc_parts(members, scores)
    return area, math.sqrt(float((deviation**2).sum()) + alone) / len(members)


def _auc_parts(members: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray, float]:
    """`macro_auc`'s mean, each row's part in its error, and what classes of one row add to it."""
    areas = np.empty(len(members))
    deviation = np.zeros(members.shape[1])
    alone = 0.0
    for k, (inside, score) in enumerate(zip(members, scores, strict=True)):
        parts = structural_components(inside, score)
        areas[k] = parts[inside].mean()
        for side in (inside, ~inside):
            n = int(side.sum())
            if n > 1:
                deviation[side] += (parts[side] - areas[k]) / math.sqrt(n * (n - 1))
            else:
                alone += 0.25
    return float(areas.mean()), deviation, alone


def structural_components(inside: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Share of the other side's rows that each row is ranked rightly against, ties half; shape (n,). One sort."""
    order = np.argsort(score, kind="stable")
    ranked, hit = score[order], inside[order]
    tie = np.cumsum(np.r_[0, ranked[1:] != ranked[:-1]])
    of_class = np.bincount(tie, hit)
    others = np.bincount(tie) - of_class
    beaten = (np.cumsum(others) - others / 2) / others.sum()
    beaten_by = 1.0 - (np.cumsum(of_class) - of_class / 2) / of_class.sum()
    parts = np.empty(len(score))
    parts[order] = np.where(hit, beaten[tie], beaten_by[tie])
    return parts


def class_counts(true: np.ndarray, answered: np.ndarray, k: int) -> np.ndarray:
    """Rows of each true and answered class, both as codes below k: shape (k, k)."""
    return np.bincount(true * k + answered, minlength=k * k).reshape(k, k).astype(np.float64)


# --- intervals and paired comparison ----------------------------------------------------------------------------


def wilson(successes: float, n: float, *, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927), at 95 % unless told; (0, 1) when n is 0."""
    if n <= 0:
        return 0.0, 1.0
    p, z2 = successes / n, z * z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (0.0 if successes <= 0 else middle - half), (1.0 if successes >= n else middle + half)


def auc_interval(area: float, spread: float, pairs: float) -> tuple[float, float, str]:
    """95 % interval of an AUC and the name of its method.

    Args:
        spread: DeLong's standard error.
        pairs: rows of the smaller side (of the smallest class).

    Wilson's interval of as many independent pairs as vary like the AUC: near 1 it is lopsided as the AUC is. Half a pair
    ranked wrongly is added to the error, for few rows show too little of it. Where all are ranked alike the standard error
    is 0 and says nothing. An AUC varies no more than a share of `pairs` independent pairs (Birnbaum and Klose 1957), whose
    interval then stands in.
    """
    if spread > 1e-12:
        smoothed = (area * pairs + 0.5) / (pairs + 1)
        variation = smoothed * (1 - smoothed)
        alike = variation / (spread**2 + variation / (pairs * (pairs + 1)))
        low, high = wilson(area * alike, alike)
        return max(0.0, min(low, area)), min(1.0, max(high, area)), "DeLong-Wilson 95 %"
    return *wilson(area * pairs, pairs), "Wilson 95 % on pairs"


def mcnemar_exact(wins: int, losses: int) -> float:
    """Two-sided exact p of McNemar's test: chance of a split at least this uneven if both models were equal."""
    n, k = int(wins + losses), int(min(wins, losses))
    if n == 0 or 2 * k == n:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2.0) for i in range(k + 1)]
    return min(1.0, 2.0 * math.fsum(map(math.exp, logs)))


def paired_difference(correct_a: np.ndarray, correct_b: np.ndarray, *, metric: str = "accuracy") -> Score:
    """Mean of a minus b over the same rows with a 95 % interval; above 0 means that a is better.

    Args:
        correct_a, correct_b: shape (n,): 1 or True where the model is right, or any merit a row (minus its error).

    The interval is Wald's on the paired differences. For right/wrong it adds half a row to each discordant cell
    (Agresti and Min 2005), so that it has a width even when the models agree on every row.
    """
    a, b = np.asarray(correct_a, dtype=np.float64), np.asarray(correct_b, dtype=np.float64)
    n = len(a)
    if n == 0:
        return Score(metric=metric, value=None, n=0, reason=because("no_row_to_compare"))
    difference = a - b
    value = float(difference.mean())
    if bool(np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        wins, losses, m = float((difference > 0).sum()) + 0.5, float((difference < 0).sum()) + 0.5, n + 2
        middle = (wins - losses) / m
        half = Z95 * math.sqrt(max(wins + losses - (wins - losses) ** 2 / m, 0.0)) / m
        return Score(
            metric=metric, value=value, low=max(-1.0, middle - half), high=min(1.0, middle + half), n=n,
            method="Agresti-Min 95 %",
        )  # fmt: skip
    if n < 2:
        return Score(metric=metric, value=value, n=n, reason=because("no_interval"))
    half = Z95 * float(difference.std(ddof=1)) / math.sqrt(n)
    return Score(metric=metric, value=value, low=value - half, high=value + half, n=n, method="paired normal 95 %")


# --- measuring --------------------------------------------------------------------------------------------------


def measure(
    task: Task,
    y_true: Any,
    y_pred: Any,
    y_proba: Any = None,
    classes: Sequence[Any] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    model_version: int | None = None,
    intervals: bool = True,
    ordered: bool = False,
) -> PerformanceReport:
    """Every metric of the task over the same rows, each with a 95 % interval.

    Args:
        y_true, y_pred: shape (n,), no missing values.
        y_proba: shape (n, len(classes)), rows sum to 1; without it the metrics of probabilities are None with a reason.
        classes: labels of y_proba's columns; a true class that is not among them has probability 0.
        metrics: which ones; all of the task by default. KeyError when the task has no such metric.
        seed: of the draws. Same rows and seed, same interval.
        intervals: False leaves them out (a quick look inside a race).
        ordered: the rows are in the order in which they came. Where neighbours are alike the intervals are then as wide
            as those of fewer independent rows, and `n_effective` tells of how many.

    A value is None where it cannot be told, and `reason` says why.
    """
    names = metrics_of(task) if metrics is None else tuple(metrics)
    for name in names:
        if name not in METRICS or task not in METRICS[name].tasks:
            raise KeyError(f"{task} has no metric '{name}'; it has {', '.join(metrics_of(task))}.")
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    n = len(true)
    if n == 0:
        empty = {name: Score(metric=name, value=None, n=0, reason=because("no_labelled_row")) for name in names}
        return PerformanceReport(task=task, n=0, scores=empty, model_version=model_version)
    material = _Material(
        task, true, pred, y_proba, classes, resamples=RESAMPLES if intervals else 0, seed=seed, ordered=ordered
    )
    scores = {name: material.score(name) for name in names}
    return PerformanceReport(task=task, n=n, scores=scores, model_version=model_version)


class _Material:
    """The rows in the shapes that metrics and their intervals take."""

    def __init__(
        self, task: Task, true: np.ndarray, pred: np.ndarray, proba: Any, classes: Sequence[Any] | None, *,
        resamples: int, seed: int, ordered: bool,
    ) -> None:  # fmt: skip
        self.n = len(true)
        self.task = task
        self.seed = seed
        self.ordered = ordered
        # Many rows: fewer resamples, so that memory and time stay bounded; the interval is narrow then anyway.
        self.resamples = min(resamples, max(LEAST_RESAMPLES, RESAMPLED_VALUES // max(self.n, 1))) if self.n >= 2 else 0
        self._weights: np.ndarray | None = None
        self._tables: dict[float, forms.TableDraws] = {}
        self.proba: np.ndarray | None = None
        if task == "regression":
            self.true, self.pred = true.astype(np.float64), pred.astype(np.float64)
            return
        if proba is not None and classes is not None:
            self.proba = np.asarray(proba, dtype=np.float64)
        known = list(classes) if self.proba is not None and classes is not None else []
        index: dict[Any, int] = {_plain(label): i for i, label in enumerate(known)}
        # Every distinct label gets a code once; text against number never compares.
        self.true = np.fromiter((index.setdefault(_plain(v), len(index)) for v in true), np.int64, self.n)
        self.pred = np.fromiter((index.setdefault(_plain(v), len(index)) for v in pred), np.int64, self.n)
        self.n_known = len(known)
        self.counts = class_counts(self.true, self.pred, max(2, len(index)))  # whatever occurs, there are two classes

    @property
    def weights(self) -> np.ndarray:
        """Weights of the rows in each draw of the Bayesian bootstrap, shape (resamples, n); made when first needed."""
        if self._weights is None:
            self._weights = np.random.default_rng(self.seed).standard_exponential((self.resamples, self.n))
        return self._weights

    def score(self, name: str) -> Score:
        metric = METRICS[name]
        reason = self._why_not(name, metric)
        if reason:
            return Score(metric=name, value=None, n=self.n, reason=reason)
        if metric.needs == "ranks":
            return self._ranked(name)
        if metric.needs == "classes":
            return self._of_classes(name)
        return self._of_rows(name, metric)

    def _why_not(self, name: str, metric: Metric) -> Reason:
        if self.n < metric.least_rows:
            return because("too_few_rows", needed=metric.least_rows, found=self.n)
        if metric.needs in ("probabilities", "ranks") and self.proba is None:
            return because("no_probabilities")
        if metric.needs == "ranks":
            if self.task == "binary" and self.n_known != 2:
                return because("not_two_classes", known=self.n_known)
            if self.task == "binary" and (self.true > 1).any():
                return because("unknown_class")
            if len(np.unique(self.true)) < 2:
                return because("one_class")
            if not np.isfinite(self.proba).all():  # type: ignore[arg-type]
                return because("not_finite")
        return NO_REASON

    def _together(self, values: np.ndarray) -> float:
        return forms.rows_as_one(values) if self.ordered else 1.0

    def _score(
        self, name: str, value: float, ends: tuple[float, float] | None = None, method: str = "", together: float = 1.0
    ) -> Score:
        if ends is None or not all(math.isfinite(end) for end in ends):
            return Score(metric=name, value=value, n=self.n)
        effective = self.n / together if together > 1.0 else None
        return Score(
            metric=name, value=value, low=ends[0], high=ends[1], n=self.n, method=method, n_effective=effective
        )

    def _untellable(self, name: str) -> Score:
        return Score(metric=name, value=None, n=self.n, reason=_UNTELLABLE.get(name, because("not_finite")))

    def _ranked(self, name: str) -> Score:
        """ROC AUC: of the second class when there are two, else the mean over the classes that occur."""
        assert self.proba is not None
        wanted = np.array([1]) if self.task == "binary" else np.unique(self.true)
        members = self.true == wanted[:, None]
        # A class that the model does not know has probability 0 on every row: ties all along.
        scores = np.zeros(members.shape)
        known = wanted < self.n_known
        scores[known] = self.proba.T[wanted[known]]
        value, deviation, alone = _auc_parts(members, scores)
        if self.resamples == 0:
            return self._score(name, value)
        sides = members.sum(axis=1)
        together = self._together(deviation)
        spread = math.sqrt(float((deviation**2).sum()) + alone) / len(members) * forms.wider(self.n, together)
        low, high, method = auc_interval(value, spread, int(np.minimum(sides, self.n - sides).min()))
        return self._score(name, value, (low, high), method, together)

    def _of_classes(self, name: str) -> Score:
        compute = COMPUTE[name]
        value = float(compute(self.counts[None])[0])
        if not math.isfinite(value):
            return self._untellable(name)
        if name == "accuracy":
            together = self._together((self.true == self.pred).astype(np.float64)) if self.resamples else 1.0
            rows = self.n / together
            z = Z95 if together <= 1.0 else forms.t95(rows - 1.0)
            return self._score(
                name, value, wilson(round(value * self.n) / together, rows, z=z), "Wilson 95 %", together
            )
        if self.resamples == 0:
            return self._score(name, value)
        together = self._together(self._parts(compute))
        if together not in self._tables:
            self._tables[together] = forms.TableDraws(self.counts, seed=self.seed, together=together)
        return self._score(name, value, self._tables[together].interval(compute, value), "Dirichlet 95 %", together)

    def _parts(self, compute: Callable[..., Any]) -> np.ndarray:
        """What each row adds to a metric of classes."""
        if self.ordered and len(self.counts) <= INFLUENCE_CLASSES:
            parts = forms.table_influence(compute, self.counts)[self.true, self.pred]
            if np.isfinite(parts).all():
                return parts
        return (self.true == self.pred).astype(np.float64)

    def _of_rows(self, name: str, metric: Metric) -> Score:
        """A metric of one loss a row (its mean or the root of it), or R2."""
        if name == "r2":
            value = float(COMPUTE[name](self.true[None], self.pred[None])[0])
        else:
            losses = self._losses(name)
            value = float(COMPUTE[name](losses[None])[0])
        if not math.isfinite(value):
            return self._untellable(name)
        if self.resamples == 0:
            return self._score(name, value)
        if name == "r2":
            low, high, together = forms.r2_interval(self.true, self.pred, self._together)
            return self._score(name, value, (low, high), "delta 95 %", together)
        together = self._together(losses)
        if metric.needs == "values":
            largest = forms.WORSE_ERROR * float(np.abs(self.true - self.pred).max()) or float(self.true.std())
            worse = largest if name == "mae" else largest**2
            low, high = forms.mean_interval(losses, worse, together=together)
            if name == "rmse":
                low, high = min(math.sqrt(low), value), max(math.sqrt(high), value)
            return self._score(name, value, (low, high) if high > low else None, "skew-corrected t 95 %", together)
        other = self._other_losses(name)
        if self.n >= NORMAL_ROWS:
            ends = forms.mean_interval(losses, float(other.mean()), together=together)
            return self._score(name, value, ends, "skew-corrected t 95 %", together)
        low, high = forms.weighted_means(losses, other, self.weights, self.seed)
        factor = forms.wider(self.n, together)
        ends = (max(0.0, value - factor * (value - low)), value + factor * (high - value))
        if name == "brier":
            assert self.proba is not None
            ends = (ends[0], max(value, min(ends[1], 1.0 if self.proba.shape[1] == 2 else 2.0)))
        return self._score(name, value, ends, "Bayesian bootstrap 95 %", together)

    def _losses(self, name: str, codes: np.ndarray | None = None) -> np.ndarray:
        """Each row's loss, shape (n,); in classes also that of another true class than its own."""
        if self.task == "regression":
            error = np.abs(self.true - self.pred)
            return error if name == "mae" else error**2
        assert self.proba is not None
        return (log_losses if name == "log_loss" else brier_losses)(self.true if codes is None else codes, self.proba)

    def _other_losses(self, name: str) -> np.ndarray:
        """Each row's loss had its likeliest other class been the true one: what a mistake that is not seen would cost."""
        assert self.proba is not None
        left = np.column_stack([self.proba, np.full(self.n, -0.5)])  # one class more, unknown to the model
        rows = np.arange(self.n)
        left[rows, np.minimum(self.true, self.proba.shape[1])] = -1.0
        return self._losses(name, left.argmax(axis=1))


def past_error(points: Sequence[EstimatePoint], metric: str) -> Score:
    """Mean distance of a metric's estimates from what the labels said later; `n` counts the batches that tell it."""
    errors = [
        abs(p.estimates[metric].value - p.realised[metric])  # type: ignore[operator]
        for p in points
        if metric in p.realised and metric in p.estimates and p.estimates[metric].value is not None
    ]
    if not errors:
        return Score(metric=metric, value=None, n=0, reason=because("no_estimate_graded"))
    return Score(metric=metric, value=math.fsum(errors) / len(errors), n=len(errors))


def pooled(parts: Sequence[Score]) -> Score:
    """One metric over several groups of rows together, from the groups' scores alone.

    Args:
        parts: of one metric over rows that no two of them share; at least one.

    Exact for means over rows and for rmse. Accuracy gets Wilson's interval, the others a normal one by the
    spread of a row that the parts' own intervals tell. Any other metric needs the rows: None with the reason.
    """
    metric, told = parts[0].metric, [p for p in parts if p.value is not None]
    n = sum(p.n for p in told)
    if len(parts) == 1 or not told:
        return parts[0]
    if not METRICS[metric].mean_of_rows and metric != "rmse":
        reason = because("in_portions", portions=len(parts))
        return Score(metric=metric, value=None, n=sum(p.n for p in parts), reason=reason)
    power = 2 if metric == "rmse" else 1
    mean = math.fsum(p.n * (p.value or 0.0) ** power for p in told) / n
    value = mean ** (1 / power)
    effective = math.fsum(p.n_effective or p.n for p in told)
    alike = effective if effective < n else None
    if metric == "accuracy":
        low, high = wilson(round(mean * n) * (effective / n), effective)
        return Score(metric=metric, value=value, low=low, high=high, n=n, method="Wilson 95 %", n_effective=alike)
    # The geometric mean of the two sides: a lopsided interval's longer one tells of how few the portion's rows are.
    spans = [
        (
            p.n,
            math.sqrt(
                max((p.high**power - (p.value or 0.0) ** power) * ((p.value or 0.0) ** power - p.low**power), 0.0)
            ),
        )
        for p in told
        if p.low is not None and p.high is not None
    ]
    if not spans:
        return Score(metric=metric, value=value, n=n)
    of_a_row = math.fsum((m * half) ** 2 for m, half in spans) / sum(m for m, _ in spans)
    half = math.sqrt(of_a_row / n)
    low, high = (max(0.0, mean + side) ** (1 / power) for side in (-half, half))
    return Score(metric=metric, value=value, low=low, high=high, n=n, method="normal 95 %", n_effective=alike)


def log_losses(codes: np.ndarray, proba: np.ndarray, *, least: float = SMALLEST_PROBABILITY) -> np.ndarray:
    """Minus log of the probability that each row's true class had, shape (n,).

    Args:
        codes: column of the true class in `proba`; one beyond the last column (a class unknown to the model) counts as `least`.
        least: probabilities below are lifted to it.
    """
    known = codes < proba.shape[1]
    p = (
        np.where(known, proba[np.arange(len(codes)), np.where(known, codes, 0)], 0.0)
        if proba.shape[1]
        else np.zeros(len(codes))
    )
    return -np.log(np.clip(p, least, 1.0))


def brier_losses(codes: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Squared distance of each row's probabilities from its true class (Brier 1950), shape (n,).

    With two classes half of it, so that the range is [0, 1], as in sklearn.
    """
    truth = (codes[:, None] == np.arange(proba.shape[1])).astype(np.float64)
    unknown = (codes >= proba.shape[1]).astype(np.float64)
    total = ((proba - truth) ** 2).sum(axis=1) + unknown
    return total / 2.0 if proba.shape[1] == 2 else total


def _plain(label: Any) -> Any:
    """A label as a hashable python value: numpy scalars compare equal to what they hold."""
    return label.item() if isinstance(label, np.generic) else label


_UNTELLABLE = {
    "kappa": because("one_and_the_same_class"),
    "r2": because("equal_values"),
}

# Of ranks: `macro_auc`. Else batched over resamples: a value each, NaN = cannot tell.
COMPUTE: dict[str, Callable[..., Any]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "kappa": _kappa,
    "macro_f1": _macro_f1,
    "mcc": _mcc,
    "log_loss": _mean,
    "brier": _mean,
    "roc_auc": macro_auc,
    "mae": _mean,
    "rmse": _root_mean,
    "r2": _r2,
}
