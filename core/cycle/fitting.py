"""Fits under a time limit: one that does not end in time is abandoned, and the race goes on without it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

from core.errors import FitTimeout
from core.learning.state import Member


def in_time(work: Callable[[], Member], seconds: float) -> Member:
    """The result of the work; 0 seconds = no limit.

    Raises:
        FitTimeout: it has not ended in time. Its thread is asked to stop, and left running if it does not.
        Exception: any error of the work.
    """
    if seconds <= 0:
        return work()
    done: list[Member] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="fit", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive() and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        raise FitTimeout(f"Its fit had not ended after {seconds:g} seconds and was given up.")
    if failed:
        raise failed[0]
    return done[0]
