"""How long tests wait: what a quiet machine would need at most, times how slow this machine is at the moment.

A limit here only ends a test whose subject hangs. How quick something is, is measured by CPU time or by a ratio within one
run, never by a limit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def slowness() -> float:
    """How many times longer than on a quiet machine things may take now: 1 when idle, above 1 when busy.

    Processes that are running or want to, over cores; those of the last minute, of this instant, or the workers of this
    run of the tests, whichever are most.
    """
    wanting = [os.getloadavg()[0], float(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) - 1]
    now = Path("/proc/loadavg")  # "0.20 0.18 0.12 1/80 11206": the fourth is running/all
    if now.exists():
        wanting.append(float(now.read_text().split()[3].partition("/")[0]) - 1)
    return 1 + max(wanting) / (os.cpu_count() or 1)


def limit(seconds: float) -> float:
    """Seconds to allow now for what takes at most so many seconds on a quiet machine."""
    return seconds * slowness()


class Patience:
    """A limit that begins now and grows when the machine gets busier while something is waited for."""

    def __init__(self, seconds: float) -> None:
        self.quiet_s, self.limit_s, self.began = seconds, limit(seconds), time.monotonic()

    @property
    def taken_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def left_s(self) -> float:
        """Seconds until it ends, at least a tenth: for a `timeout=` of others."""
        self.limit_s = max(self.limit_s, limit(self.quiet_s))
        return max(self.limit_s - self.taken_s, 0.1)

    def check(self, what: str) -> None:
        """AssertionError that names what was waited for, once the limit is over."""
        self.limit_s = max(self.limit_s, limit(self.quiet_s))
        assert self.taken_s < self.limit_s, f"waited {self.taken_s:.1f} s for {what}"


def until(what: str, condition: Callable[[], Any], *, seconds: float = 30.0, every: float = 0.02) -> Any:
    """The condition's answer once it is true, looked at again and again; AssertionError when it does not get true."""
    patience = Patience(seconds)
    while not (found := condition()):
        patience.check(what)
        time.sleep(every)
    return found
