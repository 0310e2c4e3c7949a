"""A project's guards: read, changed, and how often they were triggered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select

from core.errors import BadInput, FieldProblem
from core.records import ProjectInfo
from core.services.access.actors import require
from core.services.serving.guards import Guards, checked, guards_from_document, guards_to_document, tally
from core.storage import audit, queries
from core.storage.tables import Prediction
from core.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardHits:
    """How often one guard was triggered on one day (UTC) in the prediction log."""

    day: date
    guard: str
    action: str
    n: int


def guards_of(ws: Workspace, project: ProjectInfo) -> Guards:
    """The project's guards; the defaults if nobody has changed them."""
    with ws.database.read() as session:
        return guards_from_document(queries.project_row(session, project.id).guards)


def set_guards(ws: Workspace, project: ProjectInfo, guards: Guards, *, by: str, now: datetime) -> Guards:
    """Store other guards; every process applies them within a second.

    Raises:
        BadInput: they are not valid for the project, or it has no rows and so no features yet.
    """
    require(ws, by, "operator")
    if project.schema is None:
        raise BadInput(
            f"Project '{project.slug}' has no rows yet, so there are no features to guard. Ingest rows first."
        )
    checked(guards, project.schema)
    with ws.database.write() as session:
        row = queries.project_row(session, project.id)
        before, after = row.guards, guards_to_document(guards)
        audit.record(session, who=by, what="guards changed", project_id=row.id, before=before, after=after, now=now)
        row.guards = after
    return guards


def changed(guards: Guards, changes: Mapping[str, Any]) -> Guards:
    """The guards with some fields changed.

    Raises:
        BadInput: a field that guards do not have.
    """
    document = guards_to_document(guards)
    unknown = [name for name in changes if name not in document]
    if unknown:
        expected = f"one of {', '.join(document)}"
        problems = tuple(FieldProblem(name, "a field that guards do not have", expected) for name in unknown[:20])
        raise BadInput(f"Guards have no field '{unknown[0][:60]}'.", problems)
    return guards_from_document({**document, **changes})


def guard_hits(ws: Workspace, project_id: int, *, since: datetime) -> list[GuardHits]:
    """How often each guard was triggered each day, oldest first; a prediction counts once for every triggered guard."""
    statement = select(Prediction.created_at, Prediction.guarded).where(
        Prediction.project_id == project_id, Prediction.created_at >= since, Prediction.guarded.is_not(None)
    )
    counts: Counter[tuple[date, str, str]] = Counter()
    with ws.database.read() as session:
        for created_at, guarded in session.execute(statement.execution_options(yield_per=1000)):
            document = json.loads(guarded or "{}")
            for guard, action, n in document["tally"] if "tally" in document else tally([document]):
                counts[created_at.date(), guard, action] += n
    return [GuardHits(day=day, guard=guard, action=action, n=n) for (day, guard, action), n in sorted(counts.items())]
