"""How a process is told to end: by a signal's handler, by another thread, by itself."""

from __future__ import annotations

import os
import select


class Stop:
    """As `threading.Event`, and may be set by a signal's handler.

    An Event has a lock, and the thread that the signal interrupts may hold it just then, in `wait`: its handler would wait
    for it for ever. Here a byte in a pipe wakes whoever waits.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._told = False

    def set(self) -> None:
        """Tell it; once is enough."""
        if not self._told:
            self._told = True
            os.write(self._write, b".")

    def is_set(self) -> bool:
        """Whether it was told."""
        return self._told

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for that, for at most so many seconds; whether it was told."""
        if not self._told:
            poll = select.poll()
            poll.register(self._read, select.POLLIN)
            poll.poll(None if timeout is None else max(timeout, 0.0) * 1000)
        return self._told
