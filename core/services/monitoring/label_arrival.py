"""When labels arrived, and each batch's score with them: read from storage for the pure functions that compute.

Labels that arrive in portions leave several stored measurements of one batch, each of a few rows; `by_batch` makes them one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session, load_only

from core.performance.arrival import ArrivalCurve, DueDay, arrival_curve, due_by_day
from core.performance.realised import Intervals, measure, pooled
from core.records import ROW_ID, PerformanceReport, ProjectInfo
from core.services.monitoring import monitoring
from core.services.monitoring.monitoring import PerformancePoint
from core.services.serving import blocks
from core.storage import history, queries
from core.storage.tables import Batch, Label, Prediction
from core.storage.workspace import Workspace

NEWEST_ROWS = 20_000  # rows that are examined
WITH_ITS_ROW_S = 1.0  # a label that arrives within it counts as stored with its row
REMEASURED_BATCHES = 20  # newest batches with labels in portions whose rows are read
_MANIFEST = (Batch.number, Batch.path, Batch.rows, Batch.labelled, Batch.created_at, Batch.ids_from_user)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTimes:
    """When rows and their first labels arrived, newest rows first."""

    stored_at: tuple[datetime, ...]
    labelled_at: tuple[datetime | None, ...]  # None = no label yet; a label stored with its row has the row's instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How labels arrive in a project, and what is due."""

    curve: ArrivalCurve
    due: tuple[DueDay, ...]  # newest day first

    @property
    def takes_time(self) -> bool:
        """Whether labels are due, or some arrived later than their rows."""
        return bool(self.due) or bool(self.curve.delays_s and self.curve.delays_s[-1] > WITH_ITS_ROW_S)

    @property
    def expected(self) -> float | None:
        """The expected number of due labels that will still arrive, estimated by day; None if no day allows it."""
        known = [day.expected for day in self.due if day.expected is not None]
        return sum(known) if known else None


def arrival(
    ws: Workspace, project: ProjectInfo, *, now: datetime, zone: tzinfo = UTC, rows: int = NEWEST_ROWS
) -> Arrival:
    """The label-arrival curve of the newest rows, and those of them without label by the day on which they arrived.

    Args:
        zone: of the days.
        rows: how many of the newest rows are looked at.
    """
    times = label_times(ws, project, rows=rows)
    curve = arrival_curve(times.stored_at, times.labelled_at, now)
    waiting = [
        stored
        for stored, labelled in zip(times.stored_at, times.labelled_at, strict=True)
        if labelled is None or labelled > now
    ]
    return Arrival(curve=curve, due=due_by_day(waiting, curve, now, zone=zone))


def measured_by_batch(ws: Workspace, project: ProjectInfo, *, role: str = "champion") -> list[PerformancePoint]:
    """Stored measurements with one point a batch, in the order of the rows' time.

    The rows of the REMEASURED_BATCHES newest batches whose labels arrived in portions are measured again, all together, up to
    NEWEST_ROWS rows; of the others, and of the first model never retrained, only what the portions' scores tell is put together.
    """
    stored = monitoring.performance_history(ws, project.id, role=role)
    n_points: dict[int | None, int] = {}
    for point in stored:
        n_points[point.batch_id] = n_points.get(point.batch_id, 0) + 1
    portioned = sorted((b for b, n in n_points.items() if b is not None and n > 1), reverse=True)
    remeasured = _remeasured(ws, project, portioned[:REMEASURED_BATCHES]) if role == "champion" else {}
    return by_batch(stored, remeasured)


def by_batch(
    measured: Sequence[PerformancePoint], remeasured: Mapping[int, PerformanceReport] | None = None
) -> list[PerformancePoint]:
    """One point a batch, in the order of the rows' time; a measurement without batch stays as it is.

    Args:
        remeasured: by batch, the measurement of all its labelled rows; without one its portions are put together.
    """
    groups: dict[int, list[PerformancePoint]] = {}
    unbatched = [p for p in measured if p.batch_id is None]
    for point in measured:
        if point.batch_id is not None:
            groups.setdefault(point.batch_id, []).append(point)
    pooled_points = [_pooled(group, (remeasured or {}).get(batch_id)) for batch_id, group in groups.items()]
    return sorted([*unbatched, *pooled_points], key=lambda p: (p.at, p.rows_seen))


def _pooled(portions: Sequence[PerformancePoint], whole: PerformanceReport | None) -> PerformancePoint:
    """The measurements of one batch as one."""
    if len(portions) == 1:
        return portions[0]
    names = dict.fromkeys(name for p in portions for name in p.scores)
    scores = {name: pooled([p.scores[name] for p in portions if name in p.scores]) for name in names}
    versions = {p.model_version for p in portions}
    return dataclasses.replace(
        portions[-1],
        at=max(p.at for p in portions),
        rows_seen=max(p.rows_seen for p in portions),
        n=sum(p.n for p in portions) if whole is None else whole.n,
        model_version=versions.pop() if len(versions) == 1 else None,
        scores=scores if whole is None else whole.scores,
    )


def _remeasured(ws: Workspace, project: ProjectInfo, batch_ids: Sequence[int]) -> dict[int, PerformanceReport]:
    """Every metric over all labelled rows of some batches that were predicted in time; features are not read."""
    if project.schema is None or not batch_ids:
        return {}
    regression = project.schema.task == "regression"
    reader = history.History(ws, project.id, project.schema)
    reports: dict[int, PerformanceReport] = {}
    rows_left = NEWEST_ROWS
    for batch in reader.batches:
        scores = reader.scores(batch) if batch.id in batch_ids and batch.rows <= rows_left else None
        if scores is None:
            continue
        rows_left -= batch.rows
        read = reader.frame_or_none(batch, features=())
        if read is None:
            continue
        y = read[1]
        judged = history.is_labelled(y, project.schema.task) & history.is_labelled(scores.labels, "multiclass")
        if not judged.any():
            continue
        predictions = scores.labels[judged]
        reports[batch.id] = measure(
            project.schema.task,
            y[judged],
            predictions.astype(float) if regression else predictions,
            scores.probabilities[judged] if scores.probabilities is not None else None,
            scores.classes or None,
            intervals=Intervals(ordered=True),
        )
    return reports


def label_times(ws: Workspace, project: ProjectInfo, *, rows: int = NEWEST_ROWS) -> LabelTimes:
    """When each of the newest rows arrived, and its first label: rows still in the log, then batch by batch.

    A batch's file is read only where the database does not hold its rows' ids or which of them arrived with a label, and of it
    no more than those two columns. A logged row arrived when it was first predicted, not when the log was sealed.
    """
    stored: list[datetime] = []
    labelled: list[datetime | None] = []
    with ws.database.read() as session:
        log = _logged(session, project.id, None, limit=rows)
        batches = session.scalars(
            select(Batch)
            .where(Batch.project_id == project.id, Batch.undone_at.is_(None))
            .order_by(Batch.created_at.desc(), Batch.id.desc())
            .options(load_only(*_MANIFEST))
        )
        first_labels = _first_labels(session, project.id, list(log))
        stored += log.values()
        labelled += [first_labels.get(row_id) for row_id in log]
        for batch in batches:
            n = min(batch.rows, rows - len(stored))
            if n <= 0:
                break
            if batch.labelled == batch.rows:
                stored += [batch.created_at] * n
                labelled += [batch.created_at] * n
                continue
            waiting, n_labelled = _unlabelled(ws, project, batch, n)
            stored += [batch.created_at] * n_labelled
            labelled += [batch.created_at] * n_labelled
            first_seen = _logged(session, project.id, batch.id, limit=None)
            first_labels = _first_labels(session, project.id, waiting)
            stored += [min(batch.created_at, first_seen.get(row_id, batch.created_at)) for row_id in waiting]
            labelled += [first_labels.get(row_id) for row_id in waiting]
    return LabelTimes(stored_at=tuple(stored), labelled_at=tuple(labelled))


def _unlabelled(ws: Workspace, project: ProjectInfo, batch: Batch, take: int) -> tuple[list[str], int]:
    """Ids of the rows that arrived without label among the last ones of a batch, and how many arrived with one."""
    if batch.labelled == 0 and not batch.ids_from_user:
        return [f"b{batch.number}-{i}" for i in range(batch.rows - take, batch.rows)], 0
    assert project.schema is not None  # a batch has one
    table = history.read_rows(ws, batch, [ROW_ID, project.schema.target], last=take)
    mask = history.is_labelled(
        history.decode_target(table[project.schema.target], project.schema.task), project.schema.task
    )
    return table[ROW_ID][~mask].tolist(), int(mask.sum())


def _logged(session: Session, project_id: int, batch_id: int | None, *, limit: int | None) -> dict[str, datetime]:
    """When the predicted rows of a batch (None: of none yet) were first predicted, newest first, by row id."""
    in_batch = Prediction.unsealed() if batch_id is None else Prediction.batch_id == batch_id
    statement = (
        select(Prediction.row_id, Prediction.rows, func.min(Prediction.created_at))
        .where(Prediction.project_id == project_id, in_batch)
        .group_by(Prediction.row_id, Prediction.rows)
        .order_by(func.max(Prediction.id).desc())
    )
    first_predicted: dict[str, datetime] = {}
    for name, rows, at in session.execute(statement.limit(limit)):
        ids = [name] if rows == 1 else [blocks.row_id(name, place) for place in reversed(range(rows))]
        first_predicted.update(dict.fromkeys(ids if limit is None else ids[: limit - len(first_predicted)], at))
    return first_predicted


def _first_labels(session: Session, project_id: int, row_ids: Sequence[str]) -> dict[str, datetime]:
    """When the first label of each row arrived by row id."""
    first_labels: dict[str, datetime] = {}
    for i in range(0, len(row_ids), queries.CHUNK):
        statement = (
            select(Label.row_id, func.min(Label.created_at))
            .where(
                Label.project_id == project_id,
                Label.row_id.in_(row_ids[i : i + queries.CHUNK]),
                Label.undone_at.is_(None),
            )
            .group_by(Label.row_id)
        )
        first_labels.update(session.execute(statement).all())
    return first_labels
