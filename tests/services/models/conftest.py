"""Model files and a project for them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from model_files import fitted, rows, save

from core.records import ProjectInfo
from core.services.ingestion import ingest
from core.services.models import sandbox
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import mlflow_copy
from core.storage.workspace import Workspace


@pytest.fixture
def mlflow_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Projects whose copy in MLflow was to be updated; nothing is copied."""
    found: list[int] = []
    monkeypatch.setattr(mlflow_copy, "sync_in_child", lambda ws, project_id: found.append(project_id))
    return found


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's side without a child: a process for each of many files would take most of the time."""

    def run(what: str, folder: Path) -> int:
        (folder / "answer.json").write_text(json.dumps(sandbox._answer(what, folder)))
        return 0

    monkeypatch.setattr(sandbox, "_run", run)


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """A project with 200 labelled rows."""
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    ingest.ingest_frame(ws, made, rows(), origin="rows.csv", by="test", now=now, target="y")
    return projects.project_by_id(ws, made.id)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good model file."""
    return save(tmp_path / "model.skops", fitted())
