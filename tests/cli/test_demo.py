"""The demonstration on the command line, while another worker holds its project."""

from __future__ import annotations

import os
import re
import socket
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from core import cli, cycle
from core.cli import setup
from core.records import CycleReport
from core.storage.tables import Cycle, Lease
from core.storage.workspace import Workspace

WAITING = "another worker is running a cycle of this project; waiting"


@pytest.mark.slow
def test_the_demo_waits_for_another_worker_and_shows_no_half_cycle(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another worker begins a cycle right after the demo's first one; it is gone when the demo has waited twice."""
    run_cycle, waits = cycle.run_cycle, []

    def _run_cycle(ws: Workspace, project_id: int, **options: Any) -> CycleReport | None:
        report = run_cycle(ws, project_id, **options)
        if report is not None and report.id == 1:
            now = datetime.now(UTC)
            owner = f"{socket.gethostname()}:{os.getpid()}:1:1"
            with ws.database.write() as session:
                session.add(Lease(name=f"project:{project_id}", owner=owner, expires_at=now + timedelta(minutes=1)))
                session.add(
                    Cycle(project_id=project_id, cause="live", status="running", started_at=now, seed=0, batch_ids=[])
                )
        return report

    def _sleep(_seconds: float) -> None:
        waits.append(capsys.readouterr().err)
        if len(waits) == 2:
            with ws.database.write() as session:
                session.delete(session.get_one(Lease, "project:1"))

    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)
    monkeypatch.setattr(cycle, "run_cycle", _run_cycle)
    monkeypatch.setattr(setup, "time", SimpleNamespace(sleep=_sleep))
    assert cli.main(["demo", "--batches", "1"]) == 0
    assert [text.count(WAITING) for text in waits] == [1, 0]  # said once
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cycle ")]
    assert len(printed) == 1
    assert re.fullmatch(r"cycle 3: .+, \w+, \w+, v\d+ \([\d.]+ s\)", printed[0])
