"""Less memory: returned to the system by the API, and saved by an app that runs without a separate scheduler, in one small
container (Community Cloud: about 690 MB).

glibc keeps a heap for each thread and gives little of it back. One heap, large blocks outside of it, and what is free
given back after each step take about a fifth less, at the cost of some time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

NAME = "MALLOC_ARENA_MAX"
SETTINGS = {
    NAME: (-8, 1),
    "MALLOC_TRIM_THRESHOLD_": (-1, 65_536),
    "MALLOC_MMAP_THRESHOLD_": (-3, 65_536),
}  # numbers in malloc.h


def begin() -> None:
    """Make this process and, through the environment, its workers use less memory; variables that are set are not changed."""
    share_heap()
    for name, (_, value) in SETTINGS.items():
        if name not in os.environ:
            _tune(name)
            os.environ[name] = str(value)


def share_heap() -> None:
    """Let all threads of this process use one heap, and Arrow use it too; variables that are set are not changed.

    To be called before there are threads. A heap for each thread fragments on its own, and Arrow's keeps what each
    thread has freed until that thread returns it.
    """
    if NAME not in os.environ:
        _tune(NAME)
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
        if (arrow := sys.modules.get("pyarrow")) is not None:  # it has already chosen its heap
            arrow.set_memory_pool(arrow.system_memory_pool())


def _tune(name: str) -> None:
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(*SETTINGS[name])


def give_back() -> None:
    """Return free memory to the system, in a process that should save memory."""
    if NAME in os.environ:
        release()


def release() -> None:
    """Return free memory to the system: glibc's heap keeps what one large table took."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
