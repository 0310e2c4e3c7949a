"""Changes of people, passwords, roles and tokens: recorded in the audit with the change itself, and in the log with the address."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime

from loguru import logger
from sqlalchemy.orm import Session

from core.records import JsonObject
from core.storage import audit

# Of the visitor whose click this thread handles; the command line has none.
address: ContextVar[str] = ContextVar("address", default="here")


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
    """Add an entry to the audit and to the log; `before` and `after` contain no secrets."""
    audit.record(session, who=who, what=what, now=now, project_id=project_id, before=before, after=after)
    details = "; ".join(f"{key} {value}" for key, value in {**(before or {}), **(after or {})}.items())
    logger.info(
        "{who} from {client}: {what} ({details})",
        who=str(who),
        client=address.get(),
        what=what,
        details=" ".join(details.split()),
    )
