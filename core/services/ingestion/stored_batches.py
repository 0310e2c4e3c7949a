"""The stored batches: their list, their content, and undoing one."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.errors import BadInput, Conflict, NotFound
from core.records import BatchInfo, ProjectInfo
from core.services.access.actors import require
from core.services.ingestion.storing import is_past
from core.storage import audit, history, queries
from core.storage.tables import Batch, Project
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def list_batches(ws: Workspace, project_id: int, *, limit: int = 50, offset: int = 0) -> tuple[list[BatchInfo], int]:
    """One page of manifests, newest first, and how many there are; undone ones included and marked.

    `labelled` counts labels that arrived with the rows and later ones.
    """
    with ws.database.read() as session:
        total = session.scalar(select(func.count()).select_from(Batch).where(Batch.project_id == project_id)) or 0
        rows = list(
            session.scalars(
                select(Batch)
                .where(Batch.project_id == project_id)
                .order_by(Batch.id.desc())
                .limit(limit)
                .offset(offset)
            )
        )
        infos = [queries.batch_info(row) for row in rows]
        has_late = queries.has_labels(session, project_id)
    if not has_late:
        return infos, total
    project = _project(ws, project_id)
    assert project.schema is not None
    reader = history.History(ws, project_id, project.schema)
    counted = []
    for row, info in zip(rows, infos, strict=True):
        if row.labelled == row.rows:  # all labels were stored with their rows
            counted.append(info)
            continue
        read = reader.frame_or_none(row, features=())
        known = row.labelled if read is None else int(history.is_labelled(read[1], project.schema.task).sum())
        counted.append(dataclasses.replace(info, labelled=known))
    return counted, total


def _project(ws: Workspace, project_id: int) -> ProjectInfo:
    with ws.database.read() as session:
        return queries.project_info(session, queries.project_row(session, project_id))


def undo_batch(ws: Workspace, project: ProjectInfo, batch_id: int, *, by: str, now: datetime) -> BatchInfo:
    """Mark a batch as undone: its rows no longer count; the file stays. The file may be missing or damaged.

    Raises:
        NotFound: no such batch in this project.
        Conflict: it is already undone.
    """
    require(ws, by, "operator")
    assert project.schema is not None or project.rows == 0
    with ws.database.read() as session:
        row = session.scalar(select(Batch).where(Batch.project_id == project.id, Batch.id == batch_id))
    if row is None or project.schema is None:
        raise NotFound(
            f"Project '{project.slug}' has no batch with id {batch_id}. `batches list --project {project.slug}` shows them."
        )
    read = history.History(ws, project.id, project.schema).frame_or_none(row, features=())
    if read is None:
        labelled = _labelled_by_rows(ws, row)
    else:
        labelled = int(history.is_labelled(read[1], project.schema.task).sum())
    with ws.database.write() as session:
        row = session.get_one(Batch, batch_id)
        if row.undone_at is not None:
            raise Conflict(f"Batch {row.number} was undone on {row.undone_at:%Y-%m-%d %H:%M} by {row.undone_by}.")
        row.undone_at, row.undone_by = now, by
        owner = queries.project_row(session, project.id)
        owner.rows -= row.rows
        owner.labelled = max(owner.labelled - labelled, 0)
        session.flush()
        _judge_backfills(session, owner)
        owner.clock_at = session.scalar(
            select(func.max(Batch.last_at)).where(
                Batch.project_id == project.id, Batch.undone_at.is_(None), Batch.backfill.is_(False)
            )
        )
        if _is_empty(session, project):
            owner.schema = None  # the next file defines the schema again
        audit.record(
            session,
            who=by,
            what="batch undone",
            project_id=project.id,
            before={"batch": row.number, "rows": row.rows, "origin": row.origin},
            now=now,
        )
        session.flush()
        return queries.batch_info(row)


def _labelled_by_rows(ws: Workspace, batch: Batch) -> int:
    """How many rows of a batch whose file cannot be read have a label, by the database alone.

    Generated ids are known; late labels for ids chosen by the sender cannot be counted.
    """
    if batch.labelled == batch.rows or batch.ids_from_user:
        return batch.labelled
    with ws.database.read() as session:
        later_labels = queries.labels_by_row(
            session, batch.project_id, [f"b{batch.number}-{i}" for i in range(batch.rows)]
        )
    return min(batch.labelled + len(later_labels), batch.rows)


def _judge_backfills(session: Session, owner: Project) -> None:
    """Determine again which batches are backfills, now that one is undone; the next cycle reads those that are not any more."""
    batches = session.scalars(
        select(Batch)
        .where(Batch.project_id == owner.id, Batch.undone_at.is_(None), Batch.timed, Batch.declared.is_(False))
        .order_by(Batch.id)
    )
    for batch in batches:
        begins = queries.newest_start(session, owner.id, now=batch.created_at, before=batch.id)
        late = is_past(batch.last_at, begins)
        if batch.backfill and not late:
            batch.pending = batch.id <= owner.batch_watermark
            owner.news += 1
        batch.backfill = late
        session.flush()


def _is_empty(session: Session, project: ProjectInfo) -> bool:
    """Whether nothing depends on the schema any more: no batch that counts, no model, no logged prediction, no label."""
    if project.champion is not None or queries.logged_count(session, project.id):
        return False
    batches = select(func.count()).where(Batch.project_id == project.id, Batch.undone_at.is_(None))
    return not session.scalar(batches) and not queries.has_labels(session, project.id)


def labels_due(ws: Workspace, project_id: int) -> int:
    """Stored rows without a label, including rows still in the log."""
    with ws.database.read() as session:
        row = queries.project_row(session, project_id)
        return max(row.rows - row.labelled, 0) + queries.logged_count(session, project_id)


def read_rows(ws: Workspace, project: ProjectInfo, *, n: int) -> pd.DataFrame:
    """The newest n rows for display: id, time, features, target as in the data."""
    if project.schema is None:
        raise BadInput(f"Project '{project.slug}' has no rows yet. Store rows first.")
    table, y, _ = history.History(ws, project.id, project.schema).newest(n, labelled=False)
    table[project.schema.target] = y
    return table


def touch_news(session: Session, project_id: int) -> None:
    """Mark the project as having new data, for the scheduler."""
    session.execute(update(Project).where(Project.id == project_id).values(news=Project.news + 1))
