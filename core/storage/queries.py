"""Shared reads over the tables. A function takes the session first and neither opens nor commits one."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, defer

from core import records
from core.data.contract import schema_from_document
from core.data.problems import from_document
from core.errors import NotFound
from core.learning.policy import policy_from_document
from core.records import BatchInfo, ProjectInfo
from core.storage.tables import AuditEntry, Batch, BatchIds, Cycle, Label, ModelEvent, Prediction, Project

CHUNK = 500  # values in one IN (...)
HASHES_AT_ONCE = 250  # batches
RACES = 1_000  # newest races that the daily budget is counted from
# Nothing is put off further than this. A later instant was written by a clock that was ahead: it counts as come.
LONGEST_PAUSE = timedelta(hours=1)
SEAL_ROWS = 500  # logged rows that are worth a batch of their own
SEAL_AGE = timedelta(minutes=10)  # older ones are sealed whatever their number


def project_row(session: Session, project_id: int) -> Project:
    """The project's row; NotFound when it was deleted."""
    row = session.get(Project, project_id)
    if row is None:
        raise NotFound(f"There is no project with id {project_id}; it may have been deleted.")
    return row


def champion_of(session: Session, project_id: int) -> int | None:
    """Version that serves: the one that the newest serving event names."""
    return session.scalar(
        select(ModelEvent.version).where(ModelEvent.project_id == project_id).order_by(ModelEvent.id.desc()).limit(1)
    )


MODEL_GIVEN_UP = "model given up"


def given_up(session: Session) -> set[tuple[int, int]]:
    """Project and version of the models whose artefacts were found damaged and given up by a repair."""
    entries = session.scalars(select(AuditEntry).where(AuditEntry.what == MODEL_GIVEN_UP))
    return {(e.project_id, int((e.after or {})["version"])) for e in entries if e.project_id is not None}


def first_champion_of(session: Session, project_id: int) -> int | None:
    """Version that served first: the yardstick "never retrained"."""
    return session.scalar(
        select(ModelEvent.version).where(ModelEvent.project_id == project_id).order_by(ModelEvent.id).limit(1)
    )


def races(session: Session, project_id: int) -> list[tuple[datetime, bool]]:
    """When the newest races were and whether somebody had asked for them, oldest first."""
    rows = session.execute(
        select(Cycle.started_at, Cycle.firings)
        .where(Cycle.project_id == project_id, Cycle.decision == "retrain", Cycle.status == "done")
        .order_by(Cycle.id.desc())
        .limit(RACES)
    ).all()
    return [(row.started_at, any(f["trigger"] == "by_hand" for f in row.firings or ())) for row in rows[::-1]]


def project_info(session: Session, row: Project) -> ProjectInfo:
    """A project's record."""
    schema = schema_from_document(row.schema) if row.schema else None
    return ProjectInfo(
        id=row.id,
        slug=row.slug,
        name=row.name,
        source=row.source,
        task=schema.task if schema else row.task,
        schema=schema,
        policy=policy_from_document(row.policy),
        created_at=row.created_at,
        paused=row.paused,
        rows=row.rows,
        labelled=row.labelled,
        champion=champion_of(session, row.id),
        clock_at=row.clock_at,
        checked_at=row.checked_at,
        generator=row.generator,
        shadow=row.shadow_version,
    )


def batch_info(row: Batch) -> BatchInfo:
    """A batch's record."""
    return BatchInfo(
        id=row.id,
        number=row.number,
        origin=row.origin,
        rows=row.rows,
        labelled=row.labelled,
        first_at=row.first_at,
        last_at=row.last_at,
        created_at=row.created_at,
        sha256=row.sha256,
        backfill=row.backfill,
        undone=row.undone_at is not None,
        problems=tuple(map(from_document, row.problems or ())),
    )


B = TypeVar("B", bound=Any)  # a manifest row, or its columns id, backfill and last_at


def stored_batches(
    session: Session, project_id: int, *, newest_first: bool = True, only: Collection[int] | None = None
) -> list[Batch]:
    """Batches that count (not undone), in stream order; without their profiles, which are most of a manifest.

    Args:
        only: ids of the wanted ones; the order is that of all.
    """
    own = and_(Batch.project_id == project_id, Batch.undone_at.is_(None))
    statement = select(Batch).where(own).options(defer(Batch.profile))
    if only is None:
        ordered = in_stream_order(session.scalars(statement).all())
    else:
        ids = list(only)
        parts = [statement.where(Batch.id.in_(ids[i : i + CHUNK])) for i in range(0, len(ids), CHUNK)]
        by_id = {batch.id: batch for part in parts for batch in session.scalars(part)}
        order = list(by_id)
        if len(by_id) > 1:
            every = session.execute(select(Batch.id, Batch.backfill, Batch.last_at).where(own))
            order = [row.id for row in in_stream_order(every)]
        ordered = [by_id[i] for i in order if i in by_id]
    return ordered[::-1] if newest_first else ordered


def made_batches(session: Session, project_id: int, numbers: Sequence[int]) -> list[Batch]:
    """Of the batches with these numbers those that count and whose row ids were made."""
    own = and_(Batch.project_id == project_id, Batch.undone_at.is_(None), Batch.ids_from_user.is_(False))
    found: list[Batch] = []
    for i in range(0, len(numbers), CHUNK):
        some = select(Batch).where(own, Batch.number.in_(numbers[i : i + CHUNK]))
        found += session.scalars(some.options(defer(Batch.profile)))
    return found


def in_stream_order(batches: Iterable[B]) -> list[B]:
    """Batches in the order of their arrival, oldest first; a backfill stands where its instants belong."""
    batches = list(batches)
    arrived = sorted((b for b in batches if not b.backfill), key=lambda b: b.id)
    for filled in sorted((b for b in batches if b.backfill), key=lambda b: (b.last_at, b.id)):
        at = next((i for i, b in enumerate(arrived) if b.last_at > filled.last_at), len(arrived))
        arrived.insert(at, filled)
    return arrived


def newest_start(session: Session, project_id: int, *, now: datetime, before: int | None = None) -> datetime | None:
    """When the newest batch of rows with their own instants begins: what ends before it is a backfill.

    Args:
        now: when the rows in question arrived.
        before: the batch that holds them, when it is stored already.

    An instant counts at most as late as it arrived. A batch that arrived later than one that came after it, or than `now`,
    was stored by a clock that was set back since: its instants tell nothing, and it is passed over.
    """
    counts = and_(Batch.timed, Batch.backfill.is_(False))
    statement = select(Batch.id, Batch.first_at, Batch.created_at, counts).where(
        Batch.project_id == project_id, Batch.undone_at.is_(None)
    )
    if before is not None:
        statement = statement.where(Batch.id < before)
    found, arrived = None, now
    for _, first, created, is_timed in sorted(session.execute(statement), key=lambda row: -row[0]):  # newest first
        if created > arrived:
            continue
        arrived = created
        if found is not None and arrived <= found:  # so did all that are older
            break
        if is_timed:
            begins = min(first, created)
            found = begins if found is None else max(found, begins)
    return found


def labels_by_row(
    session: Session, project_id: int, row_ids: Iterable[str] | None = None, *, after: int = 0
) -> dict[str, tuple[records.Label, int, datetime]]:
    """Newest label of each row id that is not undone: value, label id, instant. `row_ids` None = all labels with an id above `after`."""
    found: dict[str, tuple[records.Label, int, datetime]] = {}
    statement = select(Label.row_id, Label.value, Label.id, Label.created_at).where(
        Label.project_id == project_id, Label.undone_at.is_(None)
    )
    if row_ids is None:
        statements = [statement.where(Label.id > after).order_by(Label.id)]
    else:  # neither bound nor order by the id here: SQLite would walk all labels instead of looking up the rows
        ids = list(row_ids)
        statements = [statement.where(Label.row_id.in_(ids[i : i + CHUNK])) for i in range(0, len(ids), CHUNK)]
    for one in statements:
        for row_id, value, label_id, created_at in sorted(session.execute(one).all(), key=lambda row: row[2]):
            if label_id > after:
                found[row_id] = (json.loads(value), label_id, created_at)
    return found


def has_labels(session: Session, project_id: int) -> bool:
    """Whether any label of this project came by row id and is not undone."""
    there = select(Label.id).where(Label.project_id == project_id, Label.undone_at.is_(None)).limit(1)
    return session.scalar(there) is not None


def label_count(session: Session, project_id: int, *, at_most: int) -> int:
    """How many labels came by row id, undone ones included; no more than that many are counted."""
    some = select(Label.id).where(Label.project_id == project_id).limit(at_most).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def id_hashes(session: Session, project_id: int) -> Iterator[list[tuple[int, bytes | None]]]:
    """Each batch that counts and the hashes of its row ids, where they are stored, some batches at a time."""
    statement = select(Batch.id, BatchIds.hashes).outerjoin(BatchIds, BatchIds.batch_id == Batch.id)
    own = statement.where(Batch.project_id == project_id, Batch.undone_at.is_(None))
    for some in session.connection().execute(own).partitions(HASHES_AT_ONCE):
        yield [(batch_id, kept) for batch_id, kept in some]


def with_own_ids(session: Session, batch_ids: Sequence[int]) -> list[Batch]:
    """Of these batches those whose row ids are the sender's."""
    found: list[Batch] = []
    for i in range(0, len(batch_ids), CHUNK):
        some = select(Batch).where(Batch.id.in_(batch_ids[i : i + CHUNK]), Batch.ids_from_user)
        found += session.scalars(some.options(defer(Batch.profile)))
    return found


def newest_label_id(session: Session, project_id: int) -> int:
    """Highest label id, undone ones included; 0 when there is none."""
    return session.scalar(select(func.max(Label.id)).where(Label.project_id == project_id)) or 0


def logged_count(session: Session, project_id: int) -> int:
    """Rows in the prediction log that are not sealed yet."""
    return session.scalar(select(func.sum(Prediction.rows)).where(Prediction.unsealed(project_id))) or 0


def first_labels(session: Session, project_id: int, row_ids: Sequence[str]) -> dict[str, int]:
    """Id of the first label that each row ever got, undone ones left out."""
    found: dict[str, int] = {}
    for i in range(0, len(row_ids), CHUNK):
        statement = (
            select(Label.row_id, func.min(Label.id))
            .where(
                Label.project_id == project_id,
                Label.row_id.in_(row_ids[i : i + CHUNK]),
                Label.undone_at.is_(None),
            )
            .group_by(Label.row_id)
        )
        found.update(session.execute(statement).all())
    return found


def is_there(session: Session, project_id: int) -> bool:
    """Whether the project exists."""
    return session.scalar(select(Project.id).where(Project.id == project_id)) is not None


def has_come(instant: InstrumentedAttribute[datetime | None], now: datetime) -> ColumnElement[bool]:
    """The condition that a stored instant has come, or was written by a clock that was ahead of this one."""
    return or_(instant <= now, instant > now + LONGEST_PAUSE)
