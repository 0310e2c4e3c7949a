"""The same promises on PostgreSQL as on SQLite, above all: one transaction writes at a time.

Skipped where PostgreSQL is not installed. Tests of other modules run here once more, on a database of the server.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from alembic.config import Config
from patience import limit
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

import tests.postgresql
from alembic import command
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving.prediction_log import COLUMNS, PredictionWriter, Record
from core.services.serving.stored_responses import StoredResponse
from core.settings import ROOT, Settings
from core.storage import engine
from core.storage.engine import Database, migrate
from core.storage.tables import Heartbeat, Prediction
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace, open_workspace
from tests.cycle.test_overtaken import (  # noqa: F401  # they run here once more
    test_a_cycle_that_lost_its_lease_keeps_nothing,
    test_a_promotion_by_hand_is_not_overwritten_by_the_cycle_under_way,
    test_one_lease_is_taken_by_one,
)
from tests.services.access.test_accounts import test_many_guesses_at_once_do_not_slip_through  # noqa: F401
from tests.services.ingestion.test_sealing import (  # noqa: F401
    test_rows_are_sealed_whether_their_places_in_the_log_have_gaps_or_not,
    test_rows_that_another_call_stores_meanwhile_are_refused,
)
from tests.services.serving.test_log_retention import (  # noqa: F401
    test_old_predictions_that_are_in_a_batch_go_and_all_others_stay,
)

pytestmark = pytest.mark.skipif(tests.postgresql.programs() is None, reason="PostgreSQL is not installed")
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[str]:
    """A server with a database at the newest schema, `newest`."""
    with tests.postgresql.server(free_port()) as address:
        _make(address, "newest")
        migrate(f"{address}newest", tmp_path_factory.mktemp("locks"))
        yield address


def _make(address: str, name: str, like: str = "template1") -> None:
    database = Database(f"{address}postgres")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {like}"))
    database.dispose()


@pytest.fixture
def url(address: str) -> str:
    """A database of the test's own."""
    name = f"test{next(_NUMBERS)}"
    _make(address, name, "newest")
    return address + name


@pytest.fixture
def ws(settings: Settings, url: str) -> Iterator[Workspace]:
    """An open, empty workspace over it."""
    settings.home_path.mkdir(parents=True, exist_ok=True)
    workspace = open_workspace(settings.model_copy(update={"database_url_setting": SecretStr(url)}))
    yield workspace
    workspace.database.dispose()


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's copy has a database of its own."""
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """As another process has it open."""
    database = Database(url)
    try:
        yield database
    finally:
        database.dispose()


def beside(*works: Callable[[], None]) -> None:
    """Each in a thread of its own, to their ends."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(limit(60))
        assert not thread.is_alive()


def test_what_a_step_reads_is_still_so_when_it_writes(url: str, now: datetime) -> None:
    def count() -> None:
        with opened(url) as database:
            for _ in range(50):
                with database.write() as session:
                    row = session.get(Heartbeat, "counted")
                    if row is None:
                        session.add(Heartbeat(name="counted", at=now, owner=None, detail={"n": 1}))
                    else:
                        row.detail = {"n": (row.detail or {})["n"] + 1}

    beside(*[count] * 6)
    with opened(url) as database, database.read() as session:
        assert session.scalar(select(Heartbeat.detail)) == {"n": 300}


def entry(project_id: int, name: str, now: datetime) -> Record:
    """One record of the prediction log."""
    values = {
        "project_id": project_id, "prediction_id": name, "row_id": name, "model_version": 1, "prediction": "1",
        "features": "{}", "observed_at": now, "created_at": now, "rows": 1, "anonymous": False,
    }  # fmt: skip
    return tuple(values.get(column) for column in COLUMNS)


def test_predictions_of_all_processes_are_numbered_as_they_are_committed(ws: Workspace, now: datetime) -> None:
    """Whoever reads the log on from the last number misses none."""
    project = projects.create_project(ws, "Log", Origin(source="api"), by="test", now=now)
    ended = threading.Event()

    async def write(prefix: str) -> None:
        writer = PredictionWriter(ws)
        for i in range(60):
            await asyncio.gather(*(writer.write([entry(project.id, f"{prefix}{i}.{j}", now)]) for j in range(3)))
        await writer.close()

    seen: list[int] = []

    def follow() -> None:
        while True:
            last = ended.is_set()
            with ws.database.read() as session:
                seen.extend(session.scalars(select(Prediction.id).where(Prediction.id > max(seen, default=0))))
            if last:
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    beside(*(lambda prefix=prefix: asyncio.run(write(prefix)) for prefix in "abc"))
    ended.set()
    follower.join(limit(60))
    assert len(seen) == len(set(seen)) == 540


def test_a_key_that_two_processes_use_at_once_is_stored_once(ws: Workspace, now: datetime) -> None:
    project = projects.create_project(ws, "Log", Origin(source="api"), by="test", now=now)
    stored: list[bool] = []

    async def write(prefix: str) -> None:
        writer = PredictionWriter(ws)
        for i in range(40):
            response = StoredResponse(project.id, f"key{i}", "same", 200, prefix.encode(), now)
            stored.append(await writer.write([entry(project.id, f"{prefix}{i}", now)], response) is None)
        await writer.close()

    beside(*(lambda prefix=prefix: asyncio.run(write(prefix)) for prefix in "abc"))
    assert sum(stored) == 40
    with ws.database.read() as session:
        assert len(session.scalars(select(Prediction.id)).all()) == 40


def test_who_waits_for_too_long_is_told_that_another_writes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 1)
    with opened(url) as one, opened(url) as two:
        with one.write() as session:
            session.execute(text("SELECT 1"))
            with two.read() as reading:
                assert reading.scalar(select(1)) == 1
            with pytest.raises(OperationalError) as caught, two.write() as waiting:
                waiting.execute(text("SELECT 1"))
        trouble = trouble_of(caught.value)
        assert trouble is not None
        assert trouble.kind == "locked"
        with two.write() as session:
            assert session.scalar(select(1)) == 1


def test_a_killed_process_holds_nobody_up(url: str) -> None:
    held = f"""
import time
from core.storage.engine import Database
with Database({url!r}).write() as session:
    session.connection()
    print("writing", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", held], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()
    began = time.monotonic()
    with opened(url) as database, database.write() as session:
        session.execute(text("SELECT 1"))
    assert time.monotonic() - began < limit(5)


def test_the_schema_goes_back_to_the_beginning_and_forth(address: str, tmp_path: Path) -> None:
    _make(address, "migrated")
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["url"] = f"{address}migrated"
    assert migrate(f"{address}migrated", tmp_path)
    command.downgrade(config, "0001")
    command.upgrade(config, "head")
    with opened(f"{address}migrated") as database:
        assert database.revision() == engine.newest_revision()
