"""What probes and the API's routing ask, in a query or two each: projects, champions, heartbeat. No pandas, no model.

A health check must answer in milliseconds in a process that has just started, so these few reads stand alone here.
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
AHEAD_S = 60.0  # a beat further in the future tells of a clock that was set back, and of no scheduler
DATABASE_DOWN = "The database is out of reach."
SCHEDULER_LATE = "The scheduler has not been heard of for more than three intervals."
CLOCK_SET_BACK = (
    "The scheduler's last heartbeat lies in the future: the clock was set back, or two machines disagree on the time."
)
MODEL_LOADING = "The model that answers is being loaded."
MODEL_DAMAGED = "The model that should answer cannot be loaded."
CHECKS_STOPPED = "The checks of a project are set aside: they ended their worker too often. `doctor` names it."


@dataclass(frozen=True, slots=True)
class ProjectRef:
    """A project's id and slug, without the rest of its record."""

    id: int
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the installation is well, as probes see it."""

    status: Literal["ok", "degraded", "down"]
    reason: str | None  # one of the sentences above
    database: Literal["ok", "down"]
    model_version: int | None
    scheduler_age_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What the scheduler's last heartbeat tells of it."""

    state: Literal["never", "ahead", "late", "alive"]  # ahead: the beat lies in the future
    age_s: float = 0.0  # since the beat, or until it where it lies ahead
    next_s: float = 0.0  # until the next check, of one that is alive


def project_refs(ws: Workspace) -> list[ProjectRef]:
    """Every project, oldest first."""
    with ws.database.read() as session:
        return [ProjectRef(*row) for row in session.execute(select(Project.id, Project.slug).order_by(Project.id))]


def root_project(projects: list[ProjectRef]) -> ProjectRef | None:
    """The project that the API's root stands for: `default` where it exists, else the only one."""
    named = next((p for p in projects if p.slug == ROOT_SLUG), None)
    return named or (projects[0] if len(projects) == 1 else None)


def champions(session: Session) -> dict[int, int]:
    """Project id -> version that serves."""
    newest = select(func.max(ModelEvent.id)).group_by(ModelEvent.project_id)
    rows = session.execute(select(ModelEvent.project_id, ModelEvent.version).where(ModelEvent.id.in_(newest)))
    return dict(rows.all())


def scheduler_age(session: Session, now: datetime) -> float | None:
    """Seconds since the scheduler's last beat; None when there never was one.

    Negative when the beat lies more than AHEAD_S in the future: then it tells nothing of whether a scheduler lives.
    """
    at = session.scalar(select(Heartbeat.at).where(Heartbeat.name == SCHEDULER))
    age = None if at is None else (now - at).total_seconds()
    return age if age is None or age < -AHEAD_S else max(age, 0.0)


def is_late(age: float, interval_s: float) -> bool:
    """Whether a scheduler of that age is not well: three intervals without a beat, or a beat in the future."""
    return age < 0 or age > MISSED_BEATS * interval_s


def beat(ws: Workspace, now: datetime) -> Beat:
    """Whether a scheduler lives here, and when it looks next."""
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
    """The state now. Nothing trained yet, or a scheduler that never ran here, is well.

    Args:
        slug: the project whose model is told; None = the root's.
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
    """What is told while the database does not answer."""
    return Health(status="down", reason=DATABASE_DOWN, database="down", model_version=None, scheduler_age_seconds=None)


def _database_file_is_there(ws: Workspace) -> bool:
    """An open connection would go on reading a file that somebody has removed."""
    if not ws.database.is_sqlite:
        return True
    path = make_url(ws.database.url).database
    return path is not None and Path(path).is_file()
