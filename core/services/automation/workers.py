"""Heartbeats of the long-running processes, and the worker that is started if no scheduler runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import datetime

from core.records import JsonObject
from core.services.incidents import status
from core.settings import ROOT
from core.storage.tables import Heartbeat
from core.storage.workspace import Workspace


def beat(ws: Workspace, name: str, *, owner: str, now: datetime, detail: JsonObject | None = None) -> None:
    """Record a process's heartbeat."""
    with ws.database.write() as session:
        row = session.get(Heartbeat, name)
        if row is None:
            session.add(Heartbeat(name=name, at=now, owner=owner, detail=detail))
        else:
            row.at, row.owner, row.detail = now, owner, detail


def scheduler_lives(ws: Workspace, now: datetime) -> bool:
    """Whether a scheduler has sent a heartbeat within the last three intervals."""
    with ws.database.read() as session:
        age = status.scheduler_age(session, now)
    return age is not None and not status.is_late(age, ws.settings.check_interval_s)


def ensure_worker_runs(ws: Workspace, now: datetime) -> None:
    """Start a worker for a new request if no scheduler runs."""
    if not scheduler_lives(ws, now):
        start_worker(ws)


def start_worker(ws: Workspace) -> None:
    """Start a separate worker process that does the queued work and then ends; a second one ends immediately."""
    # Same working directory: the child reads the same `.env`.
    environment = {**os.environ, "CONTINUAL_HOME": str(ws.settings.home_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "core.jobs.worker", "--once"],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=True,
    )
    # Its exit has to be collected, or it stays a zombie of this process.
    threading.Thread(target=process.wait, name="worker's end", daemon=True).start()
