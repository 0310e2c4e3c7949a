"""Rows of the prediction log become a batch, and other writers wait for it only a moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from core.records import ProjectInfo
from core.services.ingestion import ingest, sealing
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import history
from core.storage.engine import Database
from core.storage.tables import Prediction
from core.storage.workspace import Workspace


def _project(ws: Workspace, name: str, now: datetime) -> ProjectInfo:
    project = projects.create_project(ws, name, Origin(source="file"), by="me", now=now)
    _store(ws, project, 0, now)
    return projects.project_by_id(ws, project.id)


def _store(ws: Workspace, project: ProjectInfo, first: int, now: datetime) -> None:
    """A batch with ids of its own."""
    frame = pd.DataFrame({"k": [f"s{first + i}" for i in range(3)], "a": [0.5, 1.5, 2.5], "y": ["hi", "lo", "hi"]})
    ingest.ingest_frame(ws, project, frame, origin="a", by="me", now=now, target="y", id_column="k")


def _log(ws: Workspace, row_projects: Sequence[ProjectInfo], now: datetime) -> list[int]:
    """A prediction for each of these projects, in this order; their places in the log."""
    rows: list[dict[str, Any]] = [
        {
            "project_id": project.id, "prediction_id": f"p{i}", "row_id": f"r{i}", "model_version": 1,
            "prediction": '"hi"', "probabilities": "[0.75, 0.25]", "classes": '["hi", "lo"]', "features": '{"a": 1.0}',
            "observed_at": now, "created_at": now, "rows": 1, "anonymous": False,
        }
        for i, project in enumerate(row_projects)
    ]  # fmt: skip
    with ws.database.write() as session:
        session.execute(insert(Prediction), rows)
        return list(session.scalars(select(Prediction.id).order_by(Prediction.id)))


def _batches(ws: Workspace) -> dict[str, int | None]:
    with ws.database.read() as session:
        return {row.row_id: row.batch_id for row in session.scalars(select(Prediction))}


def test_rows_are_sealed_whether_their_places_in_the_log_have_gaps_or_not(ws: Workspace, now: datetime) -> None:
    one, two = _project(ws, "one", now), _project(ws, "two", now)
    order = [one] * 20 + [two, one] * 15 + [one] * 9 + [two] * 30
    _log(ws, order, now)
    batch = sealing.seal_log(ws, one, now=now, force=True)
    assert batch is not None and batch.rows == 44
    own = {f"r{i}" for i, project in enumerate(order) if project is one}
    assert {row_id for row_id, batch_id in _batches(ws).items() if batch_id == batch.id} == own
    other = sealing.seal_log(ws, two, now=now, force=True)
    assert other is not None and other.rows == 45 and None not in _batches(ws).values()
    assert sealing.seal_log(ws, one, now=now, force=True) is None


def test_no_file_is_read_while_others_wait_to_write(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _project(ws, "one", now)
    for first in (10, 20, 30):
        _store(ws, project, first, now)
    _log(ws, [project] * 12, now)
    writing, read, write = [False], history.read_rows, Database.write

    @contextmanager
    def watched_write(self: Database) -> Iterator[Session]:
        with write(self) as session:
            writing[0] = True
            yield session
            writing[0] = False

    def watched_read(*args: Any, **options: Any) -> pd.DataFrame:
        assert not writing[0]
        return read(*args, **options)

    monkeypatch.setattr(Database, "write", watched_write)
    monkeypatch.setattr(history, "read_rows", watched_read)
    batch = sealing.seal_log(ws, project, now=now, force=True)
    assert batch is not None and batch.rows == 12


def test_rows_that_another_call_stores_meanwhile_are_refused(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _project(ws, "one", now)
    _log(ws, [project] * 12, now)
    newest = sealing.newest_batch

    def overtaken(session: Session, project_id: int) -> int:
        known = newest(session, project_id)
        monkeypatch.setattr(sealing, "newest_batch", newest)
        frame = pd.DataFrame({"k": ["r3", "x"], "a": [1.0, 2.0], "y": ["hi", "lo"]})
        ingest.ingest_frame(ws, project, frame, origin="b", by="me", now=now, id_column="k")
        monkeypatch.setattr(sealing, "_stored", lambda *_: {})
        return known

    monkeypatch.setattr(sealing, "newest_batch", overtaken)
    with pytest.raises(Exception, match="1 row ids are already stored"):
        sealing.seal_log(ws, project, now=now, force=True)
    assert set(_batches(ws).values()) == {None}
