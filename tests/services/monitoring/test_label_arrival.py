"""When labels arrived, read back from batches, log and labels; and one measurement a batch, however its labels arrived."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.performance.realised import measure
from core.records import ProjectInfo, Score, metrics_of
from core.services.ingestion import ingest, label_intake, sealing
from core.services.monitoring import label_arrival, monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import file_answers
from core.storage.workspace import Workspace
from core.text.reasons import sentence

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def rows(seed: int, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    frame["y"] = np.where(frame["a"] + frame["b"] + rng.normal(size=n) > 0, "up", "down")
    return frame


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """200 labelled rows and a champion that has learnt from them."""
    policy = policy_named("balanced", families=("logistic",), triggers=("no_champion",))
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    ingest.ingest_frame(ws, made, rows(0), origin="first.csv", by="test", now=now, target="y")
    run_cycle(ws, made.id, cause="cli", now=now)
    return projects.project_by_id(ws, made.id)


def later(ws: Workspace, project: ProjectInfo) -> ProjectInfo:
    return projects.project_by_id(ws, project.id)


def bring(ws: Workspace, project: ProjectInfo, frame: pd.DataFrame, at: datetime, **options: Any) -> int:
    """Store rows; returns the batch's number."""
    return ingest.ingest_frame(
        ws, later(ws, project), frame, origin="x.csv", by="test", now=at, **options
    ).batch.number  # fmt: skip


def label(ws: Workspace, project: ProjectInfo, pairs: list[tuple[str, Any]], at: datetime) -> None:
    label_intake.add_labels(ws, later(ws, project), pairs, by="test", now=at, replace=True)


# --- arrival ------------------------------------------------------------------------------------------------------


def test_labels_that_arrived_with_their_rows_cost_no_read_and_no_delay(
    ws: Workspace, project: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(ws.batches), "read_frame", None)
    found = label_arrival.arrival(ws, later(ws, project), now=now + HOUR)
    assert (found.curve.n, found.curve.n_waiting, found.curve.delays_s, found.due) == (200, 0, (0.0,), ())


def test_late_labels_are_reported_by_their_first_instant_without_reading_a_file(
    ws: Workspace, project: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = bring(ws, project, rows(1, 10).drop(columns="y"), now + HOUR)
    label(ws, project, [(f"b{number}-{i}", "up") for i in range(4)], now + 3 * HOUR)
    label(ws, project, [(f"b{number}-0", "down")], now + 9 * HOUR)  # replaced: the first one counts
    monkeypatch.setattr(type(ws.batches), "read_frame", None)
    times = label_arrival.label_times(ws, later(ws, project), rows=10)
    assert times.stored_at == (now + HOUR,) * 10
    assert times.labelled_at == (now + 3 * HOUR,) * 4 + (None,) * 6
    found = label_arrival.arrival(ws, later(ws, project), now=now + 10 * HOUR, rows=10)
    assert found.curve.delays_s == (7200.0,) and found.curve.share_arrived == pytest.approx((0.4,))
    (day,) = found.due
    assert (day.day, day.rows, day.expected) == ((now + HOUR).date(), 6, 0.0)  # none came after two hours


def test_batches_with_some_labels_or_own_ids_are_read_for_two_columns(
    ws: Workspace, project: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = rows(2, 10)
    half.loc[3:, "y"] = None
    bring(ws, project, half, now + HOUR)
    read: list[Any] = []
    whole = type(ws.batches).read_frame

    def watched(self: Any, name: str, columns: Any = None, **options: Any) -> pd.DataFrame:
        read.append(columns)
        return whole(self, name, columns, **options)

    monkeypatch.setattr(type(ws.batches), "read_frame", watched)
    times = label_arrival.label_times(ws, later(ws, project), rows=10)
    assert read == [["_id", "y"]]
    assert times.labelled_at.count(None) == 7 and times.labelled_at.count(now + HOUR) == 3


def test_a_logged_row_arrived_when_it_was_predicted_whether_sealed_or_not(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    asked = now + HOUR
    answered = file_answers.predict_file(ws, later(ws, project), rows(3, 4).drop(columns="y"), now=asked)
    ids = answered["row_id"].tolist()
    label(ws, project, [(ids[0], "up")], asked + 2 * HOUR)
    before = label_arrival.label_times(ws, later(ws, project), rows=4)
    sealing.seal_log(ws, later(ws, project), now=asked + 30 * HOUR, force=True)
    after = label_arrival.label_times(ws, later(ws, project), rows=4)
    for times in (before, after):
        assert times.stored_at == (asked,) * 4
        assert sorted(times.labelled_at, key=str) == [asked + 2 * HOUR, None, None, None]


def test_no_more_than_the_newest_rows_are_looked_at(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    bring(ws, project, rows(4, 30).drop(columns="y"), now + HOUR)
    times = label_arrival.label_times(ws, later(ws, project), rows=50)
    assert len(times.stored_at) == 50 and times.labelled_at.count(None) == 30
    assert len(label_arrival.label_times(ws, later(ws, project), rows=20).stored_at) == 20


def test_an_empty_project_has_an_empty_curve(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Void", Origin(source="file"), by="test", now=now)
    found = label_arrival.arrival(ws, made, now=now)
    assert found.curve.n == 0 and found.due == () and found.curve.finding == "No row yet"


# --- one measurement a batch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [None, 0, 5])
def test_it_takes_time_while_labels_are_due_or_where_some_arrived_late(
    ws: Workspace, project: ProjectInfo, now: datetime, hours: int | None
) -> None:
    calm = label_arrival.arrival(ws, project, now=now + HOUR)
    assert (calm.takes_time, calm.expected) == (False, None)
    number = bring(ws, project, rows(6, 10).drop(columns="y"), now)
    if hours is not None:
        label(ws, project, [(f"b{number}-{i}", "up") for i in range(10)], now + hours * HOUR)
    found = label_arrival.arrival(ws, later(ws, project), now=now + 10 * HOUR)
    assert bool(found.due) is (hours is None)
    assert found.takes_time is (hours != 0)


def test_labels_in_portions_make_one_measurement_a_batch(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    frame = rows(5)
    number = bring(ws, project, frame.drop(columns="y"), now + HOUR)
    for i, cut in enumerate(((0, 3), (3, 90), (90, 150))):
        at = now + (2 + i) * HOUR
        label(ws, project, [(f"b{number}-{j}", frame["y"][j]) for j in range(*cut)], at)
        run_cycle(ws, project.id, cause="cli", now=at)
    stored = monitoring.performance_history(ws, project.id)
    assert [p.n for p in stored] == [3, 87, 60]
    (found,) = label_arrival.measured_by_batch(ws, later(ws, project))
    assert (found.n, found.batch_id, found.rows_seen) == (150, stored[0].batch_id, stored[-1].rows_seen)
    judged = monitoring.labelled_with_predictions(ws, later(ws, project), n=1_000)
    assert judged is not None
    whole = measure("binary", judged.y_true, judged.y_pred, judged.y_proba, judged.classes)
    for name in metrics_of("binary"):
        assert found.scores[name].value == pytest.approx(whole.score(name).value), name
    never = label_arrival.measured_by_batch(ws, later(ws, project), role="never")
    assert len(never) == 1 and never[0].n == 150
    assert never[0].scores["accuracy"].value == pytest.approx(whole.score("accuracy").value)  # one and the same model
    assert never[0].scores["kappa"].value is None and "3 parts" in sentence(never[0].scores["kappa"].reason)


def test_batches_stand_in_the_order_of_their_rows(now: datetime) -> None:
    def point(batch: int | None, hour: int, n: int, value: float, version: int) -> monitoring.PerformancePoint:
        score = Score(metric="accuracy", value=value, n=n)
        return monitoring.PerformancePoint(
            cycle_id=1, batch_id=batch, at=now + hour * HOUR, rows_seen=hour, n=n, model_version=version,
            scores={"accuracy": score},
        )  # fmt: skip

    found = label_arrival.by_batch(
        [point(2, 2, 10, 0.5, 1), point(1, 1, 10, 0.8, 1), point(2, 2, 30, 0.9, 2), point(None, 0, 5, 1, 1)]
    )
    assert [(p.batch_id, p.n, p.model_version) for p in found] == [(None, 5, 1), (1, 10, 1), (2, 40, None)]
    assert found[-1].scores["accuracy"].value == pytest.approx((10 * 0.5 + 30 * 0.9) / 40)
    assert label_arrival.by_batch([]) == []
