"""The trail of who changed what outside the cycles; written in the transaction of the change itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.records import JsonObject
from core.storage.tables import AuditEntry


def record(
    session: Session,
    *,
    who: str,
    what: str,
    now: datetime,
    project_id: int | None = None,
    before: JsonObject | None = None,
    after: JsonObject | None = None,
) -> None:
    """Add one entry. `before` and `after` hold no secret."""
    session.add(AuditEntry(at=now, who=who, what=what, project_id=project_id, before=before, after=after))
