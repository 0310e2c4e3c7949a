"""How long a step of the worker may take: its claim is renewed meanwhile, and beyond the limit the process is killed.

After a stop request the current step may take a few seconds more; a step that is cut off then is resumed later.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from loguru import logger

from core.jobs.failures import quietly
from core.jobs.stop import Stop
from core.services.automation import jobs
from core.services.automation.jobs import JobInfo
from core.storage.workspace import Workspace

RENEW_S = 15.0
STOP_S = 7.0  # a step that still runs this long after SIGTERM is cut off; it is resumed later
TOO_LONG = 70
_under_way: list[Callable[[], None]] = []  # cancels the counted attempt of the running step


@contextmanager
def limited(ws: Workspace, owner: str, job: JobInfo | None, *, uncount: Callable[[], None]) -> Iterator[None]:
    """Renew the job's claim while its step runs, and kill the process if the step exceeds its time limit.

    Args:
        uncount: cancels the counted attempt if the step is cut off because the worker is stopped.
    """
    done = threading.Event()
    _under_way.append(uncount)
    keeper = threading.Thread(target=_keep, args=(ws, owner, job, done), name="keeper", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        _under_way.remove(uncount)
        done.set()
        keeper.join()


def _keep(ws: Workspace, owner: str, job: JobInfo | None, done: threading.Event) -> None:
    limit = ws.settings.cycle_timeout_s
    ends = time.monotonic() + limit
    text = f"It exceeded the time limit of {limit:g} s (CONTINUAL_CYCLE_TIMEOUT_SECONDS) and was stopped."
    while not done.wait(min(RENEW_S, max(ends - time.monotonic(), 0.0))):
        if time.monotonic() < ends:
            if job is not None:
                quietly(lambda: jobs.renew(ws, job.id, owner, datetime.now(UTC)))
            continue
        logger.error(text)
        if job is not None:
            quietly(lambda: jobs.fail(ws, job.id, text, datetime.now(UTC)))
        end_now(TOO_LONG)


def watch(stop: Stop) -> None:
    """Thread: after a stop request, limit the remaining time of the current step."""
    stop.wait()
    cut_off()


def cut_off() -> None:
    """Cut off a step that runs too long after the stop request."""
    time.sleep(STOP_S)
    logger.warning("the step did not finish within {s:g} s and was cut off; it will be resumed", s=STOP_S)
    for uncount in list(_under_way):
        quietly(uncount)
    end_now(1)


def end_now(code: int) -> None:
    """Kill this process and the fits that it started, from any thread, whatever the main thread is computing."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(code)
