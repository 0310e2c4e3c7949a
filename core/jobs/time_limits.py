"""How long a step of the worker may take: its claim is kept meanwhile, and beyond the limit the process is ended.

After the end was asked for the step under way may take a few seconds more; one that is cut off then is taken up again.
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
STOP_S = 7.0  # a step that has not ended so long after SIGTERM is cut off; it is taken up again
TOO_LONG = 70
_under_way: list[Callable[[], None]] = []  # what crosses out the try of the step that runs


@contextmanager
def limited(ws: Workspace, owner: str, job: JobInfo | None, *, forgive: Callable[[], None]) -> Iterator[None]:
    """Keep the job's claim while its step runs, and end the process when that takes longer than it may.

    Args:
        forgive: crosses out the try, should the step be cut off because somebody ends the worker.
    """
    done = threading.Event()
    _under_way.append(forgive)
    keeper = threading.Thread(target=_keep, args=(ws, owner, job, done), name="keeper", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        _under_way.remove(forgive)
        done.set()
        keeper.join()


def _keep(ws: Workspace, owner: str, job: JobInfo | None, done: threading.Event) -> None:
    limit = ws.settings.cycle_timeout_s
    ends = time.monotonic() + limit
    text = f"It took longer than {limit:g} s (CONTINUAL_CYCLE_TIMEOUT_SECONDS) and was ended."
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
    """Thread: once the end is asked for, the step under way may take so long and no longer."""
    stop.wait()
    cut_off()


def cut_off() -> None:
    """End a step that goes on too long after the end was asked for."""
    time.sleep(STOP_S)
    logger.warning("the step did not end within {s:g} s and was cut off; it is taken up again", s=STOP_S)
    for forgive in list(_under_way):
        quietly(forgive)
    end_now(1)


def end_now(code: int) -> None:
    """End this process and the fits that it started, from any thread, whatever the main thread is computing."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(code)
