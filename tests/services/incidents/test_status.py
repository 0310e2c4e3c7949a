"""What the scheduler's last heartbeat tells of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.services.incidents import status
from core.services.incidents.status import AHEAD_S, MISSED_BEATS, Beat
from core.storage.tables import Heartbeat
from core.storage.workspace import Workspace


def test_without_a_beat_there_never_was_a_scheduler(ws: Workspace, now: datetime) -> None:
    assert status.beat(ws, now) == Beat(state="never")


@pytest.mark.parametrize(
    ("intervals", "state", "left"), [(0.25, "alive", 0.75), (2.0, "alive", 0.0), (MISSED_BEATS + 1.0, "late", 0.0)]
)
def test_a_scheduler_that_was_heard_of_looks_again_after_its_interval(
    ws: Workspace, now: datetime, intervals: float, state: str, left: float
) -> None:
    every = ws.settings.check_interval_s
    with ws.database.write() as session:
        session.add(Heartbeat(name=status.SCHEDULER, at=now - timedelta(seconds=intervals * every)))
    assert status.beat(ws, now) == Beat(state=state, age_s=intervals * every, next_s=left * every)  # type: ignore[arg-type]


def test_a_beat_in_the_future_points_to_a_clock(ws: Workspace, now: datetime) -> None:
    with ws.database.write() as session:
        session.add(Heartbeat(name=status.SCHEDULER, at=now + timedelta(seconds=2 * AHEAD_S)))
    assert status.beat(ws, now) == Beat(state="ahead", age_s=2 * AHEAD_S)
