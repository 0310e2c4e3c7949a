"""A state folder with a project that has lived a little, grown once a run and copied for each test; opens pages in it."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from patience import limit
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.services.access import accounts
from core.services.ingestion import ingest
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import Settings, get_settings
from core.storage.tables import User
from core.storage.workspace import Workspace, open_workspace

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = {"ada": "admin", "otto": "operator", "vera": "viewer"}
PASSWORD = "a long enough one"
BEGAN = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def rows(start: int, n: int, *, flipped: bool = False) -> pd.DataFrame:
    """Rows of one linear concept with a word beside the numbers; flipped, the opposite concept."""
    rng = np.random.default_rng(start + 3)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["warmth", "speed"])
    frame["site"] = rng.choice(["east", "west"], size=n)
    frame["species"] = np.where((frame["warmth"] + frame["speed"] > 0) ^ flipped, "musca", "aedes")
    return frame


@functools.cache
def _homes() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="continual-pages-"))
    for name, grow in (("empty", False), ("grown", True)):
        with (
            mock.patch.dict(os.environ, {"CONTINUAL_HOME": str(folder / name)}),
            mock.patch("core.storage.mlflow_copy.sync", return_value=None),
            mock.patch("core.services.access.accounts.BCRYPT_ROUNDS", 4),
        ):
            get_settings.cache_clear()
            ws = open_workspace(Settings(), migrate=True)
            for person, role in PEOPLE.items():
                accounts.create_user(ws, person, PASSWORD, role, by="test", now=BEGAN)
            if grow:
                _grow(ws)
            ws.database.dispose()
    get_settings.cache_clear()
    return folder


def _grow(ws: Workspace) -> None:
    """Three batches of which the last one turns the concept round: two versions, three cycles."""
    policy = policy_named("balanced", families=("logistic", "neighbours"), new_labels=200)
    project = projects.create_project(ws, "Flies", Origin(source="file"), by="ada", now=BEGAN, policy=policy)
    frames = [rows(0, 300), rows(300, 200), rows(500, 200, flipped=True).assign(humidity=0.5)]
    for i, frame in enumerate(frames):
        now = BEGAN + timedelta(hours=i)
        project = projects.project_by_id(ws, project.id)
        ingest.ingest_frame(ws, project, frame, origin=f"day {i + 1}.csv", by="ada", now=now, target="species")
        assert run_cycle(ws, project.id, cause="schedule", now=now) is not None


def settle(home: Path, monkeypatch: pytest.MonkeyPatch, *, grown: bool) -> Workspace:
    """Put a copy of the grown (or the empty) state folder in this test's place; nothing leaves the process."""
    shutil.copytree(_homes() / ("grown" if grown else "empty"), home)
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)
    monkeypatch.setattr("core.storage.mlflow_copy.sync_in_child", lambda ws, project_id: None)
    monkeypatch.setattr("core.services.automation.workers.start_worker", _work_here)
    # Every run of a page test is that of a fresh process, in which Home.py would take over and the click be forgotten.
    monkeypatch.setattr("core.ui.page._in_browser", lambda: False)
    st.cache_resource.clear()
    return open_workspace(get_settings())


def _work_here(ws: Workspace) -> None:
    """What a worker process would do, done at once."""
    from core.jobs.worker import Worker

    assert Worker(ws, threading.Event(), threading.Event()).step()


def sign_in_of(person: str, *, epoch: int | None = None) -> str:
    """What a session or cookie of that person holds; of an older epoch, where one is given."""
    user = accounts.get_user(open_workspace(get_settings()), person)
    uid, present = (user.uid, user.epoch) if user is not None else (person, 1)
    return f"{uid}@{present if epoch is None else epoch}"


def prove(person: str, at: datetime | None = None) -> None:
    """As if the person had given the password just now (or then)."""
    with open_workspace(get_settings()).database.write() as session:
        now = at or datetime.now(UTC)
        session.execute(update(User).where(User.name == person).values(proved_at=now, proved_epoch=User.epoch))


def open_page(page: str, person: str = "ada", *, proved: bool = True, **query: str) -> AppTest:
    """A page as a person sees it, signed in a moment ago (with `proved`), with its address."""
    if proved:
        prove(person)
    at = AppTest.from_file(str(ROOT / "Home.py"), default_timeout=limit(60))
    at.session_state["username"] = sign_in_of(person)
    at.switch_page(f"pages/{page}.py")
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def text_of(at: AppTest) -> str:
    """Everything that is written on the page."""
    kinds = (at.title, at.markdown, at.caption, at.error, at.warning, at.success, at.info)
    return "\n".join(element.value for found in kinds for element in found)


def click(at: AppTest, label: str) -> AppTest:
    """Press the button of that label."""
    next(b for b in at.button if b.label == label).click()
    return at.run()


def closed(at: AppTest, label: str) -> bool:
    """Whether the button of that label is there and cannot be pressed."""
    return next(b for b in at.button if b.label == label).disabled
