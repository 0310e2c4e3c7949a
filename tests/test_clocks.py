"""A clock that is set: nothing falls silent by it, and what was written by a clock that was ahead is not taken for life."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from patience import limit
from sqlalchemy import select

import core.cycle
from core.errors import Busy
from core.jobs.clock import ClockWatch, check_after_jump
from core.services.automation import due_work, jobs, live, workers
from core.services.incidents import delivery, status
from core.services.monitoring.overview import overview
from core.services.operations import doctor
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.tables import Job, Lease, LiveRun, Notice
from core.storage.workspace import Workspace

DAY = timedelta(days=1)


class Clocks:
    """The two clocks of a machine, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 50.0

    def go(self, seconds: float, *, set_by: float = 0.0) -> None:
        self.wall += seconds + set_by
        self.steady += seconds


@pytest.fixture
def project_id(ws: Workspace, now: datetime) -> int:
    return projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=now).id


def test_the_watch_distinguishes_a_clock_that_was_set_from_one_that_runs() -> None:
    clocks = Clocks()
    watch = ClockWatch(lambda: clocks.wall, lambda: clocks.steady)
    for seconds in (1.0, 600.0, 0.1):
        clocks.go(seconds)
        assert watch.jump() == 0.0
    clocks.go(1.0, set_by=-86_400.0)
    assert watch.jump() == pytest.approx(-86_400.0)
    clocks.go(1.0)
    assert watch.jump() == 0.0
    clocks.go(1.0, set_by=60.0)
    assert watch.jump() == pytest.approx(60.0)
    clocks.go(1.0, set_by=-2.0)  # a machine that keeps its time by the network is corrected now and then
    assert watch.jump() == 0.0


def test_a_clock_that_was_set_back_silences_no_job() -> None:
    clocks, ran = Clocks(), threading.Event()
    watch = ClockWatch(lambda: clocks.wall, lambda: clocks.steady)
    clock = BackgroundScheduler(timezone=UTC)
    clock.add_job(
        ran.set, "interval", seconds=3600, id="check"
    )  # where APScheduler would sleep for as long as the jump
    clock.start()
    try:
        check_after_jump(clock, watch)
        assert clock.get_job("check").next_run_time > datetime.now(UTC) + timedelta(minutes=50)
        clocks.go(1.0, set_by=-86_400.0)
        check_after_jump(clock, watch)
        assert ran.wait(limit(10))
    finally:
        clock.shutdown()


def test_a_beat_in_the_future_is_no_sign_of_life(ws: Workspace, project_id: int, now: datetime) -> None:
    workers.beat(ws, status.SCHEDULER, owner="test", now=now + DAY)
    found = status.health(ws, None, now, damaged=lambda _id: False)
    assert (found.status, found.reason) == ("degraded", status.CLOCK_SET_BACK)
    assert found.scheduler_age_seconds == -86_400.0
    assert workers.scheduler_lives(ws, now) is False
    check = next(c for c in doctor.examine(ws, now=now) if c.name == "scheduler")
    assert (check.ok, check.detail) == (False, "last heartbeat 86400 s in the future")
    assert "clock" in check.fix
    seen = overview(ws, projects.project_by_id(ws, project_id), now)
    assert seen.scheduler_age_s == -86_400.0


def test_a_beat_a_little_ahead_is_of_now(ws: Workspace, now: datetime) -> None:
    workers.beat(ws, status.SCHEDULER, owner="test", now=now + timedelta(seconds=30))
    found = status.health(ws, None, now, damaged=lambda _id: False)
    assert (found.status, found.scheduler_age_seconds) == ("ok", 0.0)
    assert workers.scheduler_lives(ws, now) is True


def test_what_a_clock_ahead_has_put_off_for_a_day_is_due(ws: Workspace, project_id: int, now: datetime) -> None:
    ahead = now + DAY
    job = jobs.request_cycle(ws, project_id, cause="api", force=False, by="me", now=ahead)
    with ws.database.write() as session:
        row = session.get_one(Job, job)
        row.status, row.attempts, row.lease_until = "running", 1, ahead
        session.add(
            LiveRun(
                project_id=project_id, status="playing", sample="insects", position=0, total=9, batch_rows=3,
                seconds_per_batch=1.0, created_at=ahead, next_at=ahead,
            )
        )  # fmt: skip
        session.add(Notice(project_id=project_id, channel="test", payload={}, created_at=ahead, next_attempt_at=ahead))
    with ws.database.read() as session:
        assert due_work.pending(session, now)
        assert due_work.notices_due(session, now)
    assert len(live.due_runs(ws, now)) == 1
    sent: list[Any] = []

    class Channel:
        def send(self, payload: dict[str, Any]) -> float | None:
            sent.append(payload)
            return None

    assert delivery.deliver_due(ws, now, notifiers={"test": Channel()}) == len(sent) == 1
    claimed = jobs.claim_next(ws, "me", now)
    assert claimed is not None
    assert claimed.id == job
    assert jobs.claim_next(ws, "other", now) is None  # its claim is of this clock


def test_a_lease_of_a_clock_that_was_ahead_is_taken_over(ws: Workspace, project_id: int) -> None:
    def _held(until: datetime) -> None:
        with ws.database.write() as session:
            session.merge(Lease(name=f"project:{project_id}", owner="elsewhere:1:1:1", expires_at=until))

    clock = datetime.now(UTC)
    _held(clock + timedelta(seconds=50))
    with pytest.raises(Busy):
        core.cycle.run_cycle(ws, project_id, cause="cli", now=clock)
    _held(clock + DAY)
    assert core.cycle.run_cycle(ws, project_id, cause="cli", now=clock) is None
    with ws.database.read() as session:
        assert session.scalar(select(Lease.name)) is None
