"""The scheduler within an app that is served alone: once a process, never beside another, and at once what fell due."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from patience import until

from core.jobs import clock, in_app
from core.jobs.stop import Stop
from core.services.automation import due_work, workers
from core.services.incidents import status
from core.services.ingestion import ingest
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import Settings
from core.storage.engine import file_lock
from core.storage.workspace import Workspace, open_workspace


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """What was started, without starting it."""
    runs: list[Workspace] = []
    monkeypatch.setattr(in_app, "run", lambda ws, stop: runs.append(ws))
    monkeypatch.setattr(in_app, "_end_with_the_app", lambda led, stop: None)
    monkeypatch.setattr(in_app.frugal, "begin", lambda: None)
    monkeypatch.setattr(in_app, "_started", False)
    return runs


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Each time that a worker was wanted, and whether for checks."""
    calls: list[bool] = []
    monkeypatch.setattr(clock.Scheduler, "_wake", lambda self, *, check: calls.append(check))
    return calls


@pytest.fixture
def led(ws: Workspace) -> Iterator[threading.Thread]:
    """The clock in a thread of this process, ended after the test."""
    stop = Stop()
    thread = threading.Thread(target=in_app.run, args=(ws, stop))
    yield thread
    stop.set()
    if thread.ident is not None:
        thread.join()


def test_many_visitors_at_once_start_one(ws: Workspace, begun: list[Workspace]) -> None:
    visitors = [threading.Thread(target=in_app.start, args=(ws,)) for _ in range(20)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert in_app.start(ws) is False
    until("the one", lambda: begun == [ws])


def test_none_is_started_where_the_setting_says_so(migrated_database: object, begun: list[Workspace]) -> None:
    quiet = open_workspace(Settings(CONTINUAL_SCHEDULER_IN_APP="off"))
    assert in_app.start(quiet) is False
    quiet.database.dispose()
    assert begun == []


def test_the_server_beside_which_a_scheduler_runs_starts_none() -> None:
    code = "import server; from core.settings import get_settings; print(get_settings().scheduler_in_app)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "off"


def test_the_app_takes_no_heavy_package_for_it() -> None:
    code = "import core.ui, sys; print(sorted({'sklearn', 'mlflow', 'apscheduler'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_fell_due_while_asleep_is_checked_at_once(ws: Workspace, woken: list[bool], led: threading.Thread) -> None:
    asleep_since = datetime.now(UTC) - timedelta(hours=12)
    project = projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=asleep_since)
    frame = pd.DataFrame({"a": range(50), "label": ["x", "y"] * 25})
    ingest.ingest_frame(ws, project, frame, target="label", origin="rows", by="me", now=asleep_since)
    with ws.database.read() as session:
        assert due_work.due_projects(session, datetime.now(UTC)) == [project.id]
    assert ws.settings.check_interval_s == 30  # not waited for
    led.start()
    until("the check", lambda: True in woken, seconds=5)


def test_it_stands_by_while_another_leads_and_then_leads(
    ws: Workspace, woken: list[bool], led: threading.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "STANDBY_S", 0.05)
    leading: list[int] = []
    monkeypatch.setattr(clock, "_lead", lambda ws, stop: (leading.append(1), stop.wait()))
    stood = threading.Event()
    monkeypatch.setattr(clock.logger, "info", lambda text, **_: stood.set())
    with file_lock(ws.locks_path / "scheduler.lock"):
        led.start()
        assert stood.wait(20)
        assert leading == []
    until("it to lead", lambda: leading == [1])


def test_an_error_does_not_end_it(ws: Workspace, led: threading.Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_app, "AGAIN_AFTER_S", 0.01)
    tries: list[int] = []

    def fail(ws: Workspace, stop: Stop) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the database is out of reach")
        stop.wait()

    monkeypatch.setattr(clock, "stand_by", fail)
    led.start()
    until("the third try", lambda: len(tries) == 3)


def test_it_beats_as_a_scheduler_does(ws: Workspace, woken: list[bool], led: threading.Thread) -> None:
    led.start()
    until("a heartbeat", lambda: workers.scheduler_lives(ws, datetime.now(UTC)))
    with ws.database.read() as session:
        assert status.scheduler_age(session, datetime.now(UTC)) is not None
