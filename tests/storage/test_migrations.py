"""Bringing several databases up to date in one process."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from alembic.config import Config
from sqlalchemy import make_url, select, text

from alembic import command
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import ROOT
from core.storage import mlflow_copy
from core.storage.engine import Database, migrate, newest_revision
from core.storage.tables import DriftRun
from core.storage.workspace import Workspace


def _side_by_side(*acts: Callable[[], object]) -> list[BaseException]:
    """Run each act in a thread of its own, all from the same instant; what they raised."""
    gate = threading.Barrier(len(acts))
    raised: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        gate.wait()
        try:
            act()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_two_databases_are_brought_up_to_date_at_the_same_time_in_one_process(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / name}/continual.db" for name in ("one", "two", "three")]

    raised = _side_by_side(*(lambda url=url, n=n: migrate(url, tmp_path / str(n)) for n, url in enumerate(urls)))

    assert raised == []
    assert [Database(url).revision() for url in urls] == [newest_revision()] * 3


def test_mlflow_makes_its_tables_while_a_database_of_ours_is_brought_up_to_date(tmp_path: Path, ws: Workspace) -> None:
    import mlflow.store.db.utils  # noqa: F401  # its import takes seconds: the two would not meet

    urls = [f"sqlite:///{tmp_path / str(n)}/continual.db" for n in range(6)]

    def ours() -> None:
        for n, url in enumerate(urls):
            migrate(url, tmp_path / f"locks{n}")

    raised = _side_by_side(lambda: mlflow_copy._client(ws), ours)

    assert raised == []
    assert {Database(url).revision() for url in urls} == {newest_revision()}
    assert mlflow_copy._client(ws).search_registered_models() == []


def test_drift_reports_are_packed_where_they_lie_and_unpacked_on_the_way_back(ws: Workspace, now: datetime) -> None:
    report = {"share_drifted": 0.5, "features": [{"name": "é", "score": 0.125}] * 40}
    project = projects.create_project(ws, "Made", Origin(source="generator"), by="test", now=now)
    with ws.database.write() as session:
        for n in range(2):
            stored = {**report, "n": n}
            session.add(DriftRun(project_id=project.id, created_at=now, at=now, share_drifted=0.5, report=stored))
    url = ws.settings.database_url
    ws.database.dispose()
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["url"] = url

    command.downgrade(config, "0014")
    with sqlite3.connect(make_url(url).database or "") as plain:
        assert [json.loads(row[0]) for row in plain.execute("SELECT report FROM drift_runs ORDER BY id")] == [
            {**report, "n": n} for n in range(2)
        ]
    command.upgrade(config, "head")

    with ws.database.read() as session:
        assert session.scalars(select(DriftRun.report).order_by(DriftRun.id)).all() == [
            {**report, "n": n} for n in range(2)
        ]
        sizes = session.scalars(text("SELECT length(report) FROM drift_runs")).all()
    assert max(sizes) < 200
