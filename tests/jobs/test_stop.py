"""A process that is asked to end by a signal ends, whatever it was doing just then."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from patience import limit

from core.jobs.stop import Stop

# SIGTERM comes in the middle of the wait: at each of its calls, and in an Event once its lock is held.
INTERRUPTED = """
import os, signal, sys, threading
from core.jobs.stop import Stop
stop = {what}()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
sys.setprofile(lambda frame, event, _: event in ("call", "c_call") and frame.f_code.co_qualname in ("Stop.wait", "Condition.wait") and os.kill(os.getpid(), 15))
stop.wait(0.05)
"""


def _interrupted(what: str, seconds: float) -> int:
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(what=what)], timeout=seconds, check=False, env=os.environ.copy()
    ).returncode


def test_a_signal_in_the_middle_of_a_wait_ends_it() -> None:
    assert _interrupted("Stop", limit(20)) == 0
    with pytest.raises(subprocess.TimeoutExpired):  # why it is no Event
        _interrupted("threading.Event", limit(3))


def test_all_that_wait_are_woken() -> None:
    stop, seen = Stop(), []
    threads = [threading.Thread(target=lambda: seen.append(stop.wait())) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert not stop.is_set()
    assert not stop.wait(0.01)
    stop.set()
    stop.set()
    for thread in threads:
        thread.join(limit(5))
    assert seen == [True] * 3
    assert stop.is_set()
    assert stop.wait(0.0)
