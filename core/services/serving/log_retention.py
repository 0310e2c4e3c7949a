"""Old predictions are removed from the log, where a retention is set: those of batches, which keep the rows and their scores."""

from __future__ import annotations

from datetime import datetime, timedelta

from loguru import logger
from sqlalchemy import delete, or_, select

from core.storage.tables import Prediction, Project
from core.storage.workspace import Workspace

AT_ONCE = 2_000  # entries in a transaction: predictions wait for no longer than it lasts


def remove_old(ws: Workspace, now: datetime) -> int:
    """Remove the entries that are older than CONTINUAL_KEEP_PREDICTIONS_DAYS; returns how many predictions they held.

    One that is not in a batch yet stays, unless it never will be (asked without a token).
    """
    days = ws.settings.keep_predictions_days
    if days is None:
        return 0
    with ws.database.read() as session:
        projects = session.scalars(select(Project.id)).all()
    removed = sum(_remove(ws, project_id, now - timedelta(days=days)) for project_id in projects)
    if removed:
        logger.info("{n} predictions older than {days} days were removed from the log", n=removed, days=days)
    return removed


def _remove(ws: Workspace, project_id: int, limit: datetime) -> int:
    """From the oldest entry on to the first that is younger: ids grow with time."""
    removed, after = 0, 0
    done = or_(Prediction.batch_id.is_not(None), Prediction.anonymous)
    columns = (Prediction.id, Prediction.rows, Prediction.created_at < limit, done)
    while True:
        statement = select(*columns).where(Prediction.project_id == project_id, Prediction.id > after)
        with ws.database.write() as session:
            found = session.execute(statement.order_by(Prediction.id).limit(AT_ONCE)).all()
            gone = {entry_id: rows for entry_id, rows, old, over in found if old and over}
            session.execute(delete(Prediction).where(Prediction.id.in_(list(gone))))
        removed += sum(gone.values())
        if len(found) < AT_ONCE or not found[-1][2]:
            return removed
        after = found[-1][0]
