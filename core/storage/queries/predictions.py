"""The prediction log."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.storage.tables import Prediction

SEAL_ROWS = 500  # logged rows that are worth a batch of their own
SEAL_AGE = timedelta(minutes=10)  # older ones are sealed whatever their number


def logged_count(session: Session, project_id: int) -> int:
    """Rows in the prediction log that are not sealed yet."""
    return session.scalar(select(func.sum(Prediction.rows)).where(Prediction.unsealed(project_id))) or 0
