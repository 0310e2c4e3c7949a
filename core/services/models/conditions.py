"""Preconditions of manual changes of versions."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from core.errors import BadInput, Busy, Conflict
from core.records import FeatureSchema, ProjectInfo
from core.storage import leases


def schema_of(project: ProjectInfo) -> FeatureSchema:
    if project.schema is None:
        raise Conflict(f"Project '{project.slug}' has no data yet. Store labelled rows first.")
    return project.schema


def refuse_while_checked(session: Session, project_id: int, what: str) -> None:
    """Refuse during a check: it began before this change, and would overwrite it at its end."""
    if leases.is_held(session, project_id, datetime.now(UTC)):
        raise Busy(f"A check of this project is in progress. {what} when it has finished, in a minute at most.")


def need(reason: str) -> None:
    if not reason.strip():
        raise BadInput("The reason is empty, expected a sentence: the audit shows it with your name. Enter one.")
