"""The audit trail for display: what was changed, by whom and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from core.records import JsonObject
from core.storage import audit as audit_log
from core.storage.tables import AuditEntry
from core.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditInfo:
    """One entry of the audit trail: who changed what outside the cycles."""

    id: int
    at: datetime
    who: str
    what: str
    project_id: int | None
    before: JsonObject | None
    after: JsonObject | None


def audit(
    ws: Workspace,
    who: str,
    what: str,
    project_id: int | None,
    before: JsonObject | None,
    after: JsonObject | None,
    now: datetime,
) -> None:
    """Add an entry for an action without a stored change, such as a download."""
    with ws.database.write() as session:
        audit_log.record(session, who=who, what=what, project_id=project_id, before=before, after=after, now=now)


def audit_entries(ws: Workspace, limit: int = 50, offset: int = 0) -> tuple[list[AuditInfo], int]:
    """One page of the audit trail, newest first, and the total number of entries."""
    with ws.database.read() as session:
        total = session.scalar(select(func.count()).select_from(AuditEntry)) or 0
        rows = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit).offset(offset))
        entries = [
            AuditInfo(
                id=row.id,
                at=row.at,
                who=row.who,
                what=row.what,
                project_id=row.project_id,
                before=row.before,
                after=row.after,
            )
            for row in rows
        ]
    return entries, total
