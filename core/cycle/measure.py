"""Measurements on the new rows: realised scores, drift, and estimates where labels are missing.

Nothing is stored here: the closing transaction stores what this returns.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from loguru import logger

from core.cycle.predictions import predict, typed
from core.cycle.records import CycleRun, LabelledRows, NewEvidence
from core.errors import BadInput, Damaged
from core.records import ROW_TIME, DriftReport, PerformanceReport, ProjectInfo, Score, metric_for
from core.services.monitoring import drift_check, score_estimates
from core.storage import queries
from core.storage.tables import EstimateRun, PerformanceRun
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

ESTIMATE_SEED = 0  # the same rows give the same estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Measurements on the new rows; the closing transaction adds the cycle's id and instant to the runs."""

    performance: list[PerformanceRun]
    estimated: list[EstimateRun]
    drift: DriftReport | None
    estimate: Score | None  # the newest, by the policy's metric
    trusted: bool | None


def measure_rows(cycle: CycleRun, rows_before: int) -> Measurements:
    """Realised performance, drift and estimates of the new evidence.

    Args:
        rows_before: labelled rows measured by earlier cycles.
    """

    ws, project, evidence = cycle.ws, cycle.project, cycle.evidence
    assert project.schema is not None
    performance = _measure_performance(ws, project, evidence, rows_before)
    drift = _measure_drift(ws, project, evidence)
    estimated = score_estimates.estimate_batches(
        ws, project, evidence.reader, evidence.batches, now=cycle.request.now, seed=ESTIMATE_SEED
    )
    metric = metric_for(project.policy, project.schema.task)
    estimate, trusted = score_estimates.newest_estimate(ws, project, estimated, metric)
    return Measurements(performance=performance, estimated=estimated, drift=drift, estimate=estimate, trusted=trusted)


def _measure_performance(
    ws: Workspace, project: ProjectInfo, evidence: NewEvidence, rows_before: int
) -> list[PerformanceRun]:
    """Realised performance of the champion and the first champion on each batch's newly labelled rows."""
    import numpy as np

    from core.performance.realised import Intervals, measure

    assert project.schema is not None
    task, in_order = project.schema.task, Intervals(ordered=True)
    with ws.database.read() as session:
        first = queries.first_champion_of(session, project.id)
    runs: list[PerformanceRun] = []
    seen = rows_before
    for group in evidence.labelled:
        seen += len(group.y)
        if group.scores is None:
            continue
        predicted_rows = np.array([v is not None for v in group.scores.labels])
        if not predicted_rows.any():
            continue
        y = group.y[predicted_rows]
        y_pred = group.scores.labels[predicted_rows]
        proba = group.scores.probabilities[predicted_rows] if group.scores.probabilities is not None else None
        versions = set(group.scores.versions[predicted_rows].tolist())
        measured = measure(
            task,
            y,
            y_pred.astype(float) if task == "regression" else y_pred,
            proba,
            group.scores.classes or None,
            intervals=in_order,
        )
        weights = group.weights[predicted_rows] if group.weights is not None else None
        measured = _weighed(measured, y, y_pred, weights)
        at = group.frame[ROW_TIME].max().to_pydatetime()
        version = versions.pop() if len(versions) == 1 else None
        runs.append(_performance_run(project, group, "champion", version, measured, seen, at))
        if first is not None:
            try:
                predicted = predict(ws, project, first, group.frame[predicted_rows])
            except (BadInput, Damaged) as error:  # the champion could: only its own score is stored
                logger.warning(
                    "v{first} cannot predict batch {batch}: {error}",
                    first=first,
                    batch=group.batch.number,
                    error=error,
                )
                continue
            y_first = np.array(predicted.labels, dtype=float if task == "regression" else object)
            alone = measure(task, y, y_first, predicted.probabilities, predicted.classes or None, intervals=in_order)
            alone = _weighed(alone, y, y_first, weights)
            runs.append(_performance_run(project, group, "never", first, alone, seen, at))
    return runs


def _weighed(
    report: PerformanceReport, y: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None
) -> PerformanceReport:
    """The same metrics weighted to represent the whole pool, where these rows were sampled for labelling."""
    if weights is None:
        return report
    from core.learning.label_sampling import weighted_score

    y_pred = typed(y_pred)
    scores = {name: weighted_score(report.task, name, y, y_pred, weights) for name in report.scores}
    return dataclasses.replace(report, scores=scores)


def _performance_run(
    project: ProjectInfo,
    group: LabelledRows,
    role: str,
    version: int | None,
    report: PerformanceReport,
    rows_seen: int,
    at: datetime,
) -> PerformanceRun:
    return PerformanceRun(
        project_id=project.id,
        batch_id=group.batch.id,
        role=role,
        model_version=version,
        n=report.n,
        rows_seen=rows_seen,
        at=at,
        scores=report.scores,
    )


def _measure_drift(ws: Workspace, project: ProjectInfo, evidence: NewEvidence) -> DriftReport | None:
    """The new rows against the champion's training rows."""
    if not evidence.batches:
        return None
    new = {b.id for b in evidence.batches}
    return drift_check.check(
        ws, project, evidence.reader, new, lambda version, frame: predict(ws, project, version, frame)
    )
