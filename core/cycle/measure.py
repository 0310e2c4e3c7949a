"""How the models did on the new rows: realised scores, drift, and estimates where labels are missing.

Rows are measured here and nothing is stored: the closing transaction keeps what this returns.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from loguru import logger

from core.cycle.answers import predict, typed
from core.cycle.records import Found, Group, Turn
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
class Measured:
    """What was measured of the new rows; of the runs, the closing transaction writes the cycle's id and its instant."""

    performance: list[PerformanceRun]
    estimated: list[EstimateRun]
    drift: DriftReport | None
    estimate: Score | None  # the newest, by the policy's metric
    trusted: bool | None


def measure_rows(turn: Turn, rows_before: int) -> Measured:
    """Realised performance, drift and estimates of what is new.

    Args:
        rows_before: labelled rows that earlier cycles have measured.
    """

    ws, project, found = turn.ws, turn.project, turn.found
    assert project.schema is not None
    performance = _measure_performance(ws, project, found, rows_before)
    drift = _measure_drift(ws, project, found)
    estimated = score_estimates.estimate_batches(
        ws, project, found.reader, found.batches, now=turn.asked.now, seed=ESTIMATE_SEED
    )
    metric = metric_for(project.policy, project.schema.task)
    estimate, trusted = score_estimates.newest_estimate(ws, project, estimated, metric)
    return Measured(performance=performance, estimated=estimated, drift=drift, estimate=estimate, trusted=trusted)


def _measure_performance(ws: Workspace, project: ProjectInfo, found: Found, rows_before: int) -> list[PerformanceRun]:
    """Realised performance of champion and first champion on each batch's newly labelled rows."""
    import numpy as np

    from core.performance.realised import Intervals, measure

    assert project.schema is not None
    task, in_order = project.schema.task, Intervals(ordered=True)
    with ws.database.read() as session:
        first = queries.first_champion_of(session, project.id)
    runs: list[PerformanceRun] = []
    seen = rows_before
    for group in found.groups:
        seen += len(group.y)
        if group.scores is None:
            continue
        judged = np.array([v is not None for v in group.scores.labels])
        if not judged.any():
            continue
        y = group.y[judged]
        y_pred = group.scores.labels[judged]
        proba = group.scores.probabilities[judged] if group.scores.probabilities is not None else None
        versions = set(group.scores.versions[judged].tolist())
        measured = measure(
            task,
            y,
            y_pred.astype(float) if task == "regression" else y_pred,
            proba,
            group.scores.classes or None,
            intervals=in_order,
        )
        weights = group.weights[judged] if group.weights is not None else None
        measured = _weighed(measured, y, y_pred, weights)
        at = group.frame[ROW_TIME].max().to_pydatetime()
        version = versions.pop() if len(versions) == 1 else None
        runs.append(_performance_run(project, group, "champion", version, measured, seen, at))
        if first is not None:
            try:
                answered = predict(ws, project, first, group.frame[judged])
            except (BadInput, Damaged) as error:  # the champion could: its own score stands, this one has no point
                logger.warning(
                    "v{first} has no answer to batch {batch}: {error}",
                    first=first,
                    batch=group.batch.number,
                    error=error,
                )
                continue
            predicted = np.array(answered.labels, dtype=float if task == "regression" else object)
            alone = measure(task, y, predicted, answered.probabilities, answered.classes or None, intervals=in_order)
            alone = _weighed(alone, y, predicted, weights)
            runs.append(_performance_run(project, group, "never", first, alone, seen, at))
    return runs


def _weighed(
    report: PerformanceReport, y: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None
) -> PerformanceReport:
    """The same metrics standing for all rows that could have been chosen, where these were chosen for their labels."""
    if weights is None:
        return report
    from core.learning.label_sampling import weighted_score

    answers = typed(y_pred)
    scores = {name: weighted_score(report.task, name, y, answers, weights) for name in report.scores}
    return dataclasses.replace(report, scores=scores)


def _performance_run(
    project: ProjectInfo,
    group: Group,
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


def _measure_drift(ws: Workspace, project: ProjectInfo, found: Found) -> DriftReport | None:
    """The new rows against those that the champion learnt from."""
    if not found.batches:
        return None
    new = {b.id for b in found.batches}
    return drift_check.check(
        ws, project, found.reader, new, lambda version, frame: predict(ws, project, version, frame)
    )
