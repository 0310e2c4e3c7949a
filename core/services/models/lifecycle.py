"""Manual promotion of a version, and rollback to the previous one."""

from __future__ import annotations

from datetime import datetime

from loguru import logger

from core.errors import Conflict
from core.records import Change, Outcome, ProjectInfo, as_written
from core.services.access.actors import require
from core.services.incidents import notify
from core.services.models.conditions import need
from core.storage import audit, mlflow_copy, queries, registry
from core.storage.workspace import Workspace
from core.text import vocabulary


def promote(ws: Workspace, project: ProjectInfo, version: int, *, reason: str, by: str, now: datetime) -> None:
    """Promote a version manually; every process serves it within 2 s. It leaves shadow mode.

    Raises:
        NotFound: no such version.
        StorageError: its artefact cannot be loaded.
        Conflict: it serves already.
        BadInput: no reason.
    """
    require(ws, by, "operator")
    registry.load_model(ws, project.id, version)  # a version that cannot be loaded must not become champion
    _let_serve(ws, project, version, event=Outcome.PROMOTED, reason=reason, by=by, now=now)


def rollback(ws: Workspace, project: ProjectInfo, *, reason: str, by: str, now: datetime) -> int:
    """Make the version that the champion replaced the champion again; returns its number.

    Raises:
        Conflict: the champion replaced nothing.
        StorageError: the earlier artefact cannot be loaded.
        BadInput: no reason.
    """
    require(ws, by, "operator")
    with ws.database.read() as session:
        version = next(
            (v.version for v in registry.list_versions(session, project.id) if "previous" in v.aliases), None
        )
    if version is None:
        raise Conflict(f"Project '{project.slug}' has no earlier champion to roll back to.")
    registry.load_model(ws, project.id, version)
    _let_serve(ws, project, version, event=Outcome.ROLLED_BACK, reason=reason, by=by, now=now)
    return version


def _let_serve(
    ws: Workspace, project: ProjectInfo, version: int, *, event: Outcome, reason: str, by: str, now: datetime
) -> None:
    need(reason)
    with ws.database.write() as session:
        before = registry.serving_version(session, project.id)
        if before is not None and before[0] == version:
            raise Conflict(f"v{version} of '{project.slug}' is already the champion.")
        registry.record_event(session, project.id, version, event, as_written(reason.strip()), Change(by=by, now=now))
        row = queries.project_row(session, project.id)
        was = before[0] if before else None
        kind = vocabulary.OUTCOMES[event].message or ""
        facts = {"version": version, "before": was, "after": version, "by": by}
        notify.enqueue_event(ws, session, kind, project.id, reason.strip(), now, **facts)
        if row.shadow_version == version:
            row.shadow_version = None
            notify.enqueue_event(
                ws, session, "shadow_ended", project.id, "It is the champion now.", now, version=version, by=by
            )
        audit.record(
            session,
            who=by,
            what=f"model {event.replace('_', ' ')}",
            project_id=project.id,
            before={"champion": was},
            after={"champion": version, "reason": reason.strip()},
            now=now,
        )
    logger.info("{event} manually: v{version}", event=event, version=version)
    mlflow_copy.sync_in_child(ws, project.id)
