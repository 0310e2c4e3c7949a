"""The clock: polls every second for requested work, and every CHECK_INTERVAL_SECONDS for new data.

It computes nothing itself. When there is work it starts one worker process (`core.jobs.worker`), which ends when idle:
a quiet night costs one small process and a query a second. A file lock makes one of several schedulers the leader.
`scheduler.py` runs it as a process of its own, `core.jobs.in_app` within an app that is served alone.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from loguru import logger

from core.jobs import ANOTHER_WORKS
from core.jobs.stop import Stop
from core.services.automation import due_work, workers
from core.services.incidents import channels, delivery, kuma, status
from core.settings import ROOT
from core.storage.engine import file_lock
from core.storage.workspace import Workspace

POLL_EVERY_S = 0.5
STOP_S = 7.5  # how long the worker may take to finish its step
RESTART_AFTER_S = 5.0  # a worker that failed, or exited because another one runs, is not restarted at once
STANDBY_S = 1.0
WATCH_EVERY_S = 1.0
JUMP_S = 5.0  # allowed difference between wall time and elapsed time from one poll to the next


class Scheduler:
    """The leader's two polls and the one worker that they may start."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._worker: subprocess.Popen[bytes] | None = None
        self._not_before = -math.inf  # on the monotonic clock
        self._lock = threading.Lock()
        self.last_poll = kuma.Poll()

    def check(self) -> None:
        """Send the heartbeat, and query once whether any project has new data."""
        now, started = datetime.now(UTC), time.monotonic()
        workers.beat(self._ws, status.SCHEDULER, owner=self._owner, now=now, detail={"memory_bytes": _memory_bytes()})
        with self._ws.database.read() as session:
            due = due_work.due_projects(session, now)
        if due:
            self._wake(check=True)
        ended = time.monotonic()
        self.last_poll = kuma.Poll(ended=ended, seconds=ended - started)

    def poll(self) -> None:
        """Query once whether a job is queued or a live run is due, and once whether a message is queued."""
        now = datetime.now(UTC)
        with self._ws.database.read() as session:
            pending, notices = due_work.pending(session, now), due_work.notices_due(session, now)
        if pending:
            self._wake(check=False)
        if notices:
            delivery.deliver_due(self._ws, now)

    def _wake(self, *, check: bool) -> None:
        """Start a worker if none runs; with `check`, have it check the projects."""
        with self._lock:
            if not self._lives():
                if time.monotonic() < self._not_before:
                    return
                command = [sys.executable, "-m", "core.jobs.worker", "--follow"]
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # the same folder, hence the same .env
                self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)  # noqa: S603  # a fixed command of ours
            if check:
                self._send(b"check\n")

    def _lives(self) -> bool:
        if self._worker is None:
            return False
        code = self._worker.poll()
        if code is None:
            return True
        self._worker = None
        if code != 0:
            self._not_before = time.monotonic() + RESTART_AFTER_S
            if code != ANOTHER_WORKS:
                logger.warning("the worker ended with exit code {code}", code=code)
        return False

    def _send(self, order: bytes) -> None:
        assert self._worker is not None and self._worker.stdin is not None
        try:
            self._worker.stdin.write(order)
            self._worker.stdin.flush()
        except BrokenPipeError:
            logger.debug("the worker has just ended; the next poll starts another")

    def stop(self) -> None:
        """Let the worker finish its step; kill it if that takes too long."""
        with self._lock:
            worker, self._worker = self._worker, None
            self._not_before = math.inf  # a poll that is running must not start another worker
        if worker is None or worker.poll() is not None:
            return
        worker.terminate()
        try:
            worker.wait(STOP_S)
        except subprocess.TimeoutExpired:
            logger.warning("the worker did not finish its step within {s} s and was killed", s=STOP_S)
            worker.kill()
            worker.wait()


def _memory_bytes() -> int:
    """Resident memory of this process and of the worker that it started."""
    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.Error):  # it has just exited
            total += process.memory_info().rss
    return total


class ClockWatch:
    """Detects that the wall clock was changed: it and the monotonic clock have advanced by different amounts."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()

    def jump(self) -> float:
        """Seconds by which the wall clock was changed since the last call, negative if set back; 0 up to JUMP_S."""
        offset = self._wall() - self._steady()
        change, self._offset = offset - self._offset, offset
        return change if abs(change) > JUMP_S else 0.0


def check_after_jump(clock: BackgroundScheduler, watch: ClockWatch) -> None:
    """Run every job now if the wall clock was changed: after a change backwards APScheduler would sleep for that long."""
    jump = watch.jump()
    if jump:
        way = "back" if jump < 0 else "forward"
        logger.warning("the clock was set {way} by {s:.0f} s: running all checks now", way=way, s=abs(jump))
        for job in clock.get_jobs():
            job.modify(next_run_time=datetime.now(UTC))


def stand_by(ws: Workspace, stop: Stop) -> None:
    """Lead whenever no other scheduler does, until stopped."""
    standing_by = False
    while not stop.is_set():
        with file_lock(ws.locks_path / "scheduler.lock", wait=False) as leader:
            if leader:
                _lead(ws, stop)
            elif not standing_by:
                logger.info("another scheduler leads this state folder: standing by")
                standing_by = True
        stop.wait(STANDBY_S)


def _lead(ws: Workspace, stop: Stop) -> None:
    scheduler = Scheduler(ws)
    clock = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(2)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    interval = ws.settings.check_interval_s
    channels.reactivate(ws, datetime.now(UTC))
    clock.add_job(scheduler.check, "interval", seconds=interval, next_run_time=datetime.now(UTC), id="check")
    clock.add_job(scheduler.poll, "interval", seconds=POLL_EVERY_S, id="look")
    clock.start()
    heartbeats = kuma.Heartbeats(ws, lambda: scheduler.last_poll)
    heartbeats.start()
    logger.info("leading: a check every {s:g} s", s=interval)
    watch = ClockWatch()
    try:
        while not stop.wait(WATCH_EVERY_S):
            check_after_jump(clock, watch)
    finally:
        heartbeats.stop()
        clock.shutdown(wait=False)
        scheduler.stop()
