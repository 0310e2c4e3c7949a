"""The clock inside the app's process, for an app that runs without a scheduler process: `streamlit run Home.py`, Community Cloud.

The first visitor starts it, signed in or not: after a sleep, what fell due meanwhile is checked at once. It shares the
leader's lock with `scheduler.py`, so nothing is done twice where both run; the work itself is done by a worker process.
"""

from __future__ import annotations

import threading

from loguru import logger

from core.jobs import frugal
from core.jobs.stop import Stop
from core.storage.workspace import Workspace

AGAIN_AFTER_S = 5.0
GIVE_BACK_EVERY_S = 5.0
_starting = threading.Lock()
_started = False


def start(ws: Workspace) -> bool:
    """Start it once per process unless CONTINUAL_SCHEDULER_IN_APP is off; returns whether it was started. Does not block."""
    global _started
    if ws.settings.scheduler_in_app == "off":
        return False
    with _starting:
        if _started:
            return False
        _started = True
    frugal.begin()
    stop = Stop()
    led = threading.Thread(target=run, args=(ws, stop), name="clock", daemon=True)
    led.start()
    threading.Thread(target=_give_back, args=(stop,), name="memory", daemon=True).start()
    _end_with_the_app(led, stop)
    return True


def run(ws: Workspace, stop: Stop) -> None:
    """Run the clock and restart it after an error, because nothing else would restart this thread."""
    from core.jobs.clock import stand_by  # APScheduler and psutil: imported here, so that no page waits for them

    while not stop.is_set():
        try:
            stand_by(ws, stop)
        except Exception as error:
            logger.opt(exception=error).error("the scheduler in the app failed: retrying in {s:g} s", s=AGAIN_AFTER_S)
            stop.wait(AGAIN_AFTER_S)


def _end_with_the_app(led: threading.Thread, stop: Stop) -> None:
    """Make the interpreter wait for the clock, and so for the worker, to end; Streamlit handles the signals itself.

    The last one to register runs first, so it comes before thread pools refuse the clock's jobs; `atexit` comes after.
    """
    import concurrent.futures.thread  # noqa: F401  # registered before this

    def end() -> None:
        stop.set()
        led.join()

    threading._register_atexit(end)  # type: ignore[attr-defined]


def _give_back(stop: Stop) -> None:
    while not stop.wait(GIVE_BACK_EVERY_S):
        frugal.give_back()
