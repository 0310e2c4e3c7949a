"""`kill -9` in the middle of ingest and cycle: nothing acknowledged is missing, nothing is half there."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from patience import limit

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.services.ingestion import ingest, stored_batches
from core.services.monitoring import monitoring
from core.services.operations import doctor
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace


def run(*arguments: str, wait: bool = True) -> Any:
    """One command line; its JSON answer, or the running process."""
    command = [sys.executable, "-m", "core.cli", *arguments, "--json"]
    if not wait:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy())
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(120), check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def write_rows(path: Path, seed: int, n: int = 300) -> Path:
    """A labelled CSV of a linear concept."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    frame.assign(y=(frame["a"] + frame["b"] > 0).astype(int)).to_csv(path, index=False)
    return path


@pytest.fixture
def project(ws: Workspace, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project with one batch and a quick policy, for child processes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    policy = policy_named("balanced", families=("logistic", "neighbours"), new_labels=100)
    made = projects.create_project(ws, "Killed", Origin(source="file"), by="test", now=now, policy=policy)
    path = write_rows(tmp_path / "first.csv", 0)
    ingest.ingest_file(ws, made, path, by="test", now=now, target="y")
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)  # slow, and a copy only
    run_cycle(ws, made.id, cause="cli", now=now)
    return "killed"


def kill_somewhere(process: subprocess.Popen[bytes], after: float) -> bool:
    """Kill a process after so many seconds; False when it had ended by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


@pytest.mark.campaign
def test_kills_in_ingest_and_cycle_lose_nothing(
    ws: Workspace, project: str, tmp_path: Path, now: datetime, campaign: Any
) -> None:
    rng = random.Random(7)
    acknowledged = 300
    killed = 0
    began = time.monotonic()
    run("doctor")
    whole = max(time.monotonic() - began, 0.5)  # about what a command takes to start
    for i in campaign.rounds("ingest and cycle", campaign.kills):  # up to two kills a round
        path = write_rows(tmp_path / f"rows-{i}.csv", 1 + i)
        process = run("ingest", str(path), "--project", project, wait=False)
        if kill_somewhere(process, whole * rng.uniform(0.5, 1.6)):
            killed += 1
        elif process.returncode == 0:
            acknowledged += 300
        process = run("cycle", "--project", project, "--force", wait=False)
        killed += kill_somewhere(process, whole * rng.uniform(0.7, 2.5))
        info = projects.get_project(ws, project)
        batches, _ = stored_batches.list_batches(ws, info.id, limit=1_000)
        assert info.rows == sum(b.rows for b in batches) >= acknowledged
        acknowledged = info.rows  # a batch that was committed but not answered is there whole
        checks = doctor.examine(ws, now=now, deep=True)
        assert [c for c in checks if not c.ok and c.name not in ("scheduler", "clock")] == []
        # The next cycle takes the dead one's lease at once, closes its row, and measures what it left.
        report = run_cycle(ws, info.id, cause="cli", now=now, force=True)
        assert report is not None
        assert report.status == "done"
        reports, _ = monitoring.cycles(ws, info.id, limit=1_000)
        assert [r for r in reports if r.status == "running"] == []
        if killed >= campaign.kills:
            break
    sys.stdout.write(f"{killed} processes were killed, the others had ended\n")
    assert killed > 0
    points = monitoring.performance_history(ws, projects.get_project(ws, project).id)
    assert sum(p.n for p in points) == acknowledged - 300  # each row after the warm-up measured exactly once
