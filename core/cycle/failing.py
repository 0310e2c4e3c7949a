"""Cycles without effect: failed, overtaken, interrupted by the end of their process, or of a deleted project.

Each leaves a failed audit row with a readable reason; its evidence stays new.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from loguru import logger
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from core.errors import ContinualError, NotFound, Overtaken, StorageError
from core.records import ProjectInfo
from core.services.automation import attempts
from core.services.incidents import notify
from core.services.projects import projects
from core.storage import documents, queries
from core.storage.tables import Cycle
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace

_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\":,;]+){2,}[\\/]?")
_CAUSE_CHARS = 200


def cause_of(error: Exception, *, step: str = "") -> str:
    """Why something failed, as a readable sentence: our own errors verbatim, others by class and first line.

    `Measuring the new rows failed: ValueError: Input y contains infinity.` Paths of the machine are removed.
    """
    if isinstance(error, ContinualError):
        return str(error)
    trouble = trouble_of(error)
    if trouble is not None:
        return f"{step} failed: {trouble.text}" if step else trouble.text
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    first = _PATH.sub("a file", first)
    first = first if len(first) <= _CAUSE_CHARS else first[: _CAUSE_CHARS - 1].rstrip() + "…"
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    text = f"{step} failed: {text}" if step else text
    return text if text.endswith((".", "…", "!", "?")) else f"{text}."


def fail_cycle(
    ws: Workspace, project: ProjectInfo, cycle_id: int, error: Exception, *, step: str, now: datetime, seconds: float
) -> None:
    """Record a cycle that raised. Its evidence stays new, but is checked again only when something else arrives."""
    cause = cause_of(error, step=step)
    if isinstance(error, StorageError) or trouble_of(error) is not None:
        logger.error("the cycle failed: {cause}", cause=cause)
    else:
        logger.opt(exception=error).error("the cycle failed")
    try:
        _record_failed(ws, project, cycle_id, cause, now=now, seconds=seconds)
    except (SQLAlchemyError, OSError) as later:  # the next cycle records it as interrupted
        if trouble_of(later) is None:
            raise
        logger.warning("the failed cycle was not recorded: {cause}", cause=cause_of(later))


def _record_failed(
    ws: Workspace, project: ProjectInfo, cycle_id: int, cause: str, *, now: datetime, seconds: float
) -> None:
    with ws.database.write() as session:
        row = session.get_one(Cycle, cycle_id)
        row.status, row.outcome, row.finished_at, row.seconds, row.error = (
            "failed",
            "failed",
            now + timedelta(seconds=seconds),
            seconds,
            cause,
        )
        owner = queries.project_row(session, project.id)
        owner.checked_news, owner.checked_at = owner.news, now
        owner.labels_checked = queries.newest_label_id(session, project.id)
        attempts.reset_attempts(session, project.id)
        session.flush()
        session.refresh(row)
        notify.enqueue(ws, session, documents.cycle_from(row), now)


def end_overtaken(ws: Workspace, cycle_id: int, error: Overtaken, *, now: datetime) -> None:
    """Close the audit row of an overtaken cycle; its evidence stays new."""
    with ws.database.write() as session:
        row = session.get_one(Cycle, cycle_id)
        if row.status == "running":
            row.status, row.outcome, row.finished_at, row.error = "failed", "failed", now, str(error)


def end_if_deleted(ws: Workspace, project_id: int, error: Exception) -> None:
    """If the project was deleted during its cycle, remove the files that the cycle has written since.

    Raises:
        NotFound: the project was deleted.
    """
    with ws.database.read() as session:
        exists = queries.is_there(session, project_id)
    if not exists:
        projects.remove_files(ws, project_id)
        raise NotFound("The project was deleted while this check ran. Nothing of the check was kept.") from error


def close_interrupted(ws: Workspace, project_id: int, now: datetime) -> None:
    """Mark cycles whose process ended before them as failed; their evidence stays new."""
    with ws.database.write() as session:
        for row in session.scalars(select(Cycle).where(Cycle.project_id == project_id, Cycle.status == "running")):
            row.status, row.outcome, row.finished_at = "failed", "failed", now
            row.error = (
                "The process ended in the middle of this cycle. Nothing of it was kept; the next cycle measures the "
                "same rows."
            )
