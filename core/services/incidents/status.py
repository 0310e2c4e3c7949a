"""The reads of probes and of the API's routing, one or two queries each: projects, champions, heartbeat. No pandas, no model.

A health check must answer in milliseconds in a process that has just started, so these few reads are separate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core.storage.tables import Heartbeat, ModelEvent, Project
from core.storage.workspace import Workspace

ROOT_SLUG = "default"
SCHEDULER = "scheduler"
MISSED_BEATS = 3
AHEAD_S = 60.0  # a heartbeat further in the future shows that a clock was set back, not that a scheduler runs
DATABASE_DOWN = "The database is unavailable."
SCHEDULER_LATE = "The scheduler has sent no heartbeat for more than three intervals."
CLOCK_SET_BACK = (
    "The scheduler's last heartbeat is in the future: the clock was set back, or two machines disagree on the time."
)
MODEL_LOADING = "The serving model is being loaded."
MODEL_DAMAGED = "The serving model cannot be loaded."
CHECKS_STOPPED = "The checks of a project are suspended: they ended their worker too often. `doctor` shows which."


@dataclass(frozen=True, slots=True)
class ProjectRef:
    """A project's id and slug, without the rest of its record."""

    id: int
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the installation is healthy, for probes."""

    status: Literal["ok", "degraded", "down"]
    reason: str | None  # one of the texts above
    database: Literal["ok", "down"]
    model_version: int | None
    scheduler_age_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The scheduler's state, by its last heartbeat."""

    state: Literal["never", "ahead", "late", "alive"]  # ahead: the heartbeat is in the future
    age_s: float = 0.0  # since the heartbeat, or until it if it is in the future
    next_s: float = 0.0  # until the next check, if it is alive


def project_refs(ws: Workspace) -> list[ProjectRef]:
    """Every project, oldest first."""
    with ws.database.read() as session:
        return [ProjectRef(*row) for row in session.execute(select(Project.id, Project.slug).order_by(Project.id))]


def root_project(projects: list[ProjectRef]) -> ProjectRef | None:
    """The project that the API's root addresses: `default` if it exists, else the only one."""
    named = next((p for p in projects if p.slug == ROOT_SLUG), None)
    return named or (projects[0] if len(projects) == 1 else None)


def champions(session: Session) -> dict[int, int]:
    """Project id -> serving version."""
    newest = select(func.max(ModelEvent.id)).group_by(ModelEvent.project_id)
    rows = session.execute(select(ModelEvent.project_id, ModelEvent.version).where(ModelEvent.id.in_(newest)))
    return dict(rows.all())


def scheduler_age(session: Session, now: datetime) -> float | None:
    """Seconds since the scheduler's last heartbeat; None if there never was one.

    Negative if it is more than AHEAD_S in the future: then it does not show whether a scheduler runs.
    """
    at = session.scalar(select(Heartbeat.at).where(Heartbeat.name == SCHEDULER))
    age = None if at is None else (now - at).total_seconds()
    return age if age is None or age < -AHEAD_S else max(age, 0.0)


def is_late(age: float, interval_s: float) -> bool:
    """Whether a heartbeat of that age is unhealthy: older than three intervals, or in the future."""
    return age < 0 or age > MISSED_BEATS * interval_s


def beat(ws: Workspace, now: datetime) -> Beat:
    """Whether a scheduler runs here, and when it checks next."""
    with ws.database.read() as session:
        age = scheduler_age(session, now)
    interval = ws.settings.check_interval_s
    if age is None:
        return Beat(state="never")
    if age < 0:
        return Beat(state="ahead", age_s=-age)
    if is_late(age, interval):
        return Beat(state="late", age_s=age)
    return Beat(state="alive", age_s=age, next_s=max(interval - age, 0.0))


def health(ws: Workspace, slug: str | None, now: datetime, *, damaged: Callable[[int], bool]) -> Health:
    """The current state. No trained model yet, or a scheduler that has never run here, counts as healthy.

    Args:
        slug: the project whose model is reported; None = the root's.
        damaged: whether this process has failed to load the champion of a project id.
    """
    if not _database_file_is_there(ws):
        return down()
    try:
        with ws.database.read() as session:
            projects = [
                ProjectRef(*row) for row in session.execute(select(Project.id, Project.slug).order_by(Project.id))
            ]
            serving = champions(session)
            age = scheduler_age(session, now)
            stopped = session.scalar(select(Project.id).where(Project.checks_stopped_at.is_not(None)).limit(1))
    except SQLAlchemyError:
        return down()
    project = root_project(projects) if slug is None else next((p for p in projects if p.slug == slug), None)
    reason = None
    if age is not None and is_late(age, ws.settings.check_interval_s):
        reason = CLOCK_SET_BACK if age < 0 else SCHEDULER_LATE
    elif any(damaged(p.id) for p in projects):
        reason = MODEL_DAMAGED
    elif stopped is not None:
        reason = CHECKS_STOPPED
    return Health(
        status="ok" if reason is None else "degraded",
        reason=reason,
        database="ok",
        model_version=serving.get(project.id) if project else None,
        scheduler_age_seconds=None if age is None else round(age, 3),
    )


def down() -> Health:
    """What is reported while the database is unavailable."""
    return Health(status="down", reason=DATABASE_DOWN, database="down", model_version=None, scheduler_age_seconds=None)


def _database_file_is_there(ws: Workspace) -> bool:
    """Whether the database file is gone: an open connection would continue to read a removed file."""
    if not ws.database.is_sqlite:
        return True
    path = make_url(ws.database.url).database
    return path is not None and Path(path).is_file()
