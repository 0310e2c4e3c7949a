"""The switches for the kinds of messages that a project sends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from core.records import ProjectInfo
from core.services.access.actors import require
from core.services.incidents.messages import changed, chosen
from core.storage import audit, queries
from core.storage.workspace import Workspace

SWITCHES_SET = "messages changed"  # in the audit


def switches(ws: Workspace, project: ProjectInfo) -> dict[str, bool]:
    """Which kinds of messages the project sends."""
    with ws.database.read() as session:
        return chosen(queries.project_row(session, project.id).messages)


def set_switches(
    ws: Workspace, project: ProjectInfo, changes: Mapping[str, bool], *, by: str, now: datetime
) -> dict[str, bool]:
    """Set some switches; the others stay. Returns all of them.

    Raises:
        BadInput: an unknown kind.
    """
    require(ws, by, "operator")
    with ws.database.write() as session:
        row = queries.project_row(session, project.id)
        before, stored = chosen(row.messages), changed(row.messages, changes)
        after = chosen(stored)
        if after != before:
            flipped = [name for name in after if after[name] != before[name]]
            audit.record(
                session,
                who=by,
                what=SWITCHES_SET,
                project_id=row.id,
                before={name: before[name] for name in flipped},
                after={name: after[name] for name in flipped},
                now=now,
            )
            row.messages = stored or None
        return after
