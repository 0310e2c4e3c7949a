"""What the reads of all nouns share."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import InstrumentedAttribute

CHUNK = 500  # values in one IN (...)
# Nothing is put off further than this. A later instant was written by a clock that was ahead: it counts as due.
LONGEST_PAUSE = timedelta(hours=1)


def is_due(instant: InstrumentedAttribute[datetime | None], now: datetime) -> ColumnElement[bool]:
    """The condition that a stored instant has passed, or was written by a clock that was ahead of this one."""
    return or_(instant <= now, instant > now + LONGEST_PAUSE)
