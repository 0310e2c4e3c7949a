"""The worker: what becomes of a job, also when it fails, takes too long, or its process is asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from patience import limit
from sqlalchemy import select, update

import core.cycle
from core.errors import Busy, Conflict
from core.jobs import ANOTHER_WORKS, time_limits, worker
from core.records import as_written
from core.services.automation import due_work, jobs
from core.services.ingestion import ingest
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.engine import file_lock
from core.storage.tables import Batch, Cycle, Job
from core.storage.workspace import Workspace

REPORT = SimpleNamespace(id=7, decision="nothing", reason=as_written("well"), outcome="none")


@pytest.fixture
def project_id(ws: Workspace, now: datetime) -> int:
    return projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=now).id


@pytest.fixture
def one(ws: Workspace) -> worker.Worker:
    return worker.Worker(ws, threading.Event(), threading.Event())


def _request(ws: Workspace, project_id: int) -> str:
    return jobs.request_cycle(ws, project_id, cause="api", force=False, by="me", now=datetime.now(UTC))


def _failing(errors: list[Exception], calls: list[dict[str, Any]]) -> Callable[..., Any]:
    def run_cycle(_ws: Workspace, _project_id: int, **options: Any) -> Any:
        calls.append(options)
        if errors:
            raise errors.pop(0)
        return REPORT

    return run_cycle


def test_a_requested_cycle_is_tried_again_and_then_done(
    ws: Workspace, project_id: int, one: worker.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws.settings, "retry_delay_s", 0.0)
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(core.cycle, "run_cycle", _failing([OSError("disk"), OSError("disk")], calls))
    job = _request(ws, project_id)
    assert one.step() is True
    done = jobs.get_job(ws, job)
    assert done.status == "done"
    assert done.result == {"cycle": 7, "decision": "nothing", "reason": "well", "outcome": "none"}
    assert len(calls) == 3  # TASK_RETRIES is 2
    assert {(c["cause"], c["force"], c["by"]) for c in calls} == {("api", False, "me")}
    assert one.step() is False


def test_a_refusal_is_shown_to_who_asked_and_not_repeated(
    ws: Workspace, project_id: int, one: worker.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(core.cycle, "run_cycle", _failing([Conflict("It has no rows yet. Store some.")], calls))
    job = _request(ws, project_id)
    one.step()
    assert (jobs.get_job(ws, job).status, jobs.get_job(ws, job).error) == ("failed", "It has no rows yet. Store some.")
    assert len(calls) == 1


def test_an_unexpected_error_is_recorded_without_its_text_and_the_worker_goes_on(
    ws: Workspace, project_id: int, one: worker.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws.settings, "retry_delay_s", 0.0)
    calls: list[dict[str, Any]] = []
    errors: list[Exception] = [OSError("/secret/path")] * 3
    monkeypatch.setattr(core.cycle, "run_cycle", _failing(errors, calls))
    first = _request(ws, project_id)
    one.step()
    failed = jobs.get_job(ws, first)
    assert failed.status == "failed"
    assert failed.error is not None
    assert "/secret/path" not in failed.error
    second = _request(ws, project_id)
    one.step()
    assert jobs.get_job(ws, second).status == "done"


def test_a_request_waits_while_another_process_holds_the_project(
    ws: Workspace, project_id: int, one: worker.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(core.cycle, "run_cycle", _failing([Busy("held")], calls))
    job = _request(ws, project_id)
    one.step()
    assert jobs.get_job(ws, job).status == "done"
    assert len(calls) == 2


def test_a_spooled_file_that_cannot_be_read_fails_its_job_and_is_removed(
    ws: Workspace, project_id: int, one: worker.Worker, tmp_path: Path
) -> None:
    spooled = tmp_path / "upload"
    spooled.write_bytes(b"PAR1 but not really")
    options = {"name": "rows.parquet", "target": "y"}
    job = jobs.request_file(
        ws, project_id, jobs.Spooled(kind="ingest", path=spooled, options=options), by="me", now=datetime.now(UTC)
    )
    one.step()
    failed = jobs.get_job(ws, job)
    assert failed.status == "failed"
    assert failed.error is not None
    assert "rows.parquet" in failed.error
    assert not spooled.exists()


def test_a_stored_file_answers_with_its_batch(
    ws: Workspace, project_id: int, one: worker.Worker, tmp_path: Path
) -> None:
    spooled = tmp_path / "upload"
    spooled.write_text("a,y\n" + "".join(f"{i % 7},{'hi' if i % 2 else 'lo'}\n" for i in range(40)))
    options = {"name": "rows.csv", "target": "y"}
    job = jobs.request_file(
        ws, project_id, jobs.Spooled(kind="ingest", path=spooled, options=options), by="me", now=datetime.now(UTC)
    )
    one.step()
    done = jobs.get_job(ws, job)
    assert done.status == "done", done.error
    assert done.result is not None
    assert (done.result["rows"], done.result["labelled"]) == (40, 40)
    assert not spooled.exists()


# --- as a process --------------------------------------------------------------------------------------------

SLOW = """
import sys, time, types, core.cycle
from core.records import as_written
def run_cycle(ws, project_id, **options):
    print("working", flush=True)
    time.sleep(float(sys.argv[1]))
    return types.SimpleNamespace(id=7, decision="nothing", reason=as_written("well"), outcome="none")
core.cycle.run_cycle = run_cycle
from core.jobs.worker import main
sys.exit(main(sys.argv[2:]))
"""


def _slow(seconds: float, mode: str, **environment: str) -> subprocess.Popen[str]:
    """A worker process whose cycles only take time."""
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(seconds), mode],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_step_that_takes_too_long_is_ended_and_said(ws: Workspace, project_id: int) -> None:
    job = _request(ws, project_id)
    with _slow(60, "--once", CONTINUAL_CYCLE_TIMEOUT_SECONDS="0.5") as process:
        assert process.wait(limit(60)) == time_limits.TOO_LONG
    failed = jobs.get_job(ws, job)
    assert failed.status == "failed"
    assert failed.error == "It exceeded the time limit of 0.5 s (CONTINUAL_CYCLE_TIMEOUT_SECONDS) and was stopped."


def test_sigterm_lets_the_running_step_finish(ws: Workspace, project_id: int) -> None:
    job = _request(ws, project_id)
    with _slow(1.0, "--once") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(limit(10)) == 0
    assert jobs.get_job(ws, job).status == "done"


def test_a_follower_ends_when_its_scheduler_is_gone(ws: Workspace, project_id: int) -> None:
    _request(ws, project_id)
    with _slow(0.5, "--follow") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "working\n"
        process.stdin.close()
        assert process.wait(limit(5)) == 0  # far less than it would idle


def test_only_one_works_on_a_state_folder(ws: Workspace) -> None:
    with file_lock(ws.locks_path / "worker.lock", wait=False) as held:
        assert held
        assert worker.main(["--once"]) == 0
        follower = [sys.executable, "-m", "core.jobs.worker", "--follow"]
        done = subprocess.run(follower, stdin=subprocess.DEVNULL, timeout=limit(60), check=False)
        assert done.returncode == ANOTHER_WORKS


def test_a_backtest_shows_how_far_it_is_and_keeps_its_result(
    ws: Workspace, project_id: int, one: worker.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.learning.policy import policy_named
    from core.services.automation import backtests

    heard: list[tuple[str | None, float | None]] = []

    def compare(
        _ws: Workspace, project: Any, policies: Any, *, since: datetime | None, progress: Any
    ) -> dict[str, Any]:
        progress(0.5, "careful: batch 1 of 2")
        info = jobs.get_job(ws, job)
        heard.append((info.stage, info.share))
        return {"policies": [p.name for p in policies], "since": since and since.isoformat()}

    monkeypatch.setattr(backtests, "compare_policies", compare)
    since = datetime(2026, 1, 2, tzinfo=UTC)
    job = jobs.request_backtest(
        ws, project_id, [policy_named("careful", new_labels=77)], since=since, by="me", now=datetime.now(UTC)
    )
    assert jobs.newest_backtest(ws, project_id) is None
    assert one.step() is True
    assert heard == [("careful: batch 1 of 2", 0.5)]
    newest = jobs.newest_backtest(ws, project_id)
    assert newest is not None and newest.id == job
    assert newest.result == {"policies": ["careful"], "since": since.isoformat()}


def test_a_worker_makes_way_after_a_fit_that_is_left_running(
    ws: Workspace, project_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.cycle, "run_cycle", lambda *a, **o: REPORT)
    monkeypatch.setattr(core.cycle, "fits_left_running", lambda: True)
    _request(ws, project_id)
    _request(ws, projects.create_project(ws, "Others", Origin(source="file"), by="me", now=datetime.now(UTC)).id)
    worker.Worker(ws, threading.Event(), threading.Event()).run(once=True)
    with ws.database.read() as session:
        assert due_work.pending(session, datetime.now(UTC)), "the second job waits for the next worker"


# --- a process that ends between a step and its job's end -------------------------------------------------------


class Died(BaseException):
    """Stands for `kill -9`: nothing below catches it."""


def _dying(ws: Workspace, one: worker.Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of a worker that dies after the step's own commit, before it could say that the job is done."""

    def _die(*_given: Any, **_named: Any) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "finish", _die)
        with pytest.raises(Died):
            one.step()
    with ws.database.write() as session:
        session.execute(update(Job).values(lease_until=datetime.now(UTC) - timedelta(seconds=1)))


def test_an_upload_whose_worker_died_after_storing_it_is_done(
    ws: Workspace, project_id: int, one: worker.Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a,y\n" + "".join(f"{i % 7},{'hi' if i % 2 else 'lo'}\n" for i in range(40))
    spooled = tmp_path / "upload"
    spooled.write_text(text)
    options = {"name": "rows.csv", "target": "y"}
    job = jobs.request_file(
        ws, project_id, jobs.Spooled(kind="ingest", path=spooled, options=options), by="me", now=datetime.now(UTC)
    )
    _dying(ws, one, monkeypatch)
    spooled.write_text(text)  # a killed process removes nothing
    one.step()
    done = jobs.get_job(ws, job)
    assert (done.status, done.error) == ("done", None)
    assert done.result is not None
    with ws.database.read() as session:
        assert session.scalars(select(Batch.id)).all() == [done.result["batch"]]


def test_a_forced_cycle_whose_worker_died_after_it_is_not_run_twice(
    ws: Workspace, project_id: int, one: worker.Worker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = projects.project_by_id(ws, project_id)
    frame = pd.DataFrame({"a": np.arange(120) % 7, "y": ["hi", "lo"] * 60})
    ingest.ingest_frame(ws, project, frame, origin="a", by="me", now=now, target="y")
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)
    job = jobs.request_cycle(ws, project_id, cause="api", force=True, by="me", now=now)
    _dying(ws, one, monkeypatch)
    one.step()
    done = jobs.get_job(ws, job)
    assert (done.status, done.error) == ("done", None)
    with ws.database.read() as session:
        cycles = session.scalars(select(Cycle.id)).all()
    assert len(cycles) == 1
    assert done.result is not None
    assert done.result["cycle"] == done.cycle_id == cycles[0]


def test_what_fails_after_a_cycle_counts_does_not_make_it_a_failed_one(
    ws: Workspace, project_id: int, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = projects.project_by_id(ws, project_id)
    frame = pd.DataFrame({"a": np.arange(120) % 7, "y": ["hi", "lo"] * 60})
    ingest.ingest_frame(ws, project, frame, origin="a", by="me", now=now, target="y")
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)

    def _full(*_given: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.storage.learners.drop_old", _full)
    report = core.cycle.run_cycle(ws, project_id, cause="cli", now=now)
    assert report is not None
    with ws.database.read() as session:
        assert session.get_one(Cycle, report.id).status == "done"
