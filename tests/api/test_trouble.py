"""Trouble around the API: a locked or absent database, a full disk, a model that is swapped. Reported as it is, and got over."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from api_helpers import ADMIN, ROW, npy, serving
from patience import Patience, limit, slowness

from core.records import Change
from core.services.models import lifecycle
from core.services.projects import projects
from core.storage import mlflow_copy, registry
from core.storage.workspace import Workspace

CSV = "feature1,feature2,target\n0.5,1.0,1\n"
WRITING: dict[str, dict[str, Any]] = {
    "/predict": {"json": ROW},
    "/projects/default/predict": {"json": {"rows": [ROW] * 200}},
    "/invocations": {"json": {"instances": [[0.1, 2.0]]}},
    "/v2/models/default/infer": {
        "json": {"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [0.1, 2.0]}]}
    },
    "/labels": {"json": {"labels": [{"row_id": "a7", "label": 1}]}},
    "/generate": {"json": {"rows": 200}},
    "/retrain": {"json": {"force": True}},
    "/batches": {"content": CSV, "headers": {"Content-Type": "text/csv"}},
    "/batches?mode=score": {"content": CSV, "headers": {"Content-Type": "text/csv"}},
}


def ask(client: httpx.Client, path: str) -> httpx.Response:
    """A request that stores something."""
    sent = dict(WRITING[path])
    return client.post(path, headers={**ADMIN, **sent.pop("headers", {})}, **sent)


def stored(client: httpx.Client) -> set[str]:
    """Ids of the prediction log."""
    found: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(f"/predictions?limit=10000&cursor={cursor}", headers=ADMIN).json()
        found |= {p["prediction_id"] for p in page["predictions"]}
        cursor = page["next_cursor"]
    return found


def is_unavailable(answer: httpx.Response, word: str = "") -> bool:
    """Whether it says that it cannot now, why, and what to do."""
    assert answer.status_code in (200, 202, 503), answer.text
    if answer.status_code != 503:
        return False
    assert int(answer.headers["retry-after"]) > 0
    document = answer.json()
    text = document.get("detail") or document["error"]
    assert "try again" in text.lower(), text
    assert "/" not in text, text  # no path
    assert word in text, text
    return True


@pytest.fixture
def quiet_home(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trained project; cycles are asked for, and nobody runs them."""
    monkeypatch.setattr("core.http.jobs.WAIT_S", 0.0)
    monkeypatch.setattr("core.services.automation.workers.start_worker", lambda ws: None)
    return trained


@pytest.fixture
def hasty(quiet_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """An API that waits for a locked database a moment only."""
    monkeypatch.setattr("core.storage.engine.BUSY_TIMEOUT_S", 0.5)
    with serving() as client:
        assert ask(client, "/predict").status_code == 200
        yield client


def test_while_another_process_holds_the_database_nothing_is_answered_and_nothing_lost(
    hasty: httpx.Client, trained: Path
) -> None:
    known = stored(hasty)
    other = sqlite3.connect(trained / "continual.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        refused = {path for path in WRITING if is_unavailable(ask(hasty, path), "holds the database")}
        assert refused == set(WRITING)
        health = hasty.get("/health")
        assert (health.status_code, health.json()["database"]) == (200, "ok")  # it can be read
        assert hasty.get("/model-status").status_code == 200
        assert stored(hasty) == known
    finally:
        other.execute("ROLLBACK")
        other.close()
    for path in WRITING:
        assert ask(hasty, path).status_code in (200, 202), path
    assert known < stored(hasty)


def test_a_lock_that_ends_in_time_is_waited_for(client: httpx.Client, trained: Path) -> None:
    other = sqlite3.connect(trained / "continual.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    ending = threading.Timer(0.7, other.rollback)
    ending.start()
    answer = ask(client, "/predict")
    assert answer.status_code == 200
    assert ending.finished.is_set()  # not before the lock had gone
    ending.join()
    other.close()
    assert answer.json()["prediction_id"] in stored(client)


def test_a_database_that_is_gone_is_reported_and_one_that_is_back_is_used(hasty: httpx.Client, trained: Path) -> None:
    known = stored(hasty)
    database, aside = trained / "continual.db", trained.parent / "aside"
    aside.mkdir()
    files = list(trained.glob("continual.db*"))
    for file in files:
        file.rename(aside / file.name)
    for path in ("/health", "/health/ready", "/v2/health/ready"):
        assert hasty.get(path).status_code == 503, path
    assert hasty.get("/health").json()["status"] == "down"
    assert hasty.get("/health/live").status_code == 200
    for path in WRITING:
        answer = ask(hasty, path)
        assert is_unavailable(answer, "The database"), (path, answer.text)
    for file in trained.glob("continual.db*"):
        file.unlink()
    for file in files:
        (aside / file.name).rename(file)
    assert database.exists()
    assert hasty.get("/health").status_code == 200
    answer = ask(hasty, "/predict")
    assert answer.status_code == 200
    assert stored(hasty) == known | {answer.json()["prediction_id"]}


# --- no space ---------------------------------------------------------------------------------------------------

WithoutSpace = Callable[[Path], AbstractContextManager[None]]
MIB = 1024 * 1024


@contextmanager
def limited_files(folder: Path) -> Iterator[None]:
    """No file may become larger than the database's are now: what a full disk does to them, for any user."""
    most = max(file.stat().st_size for file in folder.glob("continual.db*"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """The rest of a small disk is taken."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MIB, 4096):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture(params=["limit", "disk"])
def short_of_space(request: pytest.FixtureRequest, quiet_home: Path) -> Iterator[tuple[Path, WithoutSpace]]:
    """A state folder, and what takes its space; without the right to mount, a limit on files stands for the disk."""
    mounted = request.param == "disk" and _mount(quiet_home)
    yield quiet_home, filled if mounted else limited_files
    if mounted:
        subprocess.run(["umount", "--lazy", str(quiet_home)], check=True)


def _mount(folder: Path) -> bool:
    """Put the folder on a small disk of its own, if this user may."""
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode == 0:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
    return done.returncode == 0


def test_without_space_nothing_is_answered_that_is_not_kept_and_space_repairs_it(
    short_of_space: tuple[Path, WithoutSpace],
) -> None:
    home, without_space = short_of_space
    acknowledged: set[str] = set()
    wide = npy([[0.1, 2.0]] * 20_000)
    with serving() as client:
        with without_space(home):
            refused = 0
            for _ in range(3_000):
                answer = ask(client, "/predict")
                if is_unavailable(answer, "space"):
                    refused += 1
                    if refused == 5:
                        break
                else:
                    acknowledged.add(answer.json()["prediction_id"])
            assert refused == 5
            block = client.post("/predict", content=wide, headers={**ADMIN, "Content-Type": "application/x-npy"})
            assert is_unavailable(block, "space")
            for path in WRITING:  # what finds a place in the files as they are may be stored
                is_unavailable(ask(client, path), "space")
            assert client.get("/health").status_code == 200
        assert acknowledged <= stored(client)
        for path in WRITING:
            answer = ask(client, path)
            assert answer.status_code in (200, 202), (path, answer.text)
        assert acknowledged <= stored(client)
    with serving() as client:  # nor is anything damaged
        assert acknowledged <= stored(client)
        assert list(home.glob("spool/*")) == []


# --- a model that is swapped ------------------------------------------------------------------------------------


def test_predictions_go_on_while_models_are_promoted_and_the_new_one_answers_within_two_seconds(
    client: httpx.Client, state: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_copy, "sync", lambda ws, project_id: None)
    monkeypatch.setattr(mlflow_copy, "sync_in_child", lambda ws, project_id: None)
    project = projects.get_project(state, "default")
    assert _copy_of_the_first(state) == 2
    answers: list[tuple[int, int, float]] = []
    ended = threading.Event()

    def _ask() -> None:
        with httpx.Client(base_url=client.base_url, headers=ADMIN, trust_env=False, timeout=limit(30)) as own:
            while not ended.is_set():
                answer = own.post("/predict", json=ROW)
                version = answer.json()["model_version"] if answer.status_code == 200 else 0
                answers.append((answer.status_code, version, time.monotonic()))

    asking = [threading.Thread(target=_ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    late: list[float] = []
    try:
        for version in (2, 1, 2, 1):
            lifecycle.promote(state, project, version, reason="test", by="test", now=datetime.now(UTC))
            patience = Patience(30)
            while not answers or answers[-1][1] != version:
                patience.check(f"version {version} to answer")
                time.sleep(0.01)
            late.append(patience.taken_s / slowness())
    finally:
        ended.set()
        for thread in asking:
            thread.join()
    assert {code for code, _, _ in answers} == {200}
    assert {version for _, version, _ in answers} == {1, 2}
    assert max(late) < 2.0


def _copy_of_the_first(ws: Workspace) -> int:
    """Register the champion once more; the version's number."""
    project = projects.get_project(ws, "default")
    with ws.database.read() as session:
        first, served = registry.get_version(session, project.id, 1), registry.serving_version(session, project.id)
    assert served is not None
    model = registry.load_model(ws, project.id, 1)
    learnt = pd.DataFrame([ROW, {"feature1": -1.0, "feature2": 0.5}])
    return registry.register_version(
        ws,
        project,
        registry.NewVersion(model=model, family=first.family, schema=served[2], X_learnt=learnt, n_rows=2),
        Change(by="test", now=datetime.now(UTC)),
    ).version
