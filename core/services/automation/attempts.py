"""Attempts of scheduled checks: which projects' checks have ended their worker too often to be started again.

A check that ends its process (out of memory, out of time) leaves no record. So an attempt is counted before it starts
and uncounted when it ends, whatever its result; attempts that stay counted have killed their worker.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from core.services.incidents import notify
from core.storage import audit, queries
from core.storage.tables import Project
from core.storage.workspace import Workspace

MAX_ATTEMPTS = 3
STOPPED = (
    "The check has ended its worker {n} times in a row without an error message: most likely it ran out of memory, or took longer "
    "than CONTINUAL_CYCLE_TIMEOUT_SECONDS. It is retried when new rows or labels arrive, or when somebody requests a check. "
    "Give the machine more memory or the check more time, or choose a policy with fewer families or smaller windows."
)


def begin_check(ws: Workspace, project_id: int, now: datetime) -> bool:
    """Count a check that is about to start; False if the last MAX_ATTEMPTS ended their worker: the checks are suspended then.

    Data that is new by now counts as checked, so only later data or a person starts another attempt: one, until one completes.
    """
    with ws.database.write() as session:
        row = session.get(Project, project_id)
        if row is None:
            return False
        row.turn_at = now
        newest = queries.newest_label_id(session, project_id)
        nothing_new = row.checked_news == row.news and row.labels_checked >= newest
        if row.check_attempts >= MAX_ATTEMPTS and (row.checks_stopped_at is None or nothing_new):
            _stop(ws, session, row, now)
            return False
        if row.checks_stopped_at is not None:
            row.checked_news, row.labels_checked = row.news, newest
        row.check_attempts += 1
        return True


def _stop(ws: Workspace, session: Session, row: Project, now: datetime) -> None:
    row.checked_news, row.labels_checked = row.news, queries.newest_label_id(session, row.id)
    if row.checks_stopped_at is None:
        row.checks_stopped_at = now
        text = STOPPED.format(n=row.check_attempts)
        audit.record(session, who="worker", what="checks set aside", project_id=row.id, after={"why": text}, now=now)
        notify.enqueue_event(ws, session, "failed", row.id, text, now, headline="checks suspended")


def end_check(ws: Workspace, project_id: int) -> None:
    """Reset the count: a check completed with its worker alive, whatever its result."""
    with ws.database.write() as session:
        reset_attempts(session, project_id)


def reset_attempts(session: Session, project_id: int) -> None:
    """The same in the transaction of the check itself."""
    session.execute(update(Project).where(Project.id == project_id).values(check_attempts=0, checks_stopped_at=None))


def uncount_check(ws: Workspace, project_id: int) -> None:
    """Uncount one attempt that says nothing about the project: another process was working on it, or the worker was stopped."""
    with ws.database.write() as session:
        session.execute(
            update(Project)
            .where(Project.id == project_id, Project.check_attempts > 0)
            .values(check_attempts=Project.check_attempts - 1)
        )
