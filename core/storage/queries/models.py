"""Which version serves, served first, or was given up."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.storage.tables import AuditEntry, ModelEvent

MODEL_GIVEN_UP = "model given up"


def champion_of(session: Session, project_id: int) -> int | None:
    """Version that serves: the one that the newest serving event names."""
    return session.scalar(
        select(ModelEvent.version).where(ModelEvent.project_id == project_id).order_by(ModelEvent.id.desc()).limit(1)
    )


def first_champion_of(session: Session, project_id: int) -> int | None:
    """Version that served first: the yardstick "never retrained"."""
    return session.scalar(
        select(ModelEvent.version).where(ModelEvent.project_id == project_id).order_by(ModelEvent.id).limit(1)
    )


def given_up(session: Session) -> set[tuple[int, int]]:
    """Project and version of the models whose damaged artefacts a repair gave up."""
    entries = session.scalars(select(AuditEntry).where(AuditEntry.what == MODEL_GIVEN_UP))
    return {(e.project_id, int((e.after or {})["version"])) for e in entries if e.project_id is not None}
