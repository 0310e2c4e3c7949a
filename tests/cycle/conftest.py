"""A project with a champion, and a way to send it batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pandas as pd
import pytest

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.records import ProjectInfo
from core.services.ingestion import ingest
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace
from tests.cycle.stream import BATCH, stream


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow gets its copy in the registry's tests; making its database here would take most of the time."""
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """A project whose first champion is in place; light families keep it quick."""
    policy = policy_named("balanced", families=("logistic", "neighbours"), new_labels=BATCH)
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    ingest.ingest_frame(ws, made, stream(0, 400), origin="warm-up", by="test", now=now, target="y")
    report = run_cycle(ws, made.id, cause="cli", now=now)
    assert report is not None
    assert report.outcome == "promoted"
    return projects.project_by_id(ws, made.id)


@pytest.fixture
def send(ws: Workspace, project: ProjectInfo, now: datetime) -> Callable[..., object]:
    """Store one more batch, an hour after the last."""
    sent = [0]

    def _send(frame: pd.DataFrame | None = None, **options: bool) -> ingest.IngestReport:
        sent[0] += 1
        rows = stream(1000 + sent[0] * BATCH, **options) if frame is None else frame
        info = projects.project_by_id(ws, project.id)
        return ingest.ingest_frame(
            ws, info, rows, origin=f"batch {sent[0]}", by="test", now=now + timedelta(hours=sent[0])
        )

    return _send
