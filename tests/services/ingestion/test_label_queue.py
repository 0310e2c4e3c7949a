"""The label desk: rows are drawn once with their chance, answered, and what they say stands for all."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from core.cycle import run_cycle
from core.errors import BadInput, Conflict, NeedsConsent
from core.learning.policy import policy_named
from core.records import ROW_ID, Feature, FeatureSchema, Label, ProjectInfo, Task
from core.services.ingestion import ingest, label_queue, stored_batches
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import history
from core.storage.tables import RequestedLabel
from core.storage.workspace import Workspace, open_workspace
from core.text.reasons import sentence


def stream(start: int, n: int, *, task: Task = "binary") -> pd.DataFrame:
    rng = np.random.default_rng(start + 7)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    value = frame["a"] + frame["b"] + rng.normal(0, 0.8, n)
    frame["y"] = value if task == "regression" else np.where(value > 0, "yes", "no")
    return frame


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def waiting(ws: Workspace, now: datetime, task: Task = "binary") -> tuple[ProjectInfo, dict[str, object]]:
    """A project with a champion and 400 rows that it has answered and nobody has labelled; and the truth of those."""
    families = ("ridge",) if task == "regression" else ("logistic",)
    policy = policy_named("balanced", families=families)
    made = projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=now, policy=policy)
    ingest.ingest_frame(ws, made, stream(0, 300, task=task), origin="warm-up", by="me", now=now, target="y")
    run_cycle(ws, made.id, cause="cli", now=now)
    truth: dict[str, object] = {}
    for i in (1, 2):
        at = now + timedelta(hours=i)
        rows = stream(i, 200, task=task)
        report = ingest.ingest_frame(
            ws, projects.project_by_id(ws, made.id), rows.drop(columns="y"), origin=f"day {i}", by="me", now=at
        )
        run_cycle(ws, made.id, cause="cli", now=at)
        truth |= {f"b{report.batch.number}-{k}": v for k, v in enumerate(rows["y"].tolist())}
    return projects.project_by_id(ws, made.id), truth


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_asked_rows_are_answered_and_stand_for_all(task: Task, ws: Workspace, now: datetime) -> None:
    project, truth = waiting(ws, now, task)
    assert label_queue.request_labels(ws, project, label_queue.LabelRequest(n=120, seed=1), by="ada", now=now) == 120
    rows = label_queue.open_requests(ws, project)
    assert len({row.row_id for row in rows}) == 120 and {row.row_id for row in rows} <= set(truth)
    assert set(rows[0].features) == {"a", "b"}
    assert sum(1 / row.chance for row in rows) == pytest.approx(400, rel=0.25)
    if task == "binary":
        sure = [row for row in rows if (row.probability or 0) > 0.95]
        assert np.mean([row.chance for row in sure]) < 120 / 400 < max(row.chance for row in rows)
    label_queue.store_labels(ws, project, {row.row_id: truth[row.row_id] for row in rows[:80]}, by="ada", now=now)
    again = label_queue.estimated_scores(ws, project, metric="mae" if task == "regression" else None)
    assert (again.requested, again.labelled, again.pool) == (120, 80, 400)
    assert again.weighted.value is not None and again.weighted.low is not None and again.weighted.high is not None
    assert again.to_halve is not None and 0 < again.to_halve < 320
    if task == "binary":
        assert project.schema is not None
        reader = history.History(ws, project.id, project.schema)
        right = [
            said == truth[row_id]
            for batch in reader.batches
            if batch.origin.startswith("day")
            for row_id, said in zip(reader.frame(batch)[0][ROW_ID], reader.scores(batch).labels, strict=True)  # type: ignore[union-attr]
        ]
        assert again.weighted.low <= np.mean(right) <= again.weighted.high
        assert again.unweighted.value is not None and again.unweighted.value < again.weighted.value
    assert len(label_queue.open_requests(ws, project)) == 40
    with ws.database.read() as session:
        reported = label_queue.sampling_weights(session, project.id, [rows[0].row_id, "b9-9"])
    assert reported == {rows[0].row_id: pytest.approx(1 / rows[0].chance)}


def test_a_batch_is_drawn_from_once_and_withdrawn_rows_can_be_asked_for_again(ws: Workspace, now: datetime) -> None:
    project, _ = waiting(ws, now)
    label_queue.request_labels(
        ws, project, label_queue.LabelRequest(n=20, seed=1, pool_rows=100), by="ada", now=now
    )  # the newest batch alone
    label_queue.request_labels(ws, project, label_queue.LabelRequest(n=20, seed=2), by="ada", now=now)
    with ws.database.read() as session:
        by_draw: dict[int, set[int | None]] = {}
        for a in session.scalars(select(RequestedLabel)):
            by_draw.setdefault(a.draw_id, set()).add(a.batch_id)
    assert len(by_draw) == 2 and not set.intersection(*by_draw.values())
    with pytest.raises(Conflict, match="each batch is sampled once"):
        label_queue.request_labels(ws, project, label_queue.LabelRequest(n=5, seed=3), by="ada", now=now)
    assert label_queue.withdraw_requests(ws, project, by="ada", now=now) == 40
    assert label_queue.open_requests(ws, project) == [] and label_queue.estimated_scores(ws, project).pool == 0
    assert label_queue.request_labels(ws, project, label_queue.LabelRequest(n=5, seed=3), by="ada", now=now) == 5
    again = open_workspace(ws.settings)
    assert len(label_queue.open_requests(again, project)) == 5, "asks outlive the process"
    again.database.dispose()


def test_answers_are_checked_as_labels_are(ws: Workspace, now: datetime) -> None:
    project, _ = waiting(ws, now)
    label_queue.request_labels(ws, project, label_queue.LabelRequest(n=3, seed=1), by="ada", now=now)
    first, second, _ = label_queue.open_requests(ws, project)
    with pytest.raises(BadInput, match="was not requested"):
        label_queue.store_labels(ws, project, {first.row_id: "yes", "b1-0": "no"}, by="ada", now=now)
    assert len(label_queue.open_requests(ws, project)) == 3, "all or none"
    assert [r.status for r in label_queue.store_labels(ws, project, {first.row_id: "yes"}, by="ada", now=now)] == [
        "stored"
    ]
    with pytest.raises(NeedsConsent, match="1 label would be replaced"):
        label_queue.store_labels(ws, project, {first.row_id: "no"}, by="ada", now=now)
    one = label_queue.estimated_scores(ws, project)
    assert one.labelled == 1 and one.weighted.value is None and "Needs 2" in sentence(one.weighted.reason)
    label_queue.store_labels(ws, project, {second.row_id: "yes"}, by="ada", now=now)
    assert label_queue.estimated_scores(ws, project).weighted.value is not None


def test_an_undone_batch_takes_its_asks_along(ws: Workspace, now: datetime) -> None:
    project, _ = waiting(ws, now)
    label_queue.request_labels(ws, project, label_queue.LabelRequest(n=40, seed=1), by="ada", now=now)
    with ws.database.read() as session:
        batch_id = session.scalars(select(RequestedLabel.batch_id)).first()
    assert batch_id is not None
    stored_batches.undo_batch(ws, project, batch_id, by="ada", now=now)
    left = label_queue.open_requests(ws, projects.project_by_id(ws, project.id))
    assert 0 < len(left) < 40


def test_what_cannot_be_asked_says_what_to_do(ws: Workspace, now: datetime) -> None:
    empty = projects.create_project(ws, "Void", Origin(source="file"), by="me", now=now)
    with pytest.raises(Conflict, match="no champion yet"):
        label_queue.request_labels(ws, empty, label_queue.LabelRequest(n=5, seed=1), by="me", now=now)
    assert label_queue.open_requests(ws, empty) == [] and label_queue.estimated_scores(ws, empty).weighted.value is None
    project, _ = waiting(ws, now)
    for n in (0, 100_000):
        with pytest.raises(BadInput, match="expected 1 to"):
            label_queue.request_labels(ws, project, label_queue.LabelRequest(n=n, seed=1), by="me", now=now)
    with pytest.raises(BadInput, match="random_share"):
        label_queue.request_labels(
            ws, project, label_queue.LabelRequest(n=5, seed=1, random_share=0.0), by="me", now=now
        )


def test_the_cycle_weighs_the_labels_of_the_queue(ws: Workspace, now: datetime) -> None:
    project, truth = waiting(ws, now)
    label_queue.request_labels(ws, project, label_queue.LabelRequest(n=100, seed=1), by="ada", now=now)
    rows = label_queue.open_requests(ws, project)
    label_queue.store_labels(ws, project, {row.row_id: truth[row.row_id] for row in rows}, by="ada", now=now)
    reported = label_queue.estimated_scores(ws, project)
    report = run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=3))
    assert report is not None and report.evidence is not None
    assert report.evidence.score_n == 100
    assert report.evidence.score == pytest.approx(reported.weighted.value, abs=1e-9)
    points = monitoring.performance_history(ws, project.id)
    assert {p.scores["accuracy"].method for p in points} == {"inverse probability 95 %"}
    assert points[0].scores["roc_auc"].value is None
    assert not report.evidence.change_found, "hard rows are no change"


@pytest.mark.parametrize(
    ("task", "classes", "cells", "given"),
    [
        ("binary", (0, 1), {"a": "1", "b": None, "c": "0", "d": "2"}, {"a": 1, "c": 0}),
        ("binary", (False, True), {"a": "True", "b": float("nan")}, {"a": True}),
        ("regression", (), {"a": 1.5, "b": None, "c": float("nan"), "d": 0}, {"a": 1.5, "d": 0}),
    ],
)
def test_what_is_written_into_the_table_is_read_as_the_projects_labels(
    task: Task, classes: tuple[Label, ...], cells: dict[str, object], given: dict[str, Label]
) -> None:
    schema = FeatureSchema(task=task, target="y", features=(Feature(name="x", kind="numeric"),), classes=classes)
    assert label_queue.entered_labels(schema, cells) == given
