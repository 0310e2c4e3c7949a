"""Rows in the arrays that metrics and their intervals need, and the score of each metric. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.performance import intervals as forms
from core.performance.formulas import COMPUTE, auc_parts, brier_losses, class_counts, log_losses
from core.performance.proportions import auc_interval, wilson
from core.records import METRICS, Metric, Score, Task
from core.records.reasons import NO_REASON, Reason, because

RESAMPLED_VALUES = 4_000_000  # maximum of rows x resamples that are drawn
RESAMPLES = 200  # bootstrap: each end of a 95 % interval then rests on five resamples
LEAST_RESAMPLES = 20
NORMAL_ROWS = (
    20_000  # rows from which a mean's interval is the normal one: the bootstrap gives the same, but far slower
)
INFLUENCE_CLASSES = 20  # maximum for a row's influence on a metric of classes; with more, correctness is the proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How intervals are computed. The same rows and seed give the same interval.

    If rows in order of arrival are autocorrelated, intervals are as wide as those of fewer independent rows, and a score's
    `n_effective` says of how many.
    """

    seed: int = 0
    ordered: bool = False  # the rows are in the order in which they arrived
    resamples: int = RESAMPLES


class Material:
    """The rows in the form that metrics and their intervals need."""

    def __init__(
        self,
        task: Task,
        true: np.ndarray,
        pred: np.ndarray,
        proba: Any,
        classes: Sequence[Any] | None,
        intervals: Intervals | None,
    ) -> None:
        self.n = len(true)
        self.task = task
        draws = intervals or Intervals(resamples=0)
        self.seed = draws.seed
        self.ordered = draws.ordered
        # Many rows: fewer resamples, to bound memory and time; the interval is narrow anyway.
        most = max(LEAST_RESAMPLES, RESAMPLED_VALUES // max(self.n, 1))
        self.resamples = min(draws.resamples, most) if self.n >= 2 else 0
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
        # Every distinct label gets one code; text and numbers are never compared.
        self.true = np.fromiter((index.setdefault(_plain(v), len(index)) for v in true), np.int64, self.n)
        self.pred = np.fromiter((index.setdefault(_plain(v), len(index)) for v in pred), np.int64, self.n)
        self.n_known = len(known)
        self.counts = class_counts(self.true, self.pred, max(2, len(index)))  # there are always at least two classes

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
        finite = self.task != "regression" or bool(np.isfinite(self.true).all() and np.isfinite(self.pred).all())
        reason = _OF_FINITE_ROWS.get(name) if finite else None
        return Score(metric=name, value=None, n=self.n, reason=reason or because("not_finite"))

    def _ranked(self, name: str) -> Score:
        """ROC AUC: of the second class if there are two, else the mean over the classes that occur."""
        assert self.proba is not None
        wanted = np.array([1]) if self.task == "binary" else np.unique(self.true)
        members = self.true == wanted[:, None]
        # A class unknown to the model has probability 0 on every row: ties throughout.
        scores = np.zeros(members.shape)
        known = wanted < self.n_known
        scores[known] = self.proba.T[wanted[known]]
        parts = auc_parts(members, scores)
        if self.resamples == 0:
            return self._score(name, parts.area)
        together = self._together(parts.deviation)
        if parts.alone == 0.0 and parts.spread() > 1e-12:
            losses, worst = parts.losses()
            low, high = forms.mean_interval(losses, worst, mass=forms.WORSE_OF_AUC, together=together)
            ends = max(0.0, 1.0 - high), min(1.0, 1.0 - low)
            return self._score(name, parts.area, ends, "DeLong, skew-corrected t 95 %", together)
        sides = members.sum(axis=1)
        spread = parts.spread() * forms.wider(self.n, together)
        low, high, method = auc_interval(parts.area, spread, int(np.minimum(sides, self.n - sides).min()))
        return self._score(name, parts.area, (low, high), method, together)

    def _of_classes(self, name: str) -> Score:
        compute = COMPUTE[name]
        value = float(compute(self.counts[None])[0])
        if not math.isfinite(value):
            return self._untellable(name)
        if name == "accuracy":
            together = self._together((self.true == self.pred).astype(np.float64)) if self.resamples else 1.0
            rows = self.n / together
            z = forms.Z95 if together <= 1.0 else forms.t95(rows - 1.0)
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
        """Each row's contribution to a metric of classes."""
        if self.ordered and len(self.counts) <= INFLUENCE_CLASSES:
            parts = forms.table_influence(compute, self.counts)[self.true, self.pred]
            if np.isfinite(parts).all():
                return parts
        return (self.true == self.pred).astype(np.float64)

    def _of_rows(self, name: str, metric: Metric) -> Score:
        """A metric of one loss per row (its mean, or the root of that), or R2."""
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
        """Each row's loss if its most likely other class had been the true one: the cost of an unseen error."""
        assert self.proba is not None
        left = np.column_stack([self.proba, np.full(self.n, -0.5)])  # one more class, unknown to the model
        rows = np.arange(self.n)
        left[rows, np.minimum(self.true, self.proba.shape[1])] = -1.0
        return self._losses(name, left.argmax(axis=1))


def _plain(label: Any) -> Any:
    """A label as a hashable python value: numpy scalars compare equal to what they hold."""
    return label.item() if isinstance(label, np.generic) else label


_OF_FINITE_ROWS = {  # why a metric has no value although every row is a finite number
    "kappa": because("one_and_the_same_class"),
    "r2": because("equal_values"),
}
