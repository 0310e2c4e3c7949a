"""Finished cycles."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.storage.tables import Cycle

RACES = 1_000  # newest races that the daily budget is counted from


def races(session: Session, project_id: int) -> list[tuple[datetime, bool]]:
    """When the newest races were and whether somebody had asked for them, oldest first."""
    rows = session.execute(
        select(Cycle.started_at, Cycle.firings)
        .where(Cycle.project_id == project_id, Cycle.decision == "retrain", Cycle.status == "done")
        .order_by(Cycle.id.desc())
        .limit(RACES)
    ).all()
    return [(row.started_at, any(f["trigger"] == "by_hand" for f in row.firings or ())) for row in rows[::-1]]
