"""Realised performance: predictions made before the labels were known, compared with the labels.

`measure` returns every metric with its interval, `pooled` one metric over several groups of rows, `past_error` the distance
of past estimates from the realised scores. Numpy only: pages import it. Out of scope: which rows are measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.performance.material import Intervals, Material
from core.performance.proportions import wilson
from core.records import METRICS, EstimatePoint, PerformanceReport, Score, Task, metrics_of
from core.records.reasons import because

INTERVALS = Intervals()


def measure(
    task: Task,
    y_true: Any,
    y_pred: Any,
    y_proba: Any = None,
    classes: Sequence[Any] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    intervals: Intervals | None = INTERVALS,
) -> PerformanceReport:
    """Every metric of the task over the same rows, each with a 95 % interval.

    Args:
        y_true, y_pred: shape (n,), no missing values.
        y_proba: shape (n, len(classes)), rows sum to 1; without it the metrics of probabilities are None with a reason.
        classes: labels of y_proba's columns; a true class that is not among them has probability 0.
        metrics: which ones; by default all of the task. KeyError when the task has no such metric.
        intervals: None leaves them out (for speed inside a race).

    A value is None when it cannot be determined, and `reason` says why.
    """
    names = metrics_of(task) if metrics is None else tuple(metrics)
    for name in names:
        if name not in METRICS or task not in METRICS[name].tasks:
            raise KeyError(f"{task} has no metric '{name}'; it has {', '.join(metrics_of(task))}.")
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    n = len(true)
    if n == 0:
        empty = {name: Score(metric=name, value=None, n=0, reason=because("no_labelled_row")) for name in names}
        return PerformanceReport(task=task, n=0, scores=empty)
    material = Material(task, true, pred, y_proba, classes, intervals)
    scores = {name: material.score(name) for name in names}
    return PerformanceReport(task=task, n=n, scores=scores)


def past_error(points: Sequence[EstimatePoint], metric: str) -> Score:
    """Mean distance of a metric's estimates from the later realised scores; `n` counts the batches."""
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
        parts: of one metric over disjoint rows; at least one.

    Exact for means over rows and for rmse. Accuracy gets Wilson's interval, the others a normal one from the
    spread per row implied by the parts' own intervals. Any other metric needs the rows: None with the reason.
    """
    metric, measured = parts[0].metric, [p for p in parts if p.value is not None]
    n = sum(p.n for p in measured)
    if len(parts) == 1 or not measured:
        return parts[0]
    if not METRICS[metric].mean_of_rows and metric != "rmse":
        reason = because("in_portions", portions=len(parts))
        return Score(metric=metric, value=None, n=sum(p.n for p in parts), reason=reason)
    power = 2 if metric == "rmse" else 1
    mean = math.fsum(p.n * (p.value or 0.0) ** power for p in measured) / n
    value = mean ** (1 / power)
    effective = math.fsum(p.n_effective or p.n for p in measured)
    alike = effective if effective < n else None
    if metric == "accuracy":
        low, high = wilson(round(mean * n) * (effective / n), effective)
        return Score(metric=metric, value=value, low=low, high=high, n=n, method="Wilson 95 %", n_effective=alike)
    # The geometric mean of both sides: the longer side of an asymmetric interval reflects how few rows the part has.
    spans = [
        (
            p.n,
            math.sqrt(
                max((p.high**power - (p.value or 0.0) ** power) * ((p.value or 0.0) ** power - p.low**power), 0.0)
            ),
        )
        for p in measured
        if p.low is not None and p.high is not None
    ]
    if not spans:
        return Score(metric=metric, value=value, n=n)
    of_a_row = math.fsum((m * half) ** 2 for m, half in spans) / sum(m for m, _ in spans)
    half = math.sqrt(of_a_row / n)
    low, high = (max(0.0, mean + side) ** (1 / power) for side in (-half, half))
    return Score(metric=metric, value=value, low=low, high=high, n=n, method="normal 95 %", n_effective=alike)
