"""Removal of old versions' artefacts: the newest ones are kept; of the others the row stays and the files are removed.

An artefact grows with its training rows, and every race leaves one. Versions that neither serve nor are candidates are not
needed: disk use is limited to that of the newest few.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from loguru import logger
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from core.storage import audit, registry
from core.storage.tables import ModelRow
from core.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed."""

    versions: tuple[int, ...]
    bytes: int


def prune(
    ws: Workspace,
    project_id: int,
    now: datetime,
    *,
    by: str,
    keep_former: int | None = None,
    keep_rejected: int | None = None,
) -> Pruned:
    """Remove the artefacts and scorers of former champions and rejected challengers; see `registry.mark_removed` for the rule.

    The rows are marked first: a process that dies in between leaves unreferenced files, which the clean-up removes.

    Args:
        keep_former: number of former champions that keep theirs; by default CONTINUAL_KEEP_FORMER.
        keep_rejected: number of rejected challengers that do; by default CONTINUAL_KEEP_REJECTED.
    """
    settings = ws.settings
    keep_former = settings.keep_former if keep_former is None else max(keep_former, 0)
    keep_rejected = settings.keep_rejected if keep_rejected is None else max(keep_rejected, 0)
    with ws.database.write() as session:
        rows = registry.mark_removed(session, project_id, keep_former=keep_former, keep_rejected=keep_rejected, now=now)
        versions = tuple(row.version for row in rows)
        named = [path for row in rows for path in (row.path, row.scorer_path) if path]
        runs = [row.run_id for row in rows if row.run_id]
        if versions:
            after = {"versions": versions}
            audit.record(session, who=by, what="artefacts removed", project_id=project_id, after=after, now=now)
    if not versions:
        return Pruned(versions=(), bytes=0)
    with ws.database.read() as session:  # named by their content: another version may have the same
        own = ModelRow.project_id == project_id
        paths = session.execute(select(ModelRow.path, ModelRow.scorer_path).where(own, ModelRow.removed_at.is_(None)))
        still = {path for pair in paths for path in pair if path}
    total = 0
    for path in dict.fromkeys(named):
        place = ws.models_path / path
        if path not in still and place.is_file():
            total += place.stat().st_size
            place.unlink(missing_ok=True)
    for run_id in runs:
        for link in registry.mlflow_copies(ws, run_id):
            link.unlink(missing_ok=True)
    logger.info("removed the artefacts of {n} versions: {b} bytes", n=len(versions), b=total)
    return Pruned(versions=versions, bytes=total)


def prune_quietly(ws: Workspace, project_id: int, now: datetime) -> None:
    """The same after a check, which stays valid whatever fails here."""
    try:
        prune(ws, project_id, now, by="loop")
    except (OSError, SQLAlchemyError) as error:
        logger.warning("old artefacts could not be removed: {error}", error=type(error).__name__)
