"""Performance estimation without labels: accuracy, F1, kappa, ROC AUC, log-loss, MAE and RMSE of new rows.

A classifier's estimate models the labels of the rows: q, a probability of each class per row, from which every metric
follows. A regressor's estimate models the size of its error. Both weight the labelled reference rows by a
density ratio to the new ones. Concept drift is invisible here: labels that arrive later grade the estimates, and
`Trust` reports when they contradict them. docs/performance.md has the formulas and what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from core.drift.encode import one_thread
from core.errors import BadInput, FieldProblem
from core.performance.estimated_classes import Labels, probability_columns
from core.performance.estimated_numbers import Errors
from core.performance.intervals import Z95
from core.records import METRICS, NO_REASON, Reason, Score, because, estimated_metrics

if TYPE_CHECKING:
    import pandas as pd

LEAST_REFERENCE = 100  # minimum of labelled reference rows
MOST_REFERENCE = 10_000  # newest labelled rows that are used
GRADED_CHUNKS = 3  # newest labelled chunks whose mean z decides
# Limits of the mean z of one, two and three chunks; wider than 3 / sqrt(k), since one estimator's errors are correlated.
LIMITS_Z = (3.0, 2.6, 2.4)
# With two classes also "f1", that of the second class; the catalogue's macro F1 is the mean of both.
ESTIMATED = {
    "binary": (*estimated_metrics("binary"), "f1"),
    "multiclass": estimated_metrics("multiclass"),
    "regression": estimated_metrics("regression"),
}
_WIDTH_LARGEST = 4.0  # cap of each z from which the width is computed
_WIDTH_CHUNKS, _WIDTH_PRIOR = 20, 3.0  # newest graded chunks used for the width; the prior, in chunks of z = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimated score with its 95 % interval. `value` None = not estimable, with the `reason`."""

    value: float | None
    low: float | None
    high: float | None
    reason: Reason = NO_REASON


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whether later labels confirmed the estimates. `trusted` None = none arrived yet."""

    trusted: bool | None
    z: float | None  # mean of (realised - estimated) / sd over the newest graded chunks
    n_chunks: int
    reason: Reason = NO_REASON


def trust_of(z_scores: Sequence[float]) -> Trust:
    """The trust implied by the graded chunks.

    Args:
        z_scores: (realised - estimated) / sd of each labelled chunk, oldest first.
    """
    if not len(z_scores):
        return Trust(trusted=None, z=None, n_chunks=0, reason=because("not_graded"))
    newest = [float(z) for z in z_scores][-GRADED_CHUNKS:]
    z, limit = float(np.mean(newest)), LIMITS_Z[len(newest) - 1]
    trusted = abs(z) <= limit
    of = {"chunks": len(newest), "z": z, "limit": limit}
    reason = because("labels_agree", **of) if trusted else because("labels_refute", **of)
    return Trust(trusted=trusted, z=z, n_chunks=len(z_scores), reason=reason)


def width_of(z_scores: Sequence[float]) -> float:
    """The factor by which later bands are widened, according to the graded chunks: at least 1.

    The root mean square of the newest z, which is 1 where bands are right; a few chunks of z = 1 are added as a prior, so
    that a single chunk widens little. A z beyond _WIDTH_LARGEST means a changed concept, which no width is meant to cover
    (`trust_of` reports it), and is capped at that.
    """
    newest = [min(abs(float(z)), _WIDTH_LARGEST) ** 2 for z in z_scores][-_WIDTH_CHUNKS:]
    return max(1.0, math.sqrt((_WIDTH_PRIOR + math.fsum(newest)) / (_WIDTH_PRIOR + len(newest))))


def widened(score: Score, by: float) -> Score:
    """An estimate with its interval scaled on both sides of its value, within the range of the metric."""
    if score.value is None or score.low is None or score.high is None:
        return score
    least, most = METRICS[score.metric].range if score.metric in METRICS else (0.0, 1.0)
    low, high = (score.value + by * (end - score.value) for end in (score.low, score.high))
    return replace(score, low=max(least, low), high=min(most, high))


@one_thread()
def fit_estimator(reference: pd.DataFrame, *, task: str, seed: int = 0) -> Estimator:
    """An estimator fitted on labelled rows that the model was not trained on, oldest first.

    Args:
        reference: y_true, y_pred (classes 0..K-1, or numbers), p (binary: P of class 1) or p_0 .. p_{K-1}; every other
            column is a feature. Rows whose label or prediction is missing are left out; the newest MOST_REFERENCE are used.
        task: "binary", "multiclass" or "regression".
        seed: of folds and resamples; the same rows and seed give the same estimates.

    Raises:
        BadInput: an unknown task, or a column is missing.
    """
    if task not in ESTIMATED:
        raise BadInput(f"There is no task '{task}'. Choose one of {', '.join(ESTIMATED)}.")
    _require(reference, ["y_true", "y_pred", *_probability_columns(reference, task)], "reference")
    usable = reference[reference[["y_true", *_probability_columns(reference, task), "y_pred"]].notna().all(axis=1)]
    usable = usable.tail(MOST_REFERENCE).reset_index(drop=True)
    if len(usable) < LEAST_REFERENCE:
        return Estimator(task, None, because("short_reference", rows=len(usable), needed=LEAST_REFERENCE))
    if task == "regression":
        return Estimator(task, Errors(usable, seed))
    if usable["y_true"].nunique() < 2:
        return Estimator(task, None, because("one_class_in_reference"))
    return Estimator(task, Labels(usable, task, seed))


class _Model(Protocol):
    """The model behind an estimator: statistics of one chunk, and a metric's value and standard deviations from them."""

    def prepare(self, chunk: pd.DataFrame) -> Any: ...
    def measure(self, prepared: Any, metric: str) -> tuple[float, float, float] | Reason: ...


class Estimator:
    """Estimates for chunks of rows, and their grades by later labels. Created by `fit_estimator`."""

    def __init__(self, task: str, model: _Model | None, why_not: Reason = NO_REASON) -> None:
        self.task = task
        self._model, self._why_not = model, why_not
        self._last: tuple[pd.DataFrame, Any] | None = None
        self._grades: dict[str, list[float]] = {}

    def estimate(self, chunk: pd.DataFrame, metric: str) -> Estimate:
        """The score of the chunk without its labels.

        Args:
            chunk: columns as in the reference; y_true is ignored. What the metrics share is computed once.
            metric: one of ESTIMATED[task].

        Raises:
            BadInput: the task has no such metric, or a column is missing.
        """
        measured = self._measured(chunk, metric)
        if isinstance(measured, Reason):
            return Estimate(value=None, low=None, high=None, reason=measured)
        value, below, above = measured
        by = Z95 * width_of(self._grades.get(metric, ()))
        band = widened(Score(metric=metric, value=value, low=value - below, high=value + above, n=len(chunk)), by)
        return Estimate(value=value, low=band.low, high=band.high)

    def grade(self, chunk: pd.DataFrame, metric: str, realised: float | None) -> Trust:
        """Compare the estimate of a chunk with the score realised by its labels; called in the order of the labels.

        Later bands become as wide as the graded ones should have been (`width_of`); the grade itself uses the band
        before widening.

        Args:
            realised: None (or NaN) when the labels give no score either; such a chunk is not counted.
        """
        measured = self._measured(chunk, metric)
        grades = self._grades.setdefault(metric, [])
        if not isinstance(measured, Reason) and realised is not None and math.isfinite(realised):
            value, below, above = measured
            grades.append((realised - value) / max(above if realised > value else below, 1e-12))
        return trust_of(grades)

    def _measured(self, chunk: pd.DataFrame, metric: str) -> tuple[float, float, float] | Reason:
        """Value and the standard deviations below and above it; or why it is not estimable."""
        if metric not in ESTIMATED[self.task]:
            raise BadInput(
                f"There is no estimate of '{metric}' in {self.task}. Choose one of {', '.join(ESTIMATED[self.task])}."
            )
        needed = ["y_pred", *_probability_columns(chunk, self.task)]
        _require(chunk, needed, "chunk")
        if self._model is None:
            return self._why_not
        if not len(chunk):
            return because("no_row_in_chunk")
        missing = int(chunk[needed].isna().any(axis=1).sum())
        if missing:
            return because("rows_without_prediction", missing=missing, rows=len(chunk))
        if self._last is None or self._last[0] is not chunk:
            with one_thread():
                self._last = (chunk, self._model.prepare(chunk))
        measured = self._model.measure(self._last[1], metric)
        if not isinstance(measured, Reason) and not all(map(math.isfinite, measured)):
            return because("figures_not_finite")
        return measured


def _probability_columns(frame: pd.DataFrame, task: str) -> list[str]:
    if task == "regression":
        return []
    return probability_columns(frame, binary=task == "binary")


def _require(frame: pd.DataFrame, names: Sequence[str], word: str) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        problems = tuple(FieldProblem(field=f"column {n}", seen="not there", expected=f"in the {word}") for n in absent)
        raise BadInput(f"The {word} has no column {' and no column '.join(absent)}. Add it.", problems)
