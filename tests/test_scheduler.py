"""The clock: slim, cheap when nothing happens, quick when somebody asks, one leader at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

from patience import limit, until
from sqlalchemy import event, select

from core.jobs.clock import Scheduler
from core.services.automation import jobs
from core.services.incidents import status
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.tables import Cycle, Heartbeat
from core.storage.workspace import Workspace

ROOT = os.environ["PYTHONPATH"]


def _owner(ws: Workspace) -> str | None:
    with ws.database.read() as session:
        return session.scalar(select(Heartbeat.owner).where(Heartbeat.name == status.SCHEDULER))


def test_heavy_packages_stay_out_of_the_scheduler() -> None:
    heavy = "{'pandas', 'sklearn', 'scipy', 'mlflow', 'streamlit', 'plotly', 'pyarrow', 'fastapi'}"
    code = f"import scheduler, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_look_and_a_check_that_find_nothing_cost_one_query_each_and_start_nothing(
    ws: Workspace, now: datetime
) -> None:
    projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=now)
    scheduler = Scheduler(ws)
    scheduler.check()
    asked: list[str] = []

    @event.listens_for(ws.database.engine, "before_cursor_execute")
    def _note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(("BEGIN", "COMMIT")):
            asked.append(statement)

    scheduler.check()
    reads = [statement for statement in asked if "heartbeats" not in statement]
    assert len(reads) == 1
    asked.clear()
    scheduler.poll()
    assert len(asked) == 2  # work, and messages
    assert scheduler._worker is None
    with ws.database.read() as session:
        assert session.scalar(select(Cycle.id).limit(1)) is None


def test_a_requested_cycle_is_taken_and_a_killed_leader_replaced(ws: Workspace, now: datetime) -> None:
    project = projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=now)
    environment = {**os.environ, "CHECK_INTERVAL_SECONDS": "0.5"}
    command = [sys.executable, os.path.join(ROOT, "scheduler.py")]
    processes = [subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) for _ in range(2)]
    try:
        until("a leader", lambda: _owner(ws) is not None)
        leader = next(p for p in processes if str(_owner(ws)).endswith(f":{p.pid}"))
        other = next(p for p in processes if p is not leader)
        job = jobs.request_cycle(ws, project.id, cause="api", force=False, by="me", now=datetime.now(UTC))
        until("the job to end", lambda: jobs.get_job(ws, job).status in ("done", "failed"), seconds=60)
        done = jobs.get_job(ws, job)
        assert done.status == "done", done.error
        assert done.result is not None
        assert done.result["cycle"] is None  # a project without rows has nothing to check
        leader.kill()
        until("the other to lead", lambda: str(_owner(ws)).endswith(f":{other.pid}"), seconds=15)
        other.send_signal(signal.SIGTERM)
        assert other.wait(limit(10)) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
