"""An installation in which every series that the program can expose has a value, and the API over it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from api_helpers import KEY, serving
from monitoring_queries import ask

from core.services.automation import workers
from core.services.incidents.status import SCHEDULER
from core.services.ingestion import generated
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import Settings, get_settings
from core.storage import mlflow_copy
from core.storage.workspace import Workspace, open_workspace


@pytest.fixture(scope="session")
def watched_home(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    """A state folder with a champion that was measured and estimated by the real loop, and a scheduler that beats."""
    from core.cycle import run_cycle

    home = tmp_path_factory.mktemp("watched") / "home"
    home.mkdir()
    shutil.copy(migrated_database, home / "continual.db")
    ws = open_workspace(Settings(CONTINUAL_HOME=home))
    now = datetime.now(UTC)
    made = now - timedelta(hours=1)
    projects.create_project(ws, "default", Origin(source="generator"), by="test", now=made, policy="original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_copy, "sync", lambda ws, project_id: None)  # ten seconds that no series tells of
        for minutes in (0, 20, 40):  # estimates begin with the third batch
            at, project = made + timedelta(minutes=minutes), projects.get_project(ws, "default")
            generated.generate(ws, project, rows=600, features=2, seed=5 + minutes, by="test", now=at)
            assert run_cycle(ws, project.id, cause="cli", now=at) is not None
    workers.beat(ws, SCHEDULER, owner="test", now=now, detail={"memory_bytes": 2e8})
    ws.database.dispose()
    return home


@pytest.fixture(scope="session")
def watched(watched_home: Path) -> Iterator[httpx.Client]:
    """The API over it, after predictions, a label, a guard that spoke and a refusal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("API_KEY", KEY)
        patch.setenv("CONTINUAL_HOME", str(watched_home))
        get_settings.cache_clear()
        with serving() as client:
            ask(client)
            yield client
        get_settings.cache_clear()


@pytest.fixture
def watched_state(watched_home: Path) -> Iterator[Workspace]:
    """The installation as the scheduler sees it."""
    ws = open_workspace(Settings(CONTINUAL_HOME=watched_home))
    yield ws
    ws.database.dispose()
