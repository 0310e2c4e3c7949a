"""Rejected challengers keep no artefact for ever: the newest few do, of the others the row stays and the files go.

An artefact grows with the rows that it learnt from, and every race leaves one. What never served is asked by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from loguru import logger
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from core.services import tidying
from core.storage import audit, registry
from core.storage.tables import ModelRow
from core.storage.workspace import Workspace

TRASH = "rejected"  # below the trash folder
KEPT_FOR = timedelta(days=1)  # there
MOST_BYTES = 50_000_000  # there, of all projects


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed."""

    versions: tuple[int, ...]
    bytes: int


def prune(
    ws: Workspace, project_id: int, now: datetime, *, by: str, keep: int | None = None, trash: bool = True
) -> Pruned:
    """Take the artefacts and scorers of rejected challengers away; see `registry.mark_removed` for which.

    The rows are marked first: a process that dies in between leaves files that nothing names, for the tidying.

    Args:
        keep: newest rejected ones that keep theirs; by default CONTINUAL_KEEP_REJECTED.
        trash: put them into the trash for a day, or until it holds MOST_BYTES of them; else remove them at once, and what
            lies there too.
    """
    keep = ws.settings.keep_rejected if keep is None else max(keep, 0)
    with ws.database.write() as session:
        rows = registry.mark_removed(session, project_id, keep=keep, now=now)
        versions = tuple(row.version for row in rows)
        named = [path for row in rows for path in (row.path, row.scorer_path) if path]
        runs = [row.run_id for row in rows if row.run_id]
        if versions:
            after = {"versions": versions}
            audit.record(session, who=by, what="artefacts removed", project_id=project_id, after=after, now=now)
    with ws.database.read() as session:  # named by their content: another version may have the same
        own = ModelRow.project_id == project_id
        kept = session.execute(select(ModelRow.path, ModelRow.scorer_path).where(own, ModelRow.removed_at.is_(None)))
        still = {path for pair in kept for path in pair if path}
    total = 0
    for path in dict.fromkeys(named):
        place = ws.models_path / path
        if path in still or not place.is_file():
            continue
        total += place.stat().st_size
        if trash:
            tidying.to_trash(ws, place, Path(TRASH) / path)
        else:
            place.unlink(missing_ok=True)
    for run_id in runs:
        for link in registry.mlflow_copies(ws, run_id):
            link.unlink(missing_ok=True)
    total += _bound_trash(ws, project_id, now, everything=not trash)
    if versions:
        logger.info("removed the artefacts of {n} rejected versions: {b} bytes", n=len(versions), b=total)
    return Pruned(versions=versions, bytes=total)


def prune_quietly(ws: Workspace, project_id: int, now: datetime) -> None:
    """The same after a check, which counts whatever goes wrong here."""
    try:
        prune(ws, project_id, now, by="loop")
    except (OSError, SQLAlchemyError) as error:
        logger.warning("rejected artefacts stay for now: {error}", error=type(error).__name__)


def _bound_trash(ws: Workspace, project_id: int, now: datetime, *, everything: bool) -> int:
    """Remove the oldest of what lies in the trash beyond its day or its bytes, or all of a project's; bytes freed by `everything`."""
    found = []
    for path in (ws.trash_path / TRASH).glob("p*/*"):
        told = path.stat()
        found.append((told.st_mtime, told.st_size, path))
    freed = held = 0
    for at, size, path in sorted(found, reverse=True):
        mine = everything and path.parent.name == f"p{project_id}"
        held += 0 if mine else size
        if mine or held > MOST_BYTES or at < (now - KEPT_FOR).timestamp():
            path.unlink(missing_ok=True)
            freed += size if mine else 0
    return freed
