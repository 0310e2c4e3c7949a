"""A project's stored data as counts and lists for the pages. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from core.records import CycleReport, ProjectInfo
from core.storage import documents, queries
from core.storage.tables import Batch, Cycle, Project
from core.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """How many batches there are, and how many of them count."""

    batches: int  # batches that count
    undone: int
    with_problems: int  # rows of those batches
    backfilled: int
    first_at: datetime | None  # instant of the oldest row that counts
    last_at: datetime | None


def inventory(ws: Workspace, project_id: int) -> Inventory:
    """Counts over every batch of a project."""
    with ws.database.read() as session:
        columns = select(Batch.undone_at, Batch.backfill, Batch.problems, Batch.first_at, Batch.last_at)
        rows = session.execute(columns.where(Batch.project_id == project_id)).all()
    counted = [row for row in rows if row.undone_at is None]
    return Inventory(
        batches=len(counted),
        undone=len(rows) - len(counted),
        with_problems=sum(bool(row.problems) for row in counted),
        backfilled=sum(row.backfill for row in counted),
        first_at=min((row.first_at for row in counted), default=None),
        last_at=max((row.last_at for row in counted), default=None),
    )


def races(ws: Workspace, project_id: int, *, limit: int = 100) -> list[CycleReport]:
    """The newest cycles that raced candidates, newest first."""
    with ws.database.read() as session:
        statement = select(Cycle).where(
            Cycle.project_id == project_id, Cycle.decision == "retrain", Cycle.candidates.is_not(None)
        )
        rows = session.scalars(statement.order_by(Cycle.id.desc()).limit(limit))
        return [report for report in map(documents.cycle_from, rows) if report.candidates]


def project_names(ws: Workspace) -> dict[int, str]:
    """Names of the projects by id, for tables that span them."""
    with ws.database.read() as session:
        return {row.id: row.name for row in session.execute(select(Project.id, Project.name))}


def cycle_page(ws: Workspace, project_id: int, cycle_id: int, page_rows: int) -> int | None:
    """The page of the list of cycles, newest first, that contains a cycle; None if it belongs to another project."""
    with ws.database.read() as session:
        if session.scalar(select(Cycle.id).where(Cycle.project_id == project_id, Cycle.id == cycle_id)) is None:
            return None
        newer = (
            session.scalar(
                select(func.count()).select_from(Cycle).where(Cycle.project_id == project_id, Cycle.id > cycle_id)
            )
            or 0
        )
    return newer // page_rows + 1


def races_since(ws: Workspace, project_id: int, since: datetime) -> int:
    """Races that count towards the daily budget, excluding manual ones."""
    with ws.database.read() as session:
        return sum(at > since and not by_hand for at, by_hand in queries.races(session, project_id))


def races_left(ws: Workspace, project: ProjectInfo, now: datetime) -> int | None:
    """Races that the policy's budget still allows in the 24 hours ending now; None without a budget."""
    budget = project.policy.races_per_day
    return max(budget - races_since(ws, project.id, now - timedelta(days=1)), 0) if budget else None
