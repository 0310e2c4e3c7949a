"""A step of a live run: stores its next batch and runs a cycle; transient errors postpone the run."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from loguru import logger
from sqlalchemy.exc import OperationalError

from core.cycle.failing import cause_of
from core.cycle.run import run_cycle
from core.errors import Busy, ContinualError, NotFound, StorageError
from core.services.automation import live
from core.storage.workspace import Workspace


def advance_live(ws: Workspace, run_id: int, *, now: datetime) -> None:
    """Store a live run's next batch, run a cycle, and set when the next one is due."""
    began = time.monotonic()
    try:
        run, stored = live.store_next(ws, run_id, now=now)
        if stored:
            run_cycle(ws, run.project_id, cause="live", now=now)
    except Busy:
        live.schedule_next(ws, run_id, now + timedelta(seconds=1))
        return
    except NotFound:  # the project was deleted, and its run with it
        raise
    except Exception as error:
        cause = cause_of(error)
        if _is_transient(error):
            pause = live.postpone(ws, run_id, cause, now)
            logger.warning("the live run waits {s:g} s: {error}", s=pause, error=cause)
        elif isinstance(error, ContinualError):
            live.fail_run(ws, run_id, cause)
        else:
            raise
        return
    spent = time.monotonic() - began
    live.schedule_next(ws, run_id, now + timedelta(seconds=max(run.seconds_per_batch, spent)))


def _is_transient(error: BaseException | None) -> bool:
    """Whether the same step may succeed later: a full disk, a lock, a database out of reach; not a file that is missing."""
    if isinstance(error, StorageError):
        error = error.__cause__
    return isinstance(error, (OSError, OperationalError)) and not isinstance(error, FileNotFoundError)
