"""Reads for the pages, the API and the metrics: stored measurements, drift, cycles, and the rows behind them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.learning.policy import decide, policy_from_document, same_decision
from core.performance.intervals import Z95
from core.records import (
    ROW_ID,
    ROW_TIME,
    SERVING,
    CycleReport,
    Decision,
    DriftReport,
    EstimateGrade,
    EstimatePoint,
    EventKind,
    JsonObject,
    Outcome,
    ProjectInfo,
    Score,
    from_document,
)
from core.services.automation import jobs
from core.storage import documents, history
from core.storage.tables import Cycle, DriftRun, EstimateRun, Job, ModelEvent, PerformanceRun
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from core.performance.estimated import Trust

READ_PER_ROW = 5  # rows of a batch that are read for each wanted row that is labelled and was predicted in time


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformancePoint:
    """Realised performance of one model on the newly labelled rows of one batch."""

    cycle_id: int | None
    batch_id: int | None
    at: datetime
    rows_seen: int
    n: int
    model_version: int | None
    scores: dict[str, Score]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopEvent:
    """An event shown on every chart over time."""

    at: datetime
    rows_seen: int
    kind: EventKind
    text: str
    cycle_id: int


def _point(row: PerformanceRun) -> PerformancePoint:
    scores = {metric: from_document(Score, d) for metric, d in row.scores.items()}
    return PerformancePoint(
        cycle_id=row.cycle_id,
        batch_id=row.batch_id,
        at=row.at,
        rows_seen=row.rows_seen,
        n=row.n,
        model_version=row.model_version,
        scores=scores,
    )


def performance_history(
    ws: Workspace, project_id: int, *, role: str = "champion", limit: int = 2_000
) -> list[PerformancePoint]:
    """Stored measurements in the order of the rows, the newest `limit` of them.

    Args:
        role: champion, or never (the first champion, never retrained, on the same rows).
    """
    with ws.database.read() as session:
        statement = select(PerformanceRun).where(PerformanceRun.project_id == project_id, PerformanceRun.role == role)
        return [_point(row) for row in session.scalars(statement.order_by(PerformanceRun.id.desc()).limit(limit))][::-1]


def estimates(ws: Workspace, project_id: int, *, limit: int = 2_000) -> list[EstimatePoint]:
    """Scores estimated without labels, in the order of the rows, each with what the labels said later and how far
    the estimates before it could be trusted.

    A batch is graded on its largest portion of labelled rows; fewer labels than estimated rows widen the doubt.
    """
    with ws.database.read() as session:
        rows = session.scalars(
            select(EstimateRun).where(EstimateRun.project_id == project_id).order_by(EstimateRun.id.desc()).limit(limit)
        ).all()[::-1]
        measured: dict[int, PerformanceRun] = {}
        statement = select(PerformanceRun).where(
            PerformanceRun.project_id == project_id, PerformanceRun.role == "champion"
        )
        for run in session.scalars(statement.order_by(PerformanceRun.id.desc()).limit(2 * limit)):
            if run.batch_id is not None and run.n > (measured[run.batch_id].n if run.batch_id in measured else 0):
                measured[run.batch_id] = run  # of labels that arrived in portions, the largest one
        return graded(
            [
                EstimatePoint(
                    at=row.at,
                    rows_seen=row.rows_seen,
                    n=row.n,
                    batch_id=row.batch_id,
                    cycle_id=row.cycle_id,
                    model_version=row.model_version,
                    estimates={metric: from_document(Score, document) for metric, document in row.scores.items()},
                    realised={},
                    trust={},
                )
                for row in rows
            ],
            {batch_id: (run.n, run.scores) for batch_id, run in measured.items()},
        )


def graded(points: Sequence[EstimatePoint], measured: Mapping[int, tuple[int, JsonObject]]) -> list[EstimatePoint]:
    """The points with what the labels said of each, and the trust that this gives, in the order of the labels.

    Bands are as wide as the points before them show they should be; grades are by the bands as they were stored.

    Args:
        measured: batch id -> labelled rows, metric -> Score document.
    """
    from core.performance.estimated import trust_of, widened, width_of

    z_scores: dict[str, list[float]] = {}
    with_trust: list[EstimatePoint] = []
    for point in points:
        realised: dict[str, float] = {}
        n, scores = measured.get(point.batch_id or 0, (0, {}))
        bands = {m: widened(score, width_of(z_scores.get(m, ()))) for m, score in point.estimates.items()}
        for metric, estimate in point.estimates.items():
            value = (scores.get(metric) or {}).get("value")
            if value is None or estimate.value is None or estimate.low is None or estimate.high is None:
                continue
            realised[metric] = value
            # The band is that of the rows estimated; fewer of them labelled leave more to chance.
            spread = (estimate.high - estimate.low) / (2 * Z95) * math.sqrt(max(1.0, point.n / max(n, 1)))
            z_scores.setdefault(metric, []).append((value - estimate.value) / max(spread, 1e-9))
        trust = {
            metric: _grade(trust_of(z), width_of(z))
            for metric, z in ((metric, z_scores.get(metric, [])) for metric in point.estimates)
        }
        with_trust.append(dataclasses.replace(point, estimates=bands, realised=realised, trust=trust))
    return with_trust


def _grade(trust: Trust, width: float) -> EstimateGrade:
    return EstimateGrade(trusted=trust.trusted, z=trust.z, n_chunks=trust.n_chunks, reason=trust.reason, width=width)


def drift_history(
    ws: Workspace, project_id: int, *, limit: int = 500
) -> list[tuple[datetime, int | None, DriftReport]]:
    """Stored drift reports in order: instant of the newest row, cycle, report."""
    with ws.database.read() as session:
        rows = session.scalars(
            select(DriftRun).where(DriftRun.project_id == project_id).order_by(DriftRun.id.desc()).limit(limit)
        )
        return [(row.at, row.cycle_id, from_document(DriftReport, row.report)) for row in rows][::-1]


def latest_drift(ws: Workspace, project_id: int) -> tuple[datetime, DriftReport] | None:
    """The newest stored drift report with the instant of its newest row."""
    runs = drift_history(ws, project_id, limit=1)
    return (runs[0][0], runs[0][2]) if runs else None


def cycles(ws: Workspace, project_id: int, *, limit: int = 50, offset: int = 0) -> tuple[list[CycleReport], int]:
    """One page of audit rows, newest first, and how many there are."""
    with ws.database.read() as session:
        total = session.scalar(select(func.count()).select_from(Cycle).where(Cycle.project_id == project_id)) or 0
        rows = session.scalars(
            select(Cycle).where(Cycle.project_id == project_id).order_by(Cycle.id.desc()).limit(limit).offset(offset)
        )
        return [documents.cycle_from(row) for row in rows], total


def get_cycle(ws: Workspace, cycle_id: int) -> CycleReport:
    """One audit row; NotFound when there is none."""
    with ws.database.read() as session:
        row = session.get(Cycle, cycle_id)
        if row is None:
            raise NotFound(f"There is no cycle {cycle_id}.")
        return documents.cycle_from(row)


def replay_decision(ws: Workspace, cycle_id: int) -> tuple[Decision, Decision, bool]:
    """The stored decision of a cycle, the one that its stored evidence and policy give now, and whether they agree.

    Raises:
        NotFound: no such cycle, or one that ended before it had evidence.
    """
    with ws.database.read() as session:
        row = session.get(Cycle, cycle_id)
        if row is None or row.evidence is None or row.policy is None:
            raise NotFound(f"Cycle {cycle_id} has no stored evidence to replay.")
        report = documents.cycle_from(row)
        policy = policy_from_document(row.policy)
    assert report.evidence is not None
    stored = Decision(action=report.decision, reason=report.reason, firings=report.firings)  # type: ignore[arg-type]
    replayed = decide(report.evidence, policy)
    return stored, replayed, same_decision(stored, replayed)


def events(ws: Workspace, project_id: int, *, limit: int = 500) -> list[LoopEvent]:
    """Drift found, retrains, promotions, refreshes and rollbacks in order, for the charts over time."""
    loop_events: list[LoopEvent] = []
    with ws.database.read() as session:
        measured_at: dict[int, tuple[datetime, int]] = {}
        runs = select(PerformanceRun.cycle_id, PerformanceRun.at, PerformanceRun.rows_seen).where(
            PerformanceRun.project_id == project_id, PerformanceRun.role == "champion"
        )
        for cycle_id, at, rows_seen in session.execute(runs.order_by(PerformanceRun.id)):
            if cycle_id is not None:
                measured_at[cycle_id] = (at, rows_seen)
        statement = select(
            Cycle.id,
            Cycle.started_at,
            Cycle.decision,
            Cycle.outcome,
            Cycle.champion_after,
            Cycle.status,
            Cycle.evidence,
        ).where(Cycle.project_id == project_id)
        was_drifted = False
        for cycle_id, started_at, decision, outcome, version, status, evidence in reversed(
            session.execute(statement.order_by(Cycle.id.desc()).limit(limit)).all()
        ):
            at, rows_seen = measured_at.get(cycle_id, (started_at, 0))
            drifted = (evidence or {}).get("drifted") or []
            if drifted and not was_drifted:
                loop_events.append(
                    LoopEvent(
                        at=at,
                        rows_seen=rows_seen,
                        kind=EventKind.DRIFT,
                        text=f"{len(drifted)} drifted",
                        cycle_id=cycle_id,
                    )
                )
            was_drifted = bool(drifted)
            if outcome in SERVING:
                loop_events.append(
                    LoopEvent(
                        at=at, rows_seen=rows_seen, kind=EventKind(outcome), text=f"v{version}", cycle_id=cycle_id
                    )
                )
            elif status == "failed":
                loop_events.append(
                    LoopEvent(at=at, rows_seen=rows_seen, kind=EventKind.FAILED, text="check failed", cycle_id=cycle_id)
                )
            elif decision == "retrain":
                loop_events.append(
                    LoopEvent(at=at, rows_seen=rows_seen, kind=EventKind.RETRAIN, text="retrain", cycle_id=cycle_id)
                )
    return loop_events


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedLabels:
    """Labelled rows with the predictions that were made before their labels were known."""

    X: pd.DataFrame
    y_true: np.ndarray
    y_pred: np.ndarray
    y_proba: np.ndarray | None  # (n, K)
    classes: tuple[Any, ...]
    row_ids: tuple[str, ...]
    times: pd.Series


def labelled_with_predictions(
    ws: Workspace, project: ProjectInfo, *, n: int = 2_000, but: frozenset[int] = frozenset()
) -> PredictedLabels | None:
    """The newest n labelled rows that were predicted in time, in stream order; None when there are none.

    Args:
        but: ids of batches that are left out.
    """
    if project.schema is None:
        return None
    return labelled_rows(history.History(ws, project.id, project.schema), n=n, but=but)


def labelled_rows(reader: history.History, *, n: int, but: frozenset[int] = frozenset()) -> PredictedLabels | None:
    """As `labelled_with_predictions`, by a reader that is open already."""
    import numpy as np
    import pandas as pd

    task = reader.schema.task
    parts: list[tuple[pd.DataFrame, np.ndarray, history.Scores, np.ndarray]] = []
    n_rows = 0
    for batch in reader.batches:
        if n_rows >= n:
            break
        if batch.id in but or (batch.labelled == 0 and not reader.has_late_labels):
            continue
        last = READ_PER_ROW * n  # the last rows of a large batch are enough
        scores = reader.scores(batch, last=last)
        if scores is None:
            continue
        read = reader.frame_or_none(batch, last=last)
        if read is None:
            continue
        frame, y = read
        mask = history.is_labelled(y, task) & np.array([v is not None for v in scores.labels])
        at = np.flatnonzero(mask)[-(n - n_rows) :]
        if len(at):
            parts.append((frame.iloc[at], y[at], scores, at))
            n_rows += len(at)
    if not parts:
        return None
    parts.reverse()
    classes = tuple(sorted({c for _, _, s, _ in parts for c in s.classes}, key=lambda c: (str(type(c)), c)))
    table = pd.concat([p[0] for p in parts], ignore_index=True)
    y_pred = np.concatenate([p[2].labels[p[3]] for p in parts])
    proba = None
    if classes:
        proba = np.concatenate([align(p[2], classes)[p[3]] for p in parts])
    return PredictedLabels(
        X=table[list(reader.schema.names)],
        y_true=np.concatenate([p[1] for p in parts]),
        y_pred=y_pred.astype(float) if task == "regression" else y_pred,
        y_proba=proba,
        classes=classes,
        row_ids=tuple(table[ROW_ID]),
        times=table[ROW_TIME],
    )


def align(scores: history.Scores, wanted: tuple[Any, ...]) -> np.ndarray:
    """Probabilities with one column a class of `wanted`; classes that the model did not know get 0."""
    import numpy as np

    out = np.zeros((len(scores.labels), len(wanted)))
    place = {json.dumps(c): k for k, c in enumerate(wanted)}
    if scores.probabilities is not None:
        for k, c in enumerate(scores.classes):
            if json.dumps(c) in place:
                out[:, place[json.dumps(c)]] = scores.probabilities[:, k]
    return out


def running_cycle(session: Session, project_id: int) -> Cycle | None:
    """The running cycle, if any."""
    return session.scalar(
        select(Cycle)
        .where(Cycle.project_id == project_id, Cycle.status == "running")
        .order_by(Cycle.id.desc())
        .limit(1)
    )


def recent_jobs(ws: Workspace, project_id: int, *, limit: int = 20) -> list[jobs.JobInfo]:
    """The newest jobs of a project."""
    with ws.database.read() as session:
        ids = list(
            session.scalars(
                select(Job.id).where(Job.project_id == project_id).order_by(Job.created_at.desc()).limit(limit)
            )
        )
    return [jobs.get_job(ws, job_id) for job_id in ids]


def promotions(ws: Workspace, project_id: int) -> int:
    """The number of promotions, excluding the first model and refreshes."""
    with ws.database.read() as session:
        return (
            session.scalar(
                select(func.count())
                .select_from(ModelEvent)
                .where(
                    ModelEvent.project_id == project_id,
                    ModelEvent.event == Outcome.PROMOTED,
                    ModelEvent.replaced.is_not(None),
                )
            )
            or 0
        )
