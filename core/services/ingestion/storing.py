"""Stores validated rows as one immutable batch: the Parquet file first, then its manifest row.

Nothing of a batch counts before the transaction that writes its row; an unreferenced file is removed later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.data.cells import AHEAD
from core.data.contract import schema_to_document
from core.data.problems import document_of
from core.drift.profile import profile, to_bytes
from core.errors import Conflict
from core.records import ROW_ID, ROW_TIME, BatchInfo, FeatureSchema, Problem, ProjectInfo, Task
from core.storage import history, queries
from core.storage.tables import Batch, BatchIds
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """The roles that were assumed for a file's columns."""

    id: str | None
    time: str | None
    target: str
    task: Task
    excluded: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """The result of storing a file or frame."""

    batch: BatchInfo
    rows: int
    labelled: int
    problems: tuple[Problem, ...]  # assumptions, unused columns, values treated as missing, new categories
    backfill: bool
    assumed: Assumed


Also = Callable[[Session, IngestReport], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedBatch:
    """Rows that conform to the schema, and their metadata."""

    schema: FeatureSchema
    table: pd.DataFrame  # the features, one row each
    y: np.ndarray  # (n,), missing without a label
    times: pd.Series  # (n,) instants
    ids: list[str] | None  # (n,) from the sender; None = generated
    extra: pd.DataFrame | None  # columns that are kept unused
    stem: str  # of the file's path, without its ending
    origin: str
    digest: str
    known: int  # id of the newest batch that was checked for the same rows and ids
    problems: Sequence[Problem] = ()
    timed: bool = False  # the rows have their own instants; only such rows can be a backfill without being declared one
    declared: bool = False  # the sender declared them a backfill
    news: bool = True  # the next cycle treats them as new data
    scores: tuple[str, str, int | None] | None = None  # file, sha256 and version of predictions made for them before


def store_batch(
    ws: Workspace, project: ProjectInfo, prepared: PreparedBatch, *, by: str, now: datetime, also: Also | None = None
) -> IngestReport:
    """Write the Parquet file, then the manifest row with everything that depends on it, in one transaction.

    Args:
        also: further writes in that transaction.

    Raises:
        Conflict: the rows, or ids of them, are stored already.
    """
    # The number is part of generated ids, so it is reserved before the file is written; a crash in between leaves a gap.
    with ws.database.read() as session:
        number = _newest_number(session, project.id) + 1
    if prepared.ids is None:
        number = _free_number(ws, project, number, len(prepared.table))
    summary = to_bytes(profile(prepared.table, prepared.schema))
    while True:
        row_ids = prepared.ids if prepared.ids is not None else [f"b{number}-{i}" for i in range(len(prepared.table))]
        path = f"{prepared.stem}.parquet"
        sha256 = ws.batches.write_frame(path, _stored(prepared, row_ids))
        with ws.database.write() as session:
            taken = _newest_number(session, project.id)
            if taken >= number:  # another process stored a batch meanwhile
                number = taken + 1
                if prepared.ids is None:
                    continue
            _refuse_late(ws, session, project, prepared)
            batch = _manifest(session, project, prepared, number, by=by, now=now)
            batch.path, batch.sha256, batch.profile = path, sha256, summary
            session.add(batch)
            labelled = _count(session, project, prepared, batch, row_ids)
            report = _report(prepared, batch, labelled)
            if also is not None:
                also(session, report)
        return report


def _newest_number(session: Session, project_id: int) -> int:
    return session.scalar(select(func.max(Batch.number)).where(Batch.project_id == project_id)) or 0


def _stored(prepared: PreparedBatch, row_ids: list[str]) -> pd.DataFrame:
    """The rows as the file stores them: id, instant, features, target, then unused columns."""
    stored = prepared.table.copy(deep=False)
    stored[prepared.schema.target] = history.encode_target(prepared.y, prepared.schema.task).to_numpy()
    stored.insert(0, ROW_TIME, prepared.times.array)
    stored.insert(0, ROW_ID, row_ids)
    extra = prepared.extra
    if extra is None or not len(extra.columns):
        return stored
    clean = extra[[c for c in extra.columns if c not in stored.columns]]
    return stored.join(clean.set_axis(stored.index))


def _refuse_late(ws: Workspace, session: Session, project: ProjectInfo, prepared: PreparedBatch) -> None:
    """Refuse if another call has stored conflicting rows since these were checked."""
    if project.schema is None and queries.project_row(session, project.id).schema is not None:
        raise Conflict(f"Another first batch was stored for '{project.slug}' at the same moment. Try again.")
    _refuse_twin(session, project.id, prepared.digest)
    _refuse_newer(ws, session, project.id, prepared.known, prepared.ids)


def _manifest(
    session: Session, project: ProjectInfo, prepared: PreparedBatch, number: int, *, by: str, now: datetime
) -> Batch:
    """The batch's row, without the columns about its file."""
    last_at = prepared.times.max().to_pydatetime()
    begins = queries.newest_start(session, project.id, now=now) if prepared.timed else None
    batch = Batch(
        project_id=project.id,
        number=number,
        origin=prepared.origin[:300],
        rows=len(prepared.table),
        labelled=int(history.is_labelled(prepared.y, prepared.schema.task).sum()),
        first_at=prepared.times.min().to_pydatetime(),
        last_at=last_at,
        created_at=now,
        created_by=by,
        backfill=prepared.declared or is_past(last_at, begins),
        declared=prepared.declared,
        timed=prepared.timed,
        digest=prepared.digest,
        problems=[document_of(p) for p in prepared.problems],
        ids_from_user=prepared.ids is not None,
    )
    if prepared.scores is not None:
        batch.scores_path, batch.scores_sha256, batch.scored_by = prepared.scores
    return batch


def _count(session: Session, project: ProjectInfo, prepared: PreparedBatch, batch: Batch, row_ids: list[str]) -> int:
    """Count the batch in its project, and store hashes of its ids; returns how many of its rows have a label, earlier ones included."""
    waiting = queries.labels_by_row(session, project.id, row_ids) if queries.has_labels(session, project.id) else {}
    own = history.is_labelled(prepared.y, prepared.schema.task)
    labelled = batch.labelled + sum(1 for i, row_id in enumerate(row_ids) if row_id in waiting and not own[i])
    row = queries.project_row(session, project.id)
    row.schema = schema_to_document(prepared.schema)
    row.rows += batch.rows
    row.labelled += labelled
    if not batch.backfill:
        row.clock_at = batch.last_at if row.clock_at is None else max(row.clock_at, batch.last_at)
    if prepared.news:
        row.news += 1
    session.flush()
    if prepared.ids is not None:
        session.add(BatchIds(batch_id=batch.id, hashes=history.hashed(prepared.ids).tobytes()))
    return labelled


def _report(prepared: PreparedBatch, batch: Batch, labelled: int) -> IngestReport:
    schema = prepared.schema
    return IngestReport(
        batch=queries.batch_info(batch),
        rows=batch.rows,
        labelled=labelled,
        problems=tuple(prepared.problems),
        backfill=batch.backfill,
        assumed=Assumed(
            id=schema.id_column,
            time=schema.time_column,
            target=schema.target,
            task=schema.task,
            excluded=schema.excluded,
        ),
    )


def is_past(last_at: datetime, begins: datetime | None) -> bool:
    """Whether rows whose newest instant is `last_at` lie before the newest batch, by more than clocks differ.

    Local times without a zone repeat an hour each autumn.
    """
    return begins is not None and last_at < begins - AHEAD


def newest_batch(session: Session, project_id: int) -> int:
    """Id of the project's newest batch, undone or not; 0 without one."""
    return session.scalar(select(func.max(Batch.id)).where(Batch.project_id == project_id)) or 0


def refuse_seen(ws: Workspace, project: ProjectInfo, digest: str, ids: list[str] | None) -> int:
    """Refuse rows that are already stored; returns the newest batch that was checked."""
    with ws.database.read() as session:
        newest = newest_batch(session, project.id)
        _refuse_twin(session, project.id, digest)
    if ids is not None and project.schema is not None:
        places = history.locate(ws, project.id, set(ids))
        if places:
            raise _known_ids(ws, *places[0], sum(len(at) for _, at in places))
    return newest


def _refuse_newer(ws: Workspace, session: Session, project_id: int, known: int, ids: list[str] | None) -> None:
    """As `refuse_seen`, for batches that another call has stored since: inside the transaction that stores this one.

    Their files are read while other writers wait, so `known` has to be recent.
    """
    if ids is None:
        return
    own = Batch.project_id == project_id
    for batch in session.scalars(select(Batch).where(own, Batch.id > known, Batch.undone_at.is_(None))):
        wanted = set(ids)
        at = [i for i, stored in enumerate(history.read_rows(ws, batch, [ROW_ID])[ROW_ID]) if stored in wanted]
        if at:
            raise _known_ids(ws, batch, at, len(at))


def _refuse_twin(session: Session, project_id: int, digest: str) -> None:
    twin = session.scalar(
        select(Batch).where(Batch.project_id == project_id, Batch.digest == digest, Batch.undone_at.is_(None)).limit(1)
    )
    if twin is not None:
        raise Conflict(
            f"The same rows are already stored as batch {twin.number} ({twin.origin}). If they are new rows that happen to be "
            "equal, send them with row ids or a time column; if they should replace the stored ones, undo that batch first."
        )


def _known_ids(ws: Workspace, batch: Batch, at: list[int], n: int) -> Conflict:
    some = history.read_rows(ws, batch, [ROW_ID])[ROW_ID].iloc[at[:3]]
    return Conflict(
        f"{n:,} row ids are already stored, e.g. {', '.join(repr(i) for i in some)} in batch {batch.number} ({batch.origin}). "
        "Send labels of stored rows as labels, give new rows new ids, or undo that batch."
    )


def _free_number(ws: Workspace, project: ProjectInfo, number: int, n: int) -> int:
    """The first batch number from `number` on whose generated ids are unused: a user's ids may have that form, too."""
    if project.schema is None:
        return number
    while history.locate(ws, project.id, {f"b{number}-{i}" for i in range(n)}):
        number += 1
    return number
