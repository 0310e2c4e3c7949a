"""Prefect's real server and the flows beside a living scheduler: scheduled runs complete, one after a retry, no batch is measured twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from patience import limit, until
from sqlalchemy import func, select

from core.jobs import prefect_runner
from core.services.ingestion import ingest
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.tables import Batch, Cycle, PerformanceRun
from core.storage.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
INTERVAL_S = 4
RUNS = int(os.environ.get("CONTINUAL_SOAK_PREFECT_RUNS", "3"))  # scheduled ones of each flow that have to complete
SEED = 3  # of its numbers the first is below 0.5 and the second is not
START_S, RUN_S = 90.0, 30.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (prefect_runner.environment_path() / "bin" / "prefect").exists(),
        reason="Prefect's environment is not there: `make prefect` makes it in .venv-prefect",
    ),
]


@contextmanager
def _process(*command: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": str(ROOT), "CHECK_INTERVAL_SECONDS": str(INTERVAL_S), **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    children: list[psutil.Process] = []
    try:
        yield process
        assert process.poll() is None, log.read_text()
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
        process.wait(limit(30))
        _, left = psutil.wait_procs(children, timeout=limit(10))
        for child in left:
            child.kill()
    assert left == []
    assert process.returncode == 0


def _ask(port: int, path: str, **question: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{path}",
        data=json.dumps(question).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def _ended(port: int) -> list[dict[str, Any]]:
    """Scheduled runs that have come to their end, of both flows."""
    try:
        flows = {flow["id"]: flow["name"] for flow in _ask(port, "flows/filter")}
        found = _ask(
            port, "flow_runs/filter", flow_runs={"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
        )
    except OSError:
        return []  # not up yet
    return [{**run, "flow": flows[run["flow_id"]]} for run in found if run["auto_scheduled"]]


def _completed(port: int, flow: str) -> list[dict[str, Any]]:
    return [run for run in _ended(port) if run["flow"] == flow and run["state_type"] == "COMPLETED"]


def _batch(number: int) -> pd.DataFrame:
    rng = np.random.default_rng(number)
    frame = pd.DataFrame({"a": rng.normal(size=150), "b": rng.normal(size=150)})
    frame["y"] = np.where(frame["a"] + rng.normal(scale=0.3, size=150) > 0, "up", "down")
    return frame


def test_scheduled_checks_complete_and_two_clocks_measure_each_batch_once(
    ws: Workspace, now: datetime, free_port: Callable[[], int], tmp_path: Path
) -> None:
    project = projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=now)
    ingest.ingest_frame(ws, project, _batch(0), origin="first", now=now, by="me", target="y")
    project = projects.project_by_id(ws, project.id)
    port = free_port()
    logs = tmp_path / "prefect.log", tmp_path / "scheduler.log"
    with (
        _process("-m", "core.jobs.prefect_runner", log=logs[0], PREFECT_PORT=str(port), CONTINUAL_SMOKE_SEED=str(SEED)),
        _process(str(ROOT / "scheduler.py"), log=logs[1]),
    ):
        until("the first scheduled run", lambda: _completed(port, "check"), seconds=START_S, every=0.5)
        for number in range(1, RUNS + 1):
            ingest.ingest_frame(ws, project, _batch(number), origin=f"{number}", now=datetime.now(UTC), by="me")
            until("another run", lambda n=number: len(_completed(port, "check")) > n, seconds=RUN_S, every=0.5)  # type: ignore[misc]
        until("smoke runs", lambda: len(_completed(port, "random-check")) >= RUNS, seconds=RUN_S * RUNS, every=0.5)
        until("all batches measured", lambda: _measured(ws) >= set(range(1, RUNS + 1)), seconds=RUN_S, every=0.5)
        time.sleep(2 * INTERVAL_S)  # whoever would measure a batch again does so now
        runs = _ended(port)
        task_runs = _ask(port, "task_runs/filter")
    assert [run["state_name"] for run in runs if run["state_type"] != "COMPLETED"] == [], logs[0].read_text()
    retried = [run for run in task_runs if run["name"].startswith("draw") and run["run_count"] == 2]
    assert len(retried) >= RUNS
    assert "retrying: attempt 2 of 3" in logs[0].read_text()
    with ws.database.read() as session:
        times = session.execute(
            select(PerformanceRun.batch_id, PerformanceRun.role, func.count())
            .where(PerformanceRun.project_id == project.id)
            .group_by(PerformanceRun.batch_id, PerformanceRun.role)
        ).all()
        cycles = session.scalars(select(Cycle).where(Cycle.project_id == project.id)).all()
        taken = [batch for cycle in cycles for batch in cycle.batch_ids or ()]
        stored = session.scalars(select(Batch.id).where(Batch.project_id == project.id)).all()
    assert [row for row in times if row[2] != 1] == []
    assert sorted(taken) == sorted(set(taken))
    assert set(taken) <= set(stored)
    assert {cycle.cause for cycle in cycles} == {"schedule"}
    assert {cycle.status for cycle in cycles} == {"done"}
    sys.stdout.write(
        f"{len(runs)} scheduled runs completed, {len(retried)} after a retry; {len(cycles)} cycles, {len(taken)} batches\n"
    )


def _measured(ws: Workspace) -> set[int]:
    """Numbers of the batches that a cycle has taken, the first aside: it trained."""
    with ws.database.read() as session:
        cycles = session.scalars(select(Cycle.batch_ids)).all()
        ids = {batch for found in cycles for batch in found or ()}
        return {number - 1 for (number,) in session.execute(select(Batch.number).where(Batch.id.in_(ids)))}
