"""Provenance of a version: the batches it could learn from, the cycle that made it, which champion it faced. And the
champion's memory of past regimes. Reads only; versions are created and chosen by `lifecycle` and the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import defer

from core.errors import NotFound
from core.records import BatchInfo, Clause, Memory, ProjectInfo, Verdict, from_document
from core.storage import documents, queries, registry
from core.storage.tables import Batch, Cycle, ModelEvent, ModelRow
from core.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The cycle that made a version, and the champion it faced."""

    version: int
    cycle_id: int | None  # cycle that made it; None for an import
    cycle_at: datetime | None
    policy: str | None  # name of the policy at that time
    outcome: str | None  # of that cycle
    raced_against: int | None  # champion of that cycle; None for the first model and for an import
    replaced: int | None  # version it replaced when it last became champion; None if it never did, or was the first
    replaced_at: datetime | None  # when it last became champion
    verdict: Verdict | None  # of that cycle

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """The verdict's clauses; empty if there was no verdict."""
        return self.verdict.clauses if self.verdict is not None else ()

    @property
    def decided(self) -> tuple[int, int]:
        """How many clauses decided, and how many of these were passed."""
        deciding = [clause.passed for clause in self.clauses if clause.decides]
        return len(deciding), sum(deciding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The newest evaluation of what the champion remembers of past regimes."""

    memory: Memory
    cycle_id: int
    at: datetime
    version: int | None  # version that served after that cycle

    @property
    def rows(self) -> int:
        """Rows of all regimes on which it was evaluated."""
        return sum(regime.n for regime in self.memory.regimes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The totals of several batches."""

    rows: int
    first_at: datetime
    last_at: datetime


def batches_of(ws: Workspace, project: ProjectInfo, version: int) -> list[BatchInfo]:
    """The stored batches that a version could learn from, in stream order; those undone since are marked.

    Batches that are no longer stored are left out; an imported version has none.

    Raises:
        NotFound: no such version.
    """
    with ws.database.read() as session:
        registry.get_version(session, project.id, version)
        ids = session.scalar(
            select(ModelRow.batch_ids).where(ModelRow.project_id == project.id, ModelRow.version == version)
        )
        if not ids:
            return []
        learnt = set(ids)
        # Between the ends and not by a list of ids: there may be more of them than a statement takes.
        rows = session.scalars(
            select(Batch)
            .where(Batch.project_id == project.id, Batch.id.between(min(learnt), max(learnt)))
            .order_by(Batch.number)
            .options(defer(Batch.profile))
        )
        return [queries.batch_info(row) for row in rows if row.id in learnt]


def extent(batches: Sequence[BatchInfo]) -> Extent | None:
    """Rows of some batches and their time span; None without batches."""
    if not batches:
        return None
    return Extent(
        rows=sum(batch.rows for batch in batches),
        first_at=min(batch.first_at for batch in batches),
        last_at=max(batch.last_at for batch in batches),
    )


def versions_of(ws: Workspace, project: ProjectInfo, batch_id: int) -> list[int]:
    """Versions that could learn from a batch, oldest first.

    Raises:
        NotFound: the project has no such batch.
    """
    with ws.database.read() as session:
        batch = session.get(Batch, batch_id)
        if batch is None or batch.project_id != project.id:
            raise NotFound(f"Project '{project.slug}' has no batch with the id {batch_id}.")
        made = session.execute(
            select(ModelRow.version, ModelRow.batch_ids)
            .where(ModelRow.project_id == project.id)
            .order_by(ModelRow.version)
        )
        return [version for version, ids in made if batch_id in (ids or ())]


def provenance_of(ws: Workspace, project: ProjectInfo, version: int) -> Provenance:
    """The cycle that made a version, the champion it competed with, and the one it replaced.

    Raises:
        NotFound: no such version.
    """
    with ws.database.read() as session:
        made = registry.get_version(session, project.id, version)
        cycle = session.get(Cycle, made.cycle_id) if made.cycle_id is not None else None
        event = session.scalars(
            select(ModelEvent)
            .where(ModelEvent.project_id == project.id, ModelEvent.version == version)
            .order_by(ModelEvent.id.desc())
            .limit(1)
        ).first()
        report = documents.cycle_from(cycle) if cycle is not None else None
        return Provenance(
            version=version,
            cycle_id=made.cycle_id,
            cycle_at=cycle.started_at if cycle is not None else None,
            policy=(cycle.policy or {}).get("name") if cycle is not None else None,
            outcome=cycle.outcome if cycle is not None else None,
            raced_against=cycle.champion_before if cycle is not None else None,
            replaced=event.replaced if event is not None else None,
            replaced_at=event.at if event is not None else None,
            verdict=report.verdict if report is not None else None,
        )


def newest_memory(ws: Workspace, project: ProjectInfo) -> Remembered | None:
    """What the champion remembered of past regimes at the last evaluation; None before there is a frozen row."""
    with ws.database.read() as session:
        cycle = session.scalars(
            select(Cycle)
            .where(Cycle.project_id == project.id, Cycle.status == "done", Cycle.memory.is_not(None))
            .order_by(Cycle.id.desc())
            .limit(1)
        ).first()
        memory = from_document(Memory, cycle.memory) if cycle is not None and cycle.memory else None
        if cycle is None or memory is None:
            return None
        return Remembered(memory=memory, cycle_id=cycle.id, at=cycle.started_at, version=cycle.champion_after)
