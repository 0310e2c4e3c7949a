"""The scheduler's heartbeat to a Push monitor of Uptime Kuma: in each interval "up" with the duration of a poll, or "down" with the reason.

It runs in a separate thread with a short timeout and never blocks the scheduler. When the process is gone no heartbeat
arrives, which the monitor detects. The address is a secret: it is never logged.
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
STUCK = "The scheduler's check of the projects does not finish."


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """The scheduler's last completed poll of the projects."""

    ended: float | None = None  # on the monotonic clock; None: none yet
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What the heartbeat reports."""

    reason: str | None  # why the scheduler cannot work; None: it works
    ping_ms: int


def beat_of(ws: Workspace, last_poll: Poll, now: datetime, steady: float, started: float) -> Beat:
    """The scheduler's state: whether its polls finish, and what /health would report."""
    ping = round(last_poll.seconds * 1000)
    last = last_poll.ended if last_poll.ended is not None else started
    if steady - last > status.MISSED_BEATS * ws.settings.check_interval_s:
        health = status.health(ws, None, now, damaged=lambda _project: False)
        return Beat(reason=health.reason if health.status == "down" else STUCK, ping_ms=ping)
    return Beat(reason=status.health(ws, None, now, damaged=lambda _project: False).reason, ping_ms=ping)


def send(url: str, beat: Beat) -> str | None:
    """Send one heartbeat; returns the error, without the address, or None."""
    import httpx

    query = {"status": "up", "msg": "OK"} if beat.reason is None else {"status": "down", "msg": beat.reason}
    query["msg"] = query["msg"][:LONGEST_REASON]
    try:
        response = httpx.get(url, params={**query, "ping": str(beat.ping_ms)}, timeout=TIMEOUT_S)
    except Exception as error:  # its text holds the address
        return type(error).__name__
    return None if response.is_success else f"it responded with status {response.status_code}"


class Heartbeats:
    """Sends one in each interval until stopped; logs once when they fail, and once when they arrive again."""

    def __init__(self, ws: Workspace, last_poll: Callable[[], Poll]) -> None:
        self._ws, self._last_poll = ws, last_poll
        self._stop = threading.Event()
        self._failing = False
        self._started = time.monotonic()

    def start(self) -> None:
        """Start, if the setting is present."""
        if self._ws.settings.kuma_push_url is not None:
            threading.Thread(target=self._run, name="heartbeats", daemon=True).start()

    def stop(self) -> None:
        """Stop after the current heartbeat."""
        self._stop.set()

    def beat(self) -> None:
        """Send one heartbeat now; raises nothing."""
        url = self._ws.settings.kuma_push_url
        if url is None:
            return
        try:
            beat = beat_of(self._ws, self._last_poll(), datetime.now(UTC), time.monotonic(), self._started)
        except Exception as error:  # a failed poll is reported, too
            beat = Beat(reason=f"The state cannot be read: {type(error).__name__}.", ping_ms=0)
        wrong = send(url.get_secret_value(), beat)
        if wrong is not None and not self._failing:
            logger.warning("the heartbeat did not reach Uptime Kuma: {wrong}", wrong=wrong)
        elif wrong is None and self._failing:
            logger.info("heartbeats reach Uptime Kuma again")
        self._failing = wrong is not None

    def _run(self) -> None:
        wait = min(1.0, self._ws.settings.check_interval_s)  # wait for the first poll
        while not self._stop.wait(wait):
            self.beat()
            wait = self._ws.settings.check_interval_s
