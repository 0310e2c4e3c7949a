"""Responses stored for a day under their request's Idempotency-Key, so that a repeated request gets the same one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.storage.tables import KeptAnswer
from core.storage.workspace import Workspace

KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored response of a request with an Idempotency-Key."""

    project_id: int
    key: str
    fingerprint: str
    status: int
    body: bytes
    created_at: datetime


def kept_answer(ws: Workspace, project_id: int, key: str) -> Kept | None:
    """The stored response for this key."""
    statement = select(KeptAnswer).where(KeptAnswer.project_id == project_id, KeptAnswer.key == key)
    with ws.database.read() as session:
        row = session.scalar(statement)
        return None if row is None else Kept(project_id, key, row.fingerprint, row.status, row.body, row.created_at)


def keep_answer(session: Session, kept: Kept) -> None:
    """Store a response in the transaction of its changes: of two equal requests at once, one fails as a whole."""
    session.add(
        KeptAnswer(
            project_id=kept.project_id,
            key=kept.key,
            fingerprint=kept.fingerprint,
            status=kept.status,
            body=kept.body,
            created_at=kept.created_at,
        )
    )
