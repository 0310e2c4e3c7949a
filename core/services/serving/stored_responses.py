"""Responses stored for a day under their request's Idempotency-Key, so that a repeated request gets the same one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.storage.tables import StoredResponseRow
from core.storage.workspace import Workspace

RETENTION = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response of a request with an Idempotency-Key."""

    project_id: int
    key: str
    fingerprint: str
    status: int
    body: bytes
    created_at: datetime


def stored_response(ws: Workspace, project_id: int, key: str) -> StoredResponse | None:
    """The stored response for this key."""
    statement = select(StoredResponseRow).where(
        StoredResponseRow.project_id == project_id, StoredResponseRow.key == key
    )
    with ws.database.read() as session:
        row = session.scalar(statement)
        return (
            None
            if row is None
            else StoredResponse(project_id, key, row.fingerprint, row.status, row.body, row.created_at)
        )


def store_response(session: Session, response: StoredResponse) -> None:
    """Store a response in the transaction of its changes: of two equal requests at once, one fails as a whole."""
    session.add(
        StoredResponseRow(
            project_id=response.project_id,
            key=response.key,
            fingerprint=response.fingerprint,
            status=response.status,
            body=response.body,
            created_at=response.created_at,
        )
    )
