"""How a process is stopped: by a signal handler, by another thread, or by itself."""

from __future__ import annotations

import os
import select


class Stop:
    """As `threading.Event`, and may be set by a signal's handler.

    An Event has a lock, and the thread that the signal interrupts may hold it just then, in `wait`: its handler would wait
    for it for ever. Here a byte in a pipe wakes the waiting thread.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._requested = False

    def set(self) -> None:
        """Request the stop; further calls do nothing."""
        if not self._requested:
            self._requested = True
            os.write(self._write, b".")

    def is_set(self) -> bool:
        """Whether a stop was requested."""
        return self._requested

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the request, at most this many seconds; returns whether it was made."""
        if not self._requested:
            poll = select.poll()
            poll.register(self._read, select.POLLIN)
            poll.poll(None if timeout is None else max(timeout, 0.0) * 1000)
        return self._requested
