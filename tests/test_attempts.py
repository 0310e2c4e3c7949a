"""Work that takes its process along, errors that may pass, a project deleted under its cycle: nothing else stands still."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

import core.cycle
from core.errors import Busy, Conflict, NotFound, StorageError
from core.jobs import time_limits, worker
from core.records import ProjectInfo
from core.services.automation import attempts, due_work, jobs, live
from core.services.incidents import status
from core.services.ingestion import ingest
from core.services.monitoring.overview import overview
from core.services.operations import doctor
from core.services.projects import projects, streams
from core.services.projects.projects import Origin
from core.storage.tables import AuditEntry, Cycle, Job, LiveRun, Notice, Project
from core.storage.workspace import Workspace


class Died(BaseException):
    """Stands for `kill -9`: nothing below catches it."""


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def _made(ws: Workspace, name: str, now: datetime) -> ProjectInfo:
    project = projects.create_project(ws, name, Origin(source="file"), by="me", now=now)
    frame = pd.DataFrame({"a": np.arange(120) % 7, "y": ["hi", "lo"] * 60})
    ingest.ingest_frame(ws, project, frame, origin="a", by="me", now=now, target="y")
    return projects.project_by_id(ws, project.id)


@pytest.fixture
def look(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """One look of a new worker through the projects; which of them it began, and whether it died of one."""

    def _look(*, deadly: set[int]) -> list[int]:
        began: list[int] = []

        def run_cycle(ws: Workspace, project_id: int, **_options: Any) -> None:
            began.append(project_id)
            if project_id in deadly:
                raise Died
            with ws.database.write() as session:
                session.execute(update(Project).where(Project.id == project_id).values(checked_news=Project.news))

        checks = threading.Event()
        checks.set()
        with monkeypatch.context() as patched:
            patched.setattr(core.cycle, "run_cycle", run_cycle)
            try:
                worker.Worker(ws, threading.Event(), checks).step()
            except Died:
                began.append(0)
        return began

    return _look


def test_a_check_that_kills_its_worker_keeps_no_other_project_from_its_turn(
    ws: Workspace, now: datetime, look: Callable[..., list[int]]
) -> None:
    heavy, light = _made(ws, "Heavy", now).id, _made(ws, "Light", now).id
    assert look(deadly={heavy}) == [heavy, 0]
    assert look(deadly={heavy}) == [light, heavy, 0]  # whose turn came longest ago is first
    assert look(deadly={heavy}) == [heavy, 0]
    assert look(deadly={heavy}) == []
    assert look(deadly={heavy}) == []


def test_what_was_set_aside_is_reported_and_begun_again_when_something_new_comes(
    ws: Workspace, now: datetime, look: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws.settings, "discord_webhook_url", SecretStr("https://example.invalid/hook"))
    heavy = _made(ws, "Heavy", now)
    for _ in range(3):
        assert look(deadly={heavy.id}) == [heavy.id, 0]
    assert look(deadly=set()) == []
    with ws.database.read() as session:
        reported = session.scalars(select(AuditEntry).where(AuditEntry.what == "checks set aside")).all()
        notices = session.scalars(select(Notice)).all()
        assert due_work.due_projects(session, datetime.now(UTC) + timedelta(days=1)) == []
    assert [entry.project_id for entry in reported] == [heavy.id]
    assert "CONTINUAL_CYCLE_TIMEOUT_SECONDS" in str(reported[0].after)
    assert [n.payload["embeds"][0]["title"] for n in notices] == ["Heavy: checks suspended"]
    health = status.health(ws, None, now, damaged=lambda _id: False)
    assert (health.status, health.reason) == ("degraded", status.CHECKS_STOPPED)
    check = next(c for c in doctor.examine(ws, now=now) if c.name == "checks")
    assert (check.ok, "heavy" in check.detail) == (False, True)
    assert "stopped" in [need.kind for need in overview(ws, heavy, now).needs]

    frame = pd.DataFrame({"a": np.arange(60) % 5, "y": ["hi", "lo"] * 30})
    ingest.ingest_frame(ws, heavy, frame, origin="b", by="me", now=now + timedelta(hours=1))
    assert look(deadly={heavy.id}) == [heavy.id, 0]  # one try for what is new
    assert look(deadly={heavy.id}) == []
    with ws.database.read() as session:
        assert len(session.scalars(select(Notice)).all()) == 1
    core.cycle.run_cycle(ws, heavy.id, cause="button", now=now + timedelta(hours=2))  # a person asked, with more memory
    assert status.health(ws, None, now, damaged=lambda _id: False).status == "ok"
    with ws.database.read() as session:
        row = session.get_one(Project, heavy.id)
        assert (row.check_attempts, row.checks_stopped_at) == (0, None)


def test_a_check_that_ends_however_it_ends_counts_for_nothing(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _made(ws, "Light", now)
    for error in (Busy("held"), ValueError("no"), Busy("held")):
        checks = threading.Event()
        checks.set()

        def _raise(*_given: Any, error: Exception = error, **_options: Any) -> None:
            raise error

        monkeypatch.setattr(core.cycle, "run_cycle", _raise)
        monkeypatch.setattr(ws.settings, "task_retries", 0)
        worker.Worker(ws, threading.Event(), checks).step()
        with ws.database.read() as session:
            assert session.get_one(Project, project.id).check_attempts == 0


def test_a_try_that_was_cut_off_by_the_end_of_the_worker_is_crossed_out(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _made(ws, "Light", now)
    job = jobs.request_cycle(ws, project.id, cause="api", force=True, by="me", now=now)
    ended: list[int] = []
    monkeypatch.setattr(time_limits, "STOP_S", 0.0)
    monkeypatch.setattr(time_limits, "end_now", ended.append)

    def _stopped(*_given: Any, **_options: Any) -> None:
        time_limits.cut_off()
        raise Died  # here the process has ended

    monkeypatch.setattr(core.cycle, "run_cycle", _stopped)
    checks = threading.Event()
    with pytest.raises(Died):
        worker.Worker(ws, threading.Event(), checks).step()
    found = jobs.get_job(ws, job)
    assert (found.status, found.attempts) == ("queued", 0)
    jobs.fail(ws, job, "of no matter here", now)
    checks.set()
    with pytest.raises(Died):
        worker.Worker(ws, threading.Event(), checks).step()
    with ws.database.read() as session:
        assert session.get_one(Project, project.id).check_attempts == 0
    assert ended == [1, 1]


def test_a_job_that_is_given_up_is_reported(ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws.settings, "discord_webhook_url", SecretStr("https://example.invalid/hook"))
    project = _made(ws, "Heavy", now)
    job = jobs.request_cycle(ws, project.id, cause="api", force=True, by="me", now=now)
    with ws.database.write() as session:
        row = session.get_one(Job, job)
        row.status, row.attempts, row.lease_until = "running", jobs.MAX_ATTEMPTS, now
    assert jobs.claim_next(ws, "me", now) is None
    assert jobs.get_job(ws, job).status == "failed"
    with ws.database.read() as session:
        assert (
            session.scalar(
                select(AuditEntry.what).where(AuditEntry.project_id == project.id, AuditEntry.who == "worker")
            )
            == "job given up"
        )
        assert len(session.scalars(select(Notice)).all()) == 1


# --- live runs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(ws: Workspace, now: datetime) -> live.LiveInfo:
    project = streams.create_sample_project(ws, by="me", now=now)
    return live.start_live(ws, project, by="me", now=now, seconds_per_batch=0.0)


def _row(ws: Workspace, run: live.LiveInfo) -> LiveRun:
    with ws.database.read() as session:
        return session.get_one(LiveRun, run.id)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OperationalError("INSERT", {}, Exception("database is locked")),
    ],
)
def test_an_error_that_may_pass_puts_a_live_run_off(
    ws: Workspace, now: datetime, run: live.LiveInfo, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def _raise(*_given: Any, **_options: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(live, "store_next", _raise)
        pauses = []
        for _ in range(3):
            core.cycle.advance_live(ws, run.id, now=now)
            row = _row(ws, run)
            assert row.status == "playing"
            assert row.next_at is not None
            pauses.append((row.next_at - now).total_seconds())
            assert row.error is not None
            assert "retried" in row.error
    assert pauses == [2.0, 4.0, 8.0]
    monkeypatch.setattr("core.cycle.live.run_cycle", lambda *_given, **_options: None)
    core.cycle.advance_live(ws, run.id, now=now)
    row = _row(ws, run)
    assert (row.status, row.error, row.retries, row.attempts) == ("playing", None, 0, 0)


def test_a_live_run_that_another_worker_advanced_meanwhile_plays_on(
    ws: Workspace, now: datetime, run: live.LiveInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_frame = ingest.ingest_frame

    def _late(*given: Any, **options: Any) -> Any:
        with ws.database.write() as session:
            session.get_one(LiveRun, run.id).position += run.batch_rows
        return ingest_frame(*given, **options)

    monkeypatch.setattr(ingest, "ingest_frame", _late)
    core.cycle.advance_live(ws, run.id, now=now)
    row = _row(ws, run)
    assert (row.status, row.error, row.position) == ("playing", None, run.position + run.batch_rows)


def test_a_full_disk_at_the_rows_puts_it_off_and_a_missing_file_ends_it(
    ws: Workspace, now: datetime, run: live.LiveInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _failing(cause: Exception) -> Callable[..., None]:
        def _raise(*_given: Any, **_options: Any) -> None:
            raise StorageError("It cannot be done.") from cause

        return _raise

    monkeypatch.setattr("core.cycle.live.run_cycle", _failing(OSError(28, "No space left on device")))
    core.cycle.advance_live(ws, run.id, now=now)
    assert _row(ws, run).status == "playing"
    monkeypatch.setattr("core.cycle.live.run_cycle", _failing(FileNotFoundError(2, "No such file")))
    core.cycle.advance_live(ws, run.id, now=now)
    assert (_row(ws, run).status, _row(ws, run).error) == ("failed", "It cannot be done.")
    again = live.set_live_status(ws, run.id, "playing", by="me", now=now)
    assert (again.status, again.error) == ("playing", None)
    assert live.due_runs(ws, now) == [run.id]
    live.fail_run(ws, run.id, "It cannot be done.")
    live.start_live(ws, projects.project_by_id(ws, run.project_id), by="me", now=now)
    with pytest.raises(Conflict, match="in progress"):
        live.set_live_status(ws, run.id, "playing", by="me", now=now)


def test_a_live_run_that_kills_its_worker_is_given_up_after_three(
    ws: Workspace, now: datetime, run: live.LiveInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _die(*_given: Any, **_options: Any) -> None:
        raise Died

    monkeypatch.setattr("core.cycle.live.run_cycle", _die)
    for _ in range(3):
        with pytest.raises(Died):
            worker.Worker(ws, threading.Event(), threading.Event()).step()
    worker.Worker(ws, threading.Event(), threading.Event()).step()
    row = _row(ws, run)
    assert row.status == "failed"
    assert row.error is not None
    assert "memory" in row.error


# --- a project that is deleted, a check that fails early ------------------------------------------------------------


def test_a_project_deleted_under_its_cycle_ends_clean(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _made(ws, "Gone", now)
    whole = core.cycle.run.register_challenger

    def _deleted_meanwhile(*given: Any, **options: Any) -> None:
        projects.delete_project(ws, project, by="me", now=now)
        whole(*given, **options)

    monkeypatch.setattr("core.cycle.run.register_challenger", _deleted_meanwhile)
    with pytest.raises(NotFound, match="deleted while this check ran"):
        core.cycle.run_cycle(ws, project.id, cause="cli", now=now)
    left = [p for folder in (ws.models_path, ws.batches.root) for p in Path(folder).glob(f"p{project.id}*")]
    assert left == []


def test_a_log_that_cannot_be_sealed_leaves_an_audit_row(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _made(ws, "Full", now)

    def _full(*_given: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.services.ingestion.sealing.seal_log", _full)
    with pytest.raises(OSError, match="No space"):
        core.cycle.run_cycle(ws, project.id, cause="schedule", now=now)
    with ws.database.read() as session:
        row = session.scalars(select(Cycle)).one()
    assert (row.status, row.error) == (
        "failed",
        "Sealing the log failed: The disk is full. Free some space, then try again.",
    )


def test_the_count_of_tries_is_of_one_project(ws: Workspace, now: datetime) -> None:
    one, other = _made(ws, "One", now).id, _made(ws, "Other", now).id
    assert [attempts.begin_check(ws, one, now) for _ in range(4)] == [True, True, True, False]
    assert attempts.begin_check(ws, other, now)
    assert attempts.begin_check(ws, 99, now) is False
