"""Stored batches: which count, in which order, and when the newest began."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, defer

from core.data.problems import from_document
from core.records import BatchInfo
from core.storage.queries.common import CHUNK
from core.storage.tables import Batch, BatchIds

HASHES_AT_ONCE = 2**20  # bytes: many small batches or a few large ones
B = TypeVar("B", bound=Any)  # a manifest row, or its columns id, backfill and last_at


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

    An instant counts at most as late as it arrived. A batch that arrived later than one stored after it, or than `now`,
    was stored by a clock that has been set back since: its instants mean nothing, and it is skipped.
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


def id_hashes(session: Session, project_id: int) -> Iterator[list[tuple[int, bytes | None]]]:
    """Each batch that counts and the hashes of its row ids, where they are stored, some batches at a time."""
    statement = select(Batch.id, BatchIds.hashes).outerjoin(BatchIds, BatchIds.batch_id == Batch.id)
    own = statement.where(Batch.project_id == project_id, Batch.undone_at.is_(None))
    some: list[tuple[int, bytes | None]] = []
    size = 0
    for batch_id, kept in session.connection().execute(own):
        some.append((batch_id, kept))
        size += len(kept or b"")
        if size >= HASHES_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def with_own_ids(session: Session, batch_ids: Sequence[int]) -> list[Batch]:
    """Of these batches those whose row ids are the sender's."""
    found: list[Batch] = []
    for i in range(0, len(batch_ids), CHUNK):
        some = select(Batch).where(Batch.id.in_(batch_ids[i : i + CHUNK]), Batch.ids_from_user)
        found += session.scalars(some.options(defer(Batch.profile)))
    return found
