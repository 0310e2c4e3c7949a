"""The scheduler's heartbeat to a Push monitor of Uptime Kuma: each interval up with how long a look took, or down with why.

It runs in a thread of its own with a short timeout, and whatever becomes of it, the scheduler goes on. When the process
is gone no heartbeat comes, which is what the monitor waits for. The address is a secret: no log holds it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from loguru import logger

from core.services.incidents import status
from core.storage.workspace import Workspace

TIMEOUT_S = 5.0
LONGEST_REASON = 200
STUCK = "The scheduler's look through the projects does not come to its end."


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The scheduler's last look through the projects that came to its end."""

    ended: float | None = None  # on the monotonic clock; None: none yet
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What is told of the scheduler."""

    reason: str | None  # why it cannot work; None: it works
    ping_ms: int


def beat_of(ws: Workspace, look: Look, now: datetime, steady: float, started: float) -> Beat:
    """How the scheduler is: whether its looks end, and what /health would say."""
    ping = round(look.seconds * 1000)
    last = look.ended if look.ended is not None else started
    if steady - last > status.MISSED_BEATS * ws.settings.check_interval_s:
        found = status.health(ws, None, now, damaged=lambda _project: False)
        return Beat(reason=found.reason if found.status == "down" else STUCK, ping_ms=ping)
    return Beat(reason=status.health(ws, None, now, damaged=lambda _project: False).reason, ping_ms=ping)


def send(url: str, beat: Beat) -> str | None:
    """One heartbeat; returns what went wrong, without the address, or None."""
    import httpx

    told = {"status": "up", "msg": "OK"} if beat.reason is None else {"status": "down", "msg": beat.reason}
    told["msg"] = told["msg"][:LONGEST_REASON]
    try:
        response = httpx.get(url, params={**told, "ping": str(beat.ping_ms)}, timeout=TIMEOUT_S)
    except Exception as error:  # its text holds the address
        return type(error).__name__
    return None if response.is_success else f"it answered {response.status_code}"


class Heartbeats:
    """Sends one each interval until it is stopped; says once when they fail, and once when they arrive again."""

    def __init__(self, ws: Workspace, look: Callable[[], Look]) -> None:
        self._ws, self._look = ws, look
        self._stop = threading.Event()
        self._failing = False
        self._started = time.monotonic()

    def start(self) -> None:
        """Begin, where the setting is there."""
        if self._ws.settings.kuma_push_url is not None:
            threading.Thread(target=self._run, name="heartbeats", daemon=True).start()

    def stop(self) -> None:
        """End after the one that is under way."""
        self._stop.set()

    def beat(self) -> None:
        """One heartbeat now; raises nothing."""
        url = self._ws.settings.kuma_push_url
        if url is None:
            return
        try:
            found = beat_of(self._ws, self._look(), datetime.now(UTC), time.monotonic(), self._started)
        except Exception as error:  # a look that fails is told, too
            found = Beat(reason=f"The state cannot be read: {type(error).__name__}.", ping_ms=0)
        wrong = send(url.get_secret_value(), found)
        if wrong is not None and not self._failing:
            logger.warning("the heartbeat did not reach Uptime Kuma: {wrong}", wrong=wrong)
        elif wrong is None and self._failing:
            logger.info("heartbeats reach Uptime Kuma again")
        self._failing = wrong is not None

    def _run(self) -> None:
        wait = min(1.0, self._ws.settings.check_interval_s)  # the first look comes first
        while not self._stop.wait(wait):
            self.beat()
            wait = self._ws.settings.check_interval_s
