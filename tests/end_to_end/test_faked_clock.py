"""Real processes on a machine whose clock is set while they run, by libfaketime: all is measured once, in its order.

`tests/test_clock_steps.py` is the same without that library.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Campaign
from patience import limit, until
from sqlalchemy import func, select

from core.services.automation import due_work
from core.services.projects import projects
from core.storage.tables import Batch, Cycle, Heartbeat, Lease, PerformanceRun, Prediction
from core.storage.workspace import Workspace

DAY = 86_400
ASKED = due_work.LABELS_WORTH_A_CHECK  # fewer labels wait for others, up to ten minutes
LIBRARY = next(
    (path for folder in ("/usr/lib", "/usr/local/lib") for path in Path(folder).glob("**/faketime/libfaketimeMT.so.1")),
    None,
)
needs_library = pytest.mark.skipif(
    LIBRARY is None, reason="libfaketime is not installed (Debian: apt-get install faketime)"
)


def rows(seed: int, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    return frame.assign(y=(frame["a"] + frame["b"] > 0).astype(int))


class Clock:
    """The clock of the processes that get its environment."""

    def __init__(self, file: Path, zone: str) -> None:
        self.file = file
        self.environment = {
            **os.environ, "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "CHECK_INTERVAL_SECONDS": "1", "TZ": zone,
        }  # fmt: skip
        self.set(0)

    def set(self, seconds: int) -> None:
        """All at once: a process must not read half a line."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "core.cli", *arguments, "--json"],
            env=self.environment, capture_output=True, text=True, timeout=limit(120), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        json.loads(done.stdout)


@pytest.fixture
def clock(ws: Workspace, tmp_path: Path) -> Iterator[Callable[[str], Clock]]:
    """Starts a scheduler under a clock of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def _start(zone: str) -> Clock:
        made = Clock(tmp_path / "clock", zone)
        command = [sys.executable, str(ROOT / "scheduler.py")]
        started.append(subprocess.Popen(command, env=made.environment, stdin=subprocess.DEVNULL))
        return made

    yield _start
    for process in started:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(limit(20))
        finally:
            process.kill()


def measured(ws: Workspace) -> list[tuple[str, int]]:
    with ws.database.read() as session:
        statement = (
            select(Batch.origin, PerformanceRun.n)
            .join(Batch, Batch.id == PerformanceRun.batch_id)
            .where(PerformanceRun.role == "champion")
            .order_by(PerformanceRun.id)
        )
        return [(origin, n) for origin, n in session.execute(statement)]


@needs_library
@pytest.mark.campaign
def test_a_scheduler_under_a_clock_that_is_set_measures_each_batch_once(
    ws: Workspace, clock: Callable[[str], Clock], tmp_path: Path, campaign: Campaign
) -> None:
    steps = [DAY] if campaign.progress is None else [DAY, 0, -DAY, DAY, 3600, -3600, 0, -DAY, 0]
    zones = ["Australia/Lord_Howe"] if campaign.progress is None else ["Europe/Paris", "America/New_York", "UTC"]
    sent: list[tuple[str, int]] = []

    def count(role: str = "champion") -> int:
        with ws.database.read() as session:
            return session.scalar(select(func.count()).where(PerformanceRun.role == role)) or 0

    machine = clock(zones[0])
    for place, zone in enumerate(zones):
        slug = f"p{place}"
        machine.environment["TZ"] = zone  # of the commands; the scheduler keeps the first
        before = len(sent)
        machine.run("projects", "create", slug, "--policy", "never")
        rows(0, 200).to_csv(tmp_path / "0.csv", index=False)
        machine.run("ingest", str(tmp_path / "0.csv"), "--project", slug, "--target", "y")
        until(
            "a first model",
            lambda slug=slug: projects.get_project(ws, slug).champion is not None,  # type: ignore[misc]
            seconds=60,
        )
        for k, wrong in enumerate(steps, start=1):
            name = f"{place}-{k}.csv"
            rows(100 * place + k, 60).to_csv(tmp_path / name, index=False)
            machine.set(wrong)
            machine.run("ingest", str(tmp_path / name), "--project", slug)
            if k % 2:  # while the check may be at work
                machine.set(-wrong)
            sent.append((name, 60))
            until("the batch to be measured", lambda: count() >= len(sent), seconds=60)
        asked = tmp_path / "asked.csv"
        rows(100 * place + 50, ASKED).drop(columns="y").to_csv(asked, index=False)
        machine.set(DAY)
        machine.run("predict", str(asked), "--project", slug, "--out", str(tmp_path / f"out-{place}.csv"))
        machine.set(0)
        answers = pd.read_csv(tmp_path / f"out-{place}.csv")
        key = next(c for c in ("prediction_id", "row_id", "_id") if c in answers)
        labels = tmp_path / f"labels-{place}.csv"
        pd.DataFrame({key: answers[key], "label": rows(100 * place + 50, ASKED)["y"]}).to_csv(labels, index=False)
        machine.run("labels", str(labels), "--project", slug)
        sent.append((f"prediction log, {ASKED} rows", ASKED))
        until("the answers to be measured", lambda: count() >= len(sent), seconds=60)
        assert measured(ws)[before:] == sent[before:]

    def quiet() -> bool:
        with ws.database.read() as session:
            running = select(func.count()).where(Cycle.status == "running").scalar_subquery()
            return session.scalar(select(running + select(func.count(Lease.name)).scalar_subquery())) == 0

    until("the last check to end", quiet, seconds=60)
    assert measured(ws) == sent
    with ws.database.read() as session:
        assert session.scalar(select(func.count()).where(Batch.backfill)) == 0
        assert session.scalar(select(func.count()).where(Prediction.batch_id.is_(None))) == 0
        beat = session.scalar(select(Heartbeat.at))
    until("another beat", lambda: _beat(ws) != beat, seconds=30)


def _beat(ws: Workspace) -> object:
    with ws.database.read() as session:
        return session.scalar(select(Heartbeat.at))
