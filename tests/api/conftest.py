"""An API over a real state folder: one trained project, made once, copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from api_helpers import KEY, serving

from core.services.ingestion import generated
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import Settings, get_settings
from core.storage import mlflow_copy
from core.storage.workspace import Workspace, open_workspace

MADE_AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    """A state folder with the project `default`: 600 generated rows and a champion, by the real loop."""
    from core.cycle import run_cycle

    home = tmp_path_factory.mktemp("trained") / "home"
    home.mkdir()
    shutil.copy(migrated_database, home / "continual.db")
    ws = open_workspace(Settings(CONTINUAL_HOME=home))
    project = projects.create_project(
        ws, "default", Origin(source="generator"), by="test", now=MADE_AT, policy="original"
    )
    generated.generate(ws, project, rows=600, features=2, seed=5, by="test", now=MADE_AT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_copy, "sync", lambda ws, project_id: None)  # ten seconds that no route looks at
        report = run_cycle(ws, project.id, cause="cli", now=MADE_AT)
    assert report is not None and report.outcome == "promoted"
    ws.database.dispose()
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated_database: Path) -> Path:
    """An empty state folder that the API will open, with an API_KEY."""
    monkeypatch.setenv("API_KEY", KEY)
    get_settings.cache_clear()
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(migrated_database, folder / "continual.db")
    return folder


@pytest.fixture
def trained(home: Path, trained_home: Path) -> Path:
    """A state folder with a trained project."""
    shutil.copytree(trained_home, home, dirs_exist_ok=True)
    return home


@pytest.fixture
def empty_client(home: Path) -> Iterator[httpx.Client]:
    """The API over an empty state folder."""
    with serving() as client:
        yield client


@pytest.fixture
def client(trained: Path) -> Iterator[httpx.Client]:
    """The API over the trained project `default`."""
    with serving() as client:
        yield client


@pytest.fixture(scope="session")
def shared(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One API over the trained project for all tests that are refused, or mind nothing that others store."""
    folder = tmp_path_factory.mktemp("shared") / "home"
    shutil.copytree(trained_home, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("API_KEY", KEY)
        patch.setenv("CONTINUAL_HOME", str(folder))
        get_settings.cache_clear()
        started = serving()
        client = started.__enter__()
    get_settings.cache_clear()
    yield client
    started.__exit__(None, None, None)


@pytest.fixture
def state(client: httpx.Client) -> Iterator[Workspace]:
    """The same state folder, as another process would open it."""
    ws = open_workspace()
    yield ws
    ws.database.dispose()
