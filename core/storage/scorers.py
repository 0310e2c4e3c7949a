"""Which model serves a project, and the scorer that answers for it. No pandas, no model library: the API reads this."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.data.packed import unpack
from core.errors import StorageError
from core.records import JsonObject
from core.storage.artefacts import REPAIR_HINT, read_bytes
from core.storage.tables import ModelEvent, ModelRow, Project
from core.storage.workspace import Workspace

_NEEDED = frozenset({"part", "schema", "classes", "threshold", "ranges", "checks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The database's entry of the model that serves."""

    version: int
    sha256: str  # of the artefact
    schema: JsonObject
    scorer_path: str | None
    scorer_sha256: str | None
    guards: JsonObject | None  # of the project


def serving(session: Session, project_id: int) -> Serving | None:
    """Who serves now; None before the first promotion."""
    event = ModelEvent
    same = (event.project_id == ModelRow.project_id) & (event.version == ModelRow.version)
    found = session.execute(
        select(
            ModelRow.version,
            ModelRow.sha256,
            ModelRow.schema,
            ModelRow.scorer_path,
            ModelRow.scorer_sha256,
            Project.guards,
        )
        .join(event, same)
        .join(Project, Project.id == event.project_id)
        .where(event.project_id == project_id)
        .order_by(event.id.desc())
        .limit(1)
    ).first()
    return Serving(**found._mapping) if found else None


def read(ws: Workspace, path: str, sha256: str) -> tuple[JsonObject, dict[str, memoryview]]:
    """The scorer's document and arrays, verified.

    Raises:
        StorageError: missing, damaged, or not the file that was stored.
    """
    data = read_bytes(ws.models_path / path, sha256, what="the champion's scorer")
    document, views = unpack(data)
    missing = sorted(_NEEDED.difference(document))
    if missing:
        raise StorageError(f"The scorer cannot be read: it lacks {', '.join(missing)}. {REPAIR_HINT}")
    return document, views
