"""Old predictions leave the log, where a retention is set: never one that is still needed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
import pytest
from pydantic import ValidationError
from sqlalchemy import insert, select, update

from core.errors import StorageError
from core.jobs import worker
from core.records import ProjectInfo
from core.services.ingestion import ingest, label_intake, sealing
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import log_retention
from core.settings import Settings
from core.storage.history import History
from core.storage.tables import Prediction
from core.storage.workspace import Workspace


def made(ws: Workspace, name: str, now: datetime) -> ProjectInfo:
    project = projects.create_project(ws, name, Origin(source="file"), by="me", now=now)
    frame = pd.DataFrame({"a": [0.5, 1.5, 2.5], "y": ["hi", "lo", "hi"]})
    ingest.ingest_frame(ws, project, frame, origin="a", by="me", now=now, target="y")
    return projects.project_by_id(ws, project.id)


def log(ws: Workspace, project: ProjectInfo, names: list[str], at: datetime, *, anonymous: bool = False) -> None:
    rows = [
        {
            "project_id": project.id, "prediction_id": name, "row_id": name, "model_version": 1, "prediction": '"hi"',
            "probabilities": "[0.75, 0.25]", "classes": '["hi", "lo"]', "features": '{"a": 1.0}', "observed_at": at,
            "created_at": at, "rows": 1, "anonymous": anonymous,
        }
        for name in names
    ]  # fmt: skip
    with ws.database.write() as session:
        session.execute(insert(Prediction), rows)


def names(ws: Workspace) -> list[str]:
    with ws.database.read() as session:
        return list(session.scalars(select(Prediction.prediction_id).order_by(Prediction.id)))


@pytest.mark.parametrize("at_once", [1, 3, 2_000])
def test_old_predictions_that_are_in_a_batch_go_and_all_others_stay(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(log_retention, "AT_ONCE", at_once)
    one, two = made(ws, "one", now), made(ws, "two", now)
    old, young = now - timedelta(days=31), now - timedelta(days=29)
    log(ws, one, ["o1", "o2", "o3"], old)
    log(ws, two, ["t1"], old)
    log(ws, one, ["a1"], old, anonymous=True)
    log(ws, one, ["y1", "y2"], young)
    assert sealing.seal_log(ws, one, now=now, force=True) is not None  # `two` is not in a batch yet
    log(ws, one, ["o4"], old)  # neither is this one
    assert log_retention.remove_old(ws, now) == 0  # no retention is set
    monkeypatch.setattr(ws.settings, "keep_predictions_days", 30)
    assert log_retention.remove_old(ws, now) == 4
    assert names(ws) == ["t1", "y1", "y2", "o4"]
    assert log_retention.remove_old(ws, now) == 0
    assert log_retention.remove_old(ws, now + timedelta(days=2)) == 2
    assert names(ws) == ["t1", "o4"]


def test_rows_and_their_labels_outlast_the_log(ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    project = made(ws, "one", now)
    log(ws, project, ["p1", "p2"], now - timedelta(days=31))
    batch = sealing.seal_log(ws, project, now=now, force=True)
    assert batch is not None
    with ws.database.write() as session:
        session.execute(update(Prediction).where(Prediction.prediction_id == "p2").values(rows=7))
    monkeypatch.setattr(ws.settings, "keep_predictions_days", 30)
    assert log_retention.remove_old(ws, now) == 8  # predictions, not entries: a block holds many
    assert names(ws) == []
    project = projects.project_by_id(ws, project.id)
    assert [r.status for r in label_intake.add_labels(ws, project, [("p1", "lo")], by="me", now=now)] == ["stored"]
    assert project.schema is not None
    X, y, _ = History(ws, project.id, project.schema).newest(None, labelled=False)
    assert (len(X), y[3]) == (5, "lo")


def test_a_worker_removes_them_as_it_starts_and_goes_on_where_it_cannot(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws.settings, "keep_predictions_days", 30)
    project = made(ws, "one", now)
    log(ws, project, ["p1"], now - timedelta(days=3_000))
    assert sealing.seal_log(ws, project, now=now, force=True) is not None

    def fails(*_: object) -> int:
        raise StorageError("the database is locked")

    with monkeypatch.context() as locked:
        locked.setattr(log_retention, "remove_old", fails)
        worker._tidy(ws)
    assert names(ws) == ["p1"]
    worker._tidy(ws)
    assert names(ws) == []


@pytest.mark.parametrize(("given", "days"), [("", None), (" ", None), ("30", 30)])
def test_the_retention_is_a_number_of_days_or_nothing(given: str, days: int | None) -> None:
    assert Settings(CONTINUAL_KEEP_PREDICTIONS_DAYS=given).keep_predictions_days == days  # type: ignore[call-arg]


@pytest.mark.parametrize("given", ["0", "-1", "a month", "1.5"])
def test_no_other_retention_is_accepted(given: str) -> None:
    with pytest.raises(ValidationError, match="CONTINUAL_KEEP_PREDICTIONS_DAYS"):
        Settings(CONTINUAL_KEEP_PREDICTIONS_DAYS=given)  # type: ignore[call-arg]
