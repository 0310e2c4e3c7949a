"""Estimates are made before labels are looked at, stored once, graded later, and never taken for measurements."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.records import EstimatePoint, ProjectInfo, Score
from core.services.ingestion import ingest
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.tables import EstimateRun
from core.storage.workspace import Workspace

N = 300


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def rows(i: int, task: str = "binary") -> pd.DataFrame:
    rng = np.random.default_rng(i)
    frame = pd.DataFrame(rng.normal(size=(N, 2)), columns=["a", "b"])
    signal = frame["a"] + frame["b"] + rng.normal(size=N)
    frame["y"] = signal if task == "regression" else np.where(signal > 0, "yes", "no")
    if task == "multiclass":
        frame["y"] = np.select([signal < -0.7, signal > 0.7], ["low", "high"], "middle")
    return frame


def grown(ws: Workspace, now: datetime, task: str, batches: int = 4) -> ProjectInfo:
    family = "ridge" if task == "regression" else "logistic"
    policy = policy_named("balanced", families=(family,), triggers=("no_champion", "estimated_below"))
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    for i in range(batches):
        at = now + timedelta(hours=i)
        ingest.ingest_frame(
            ws, projects.project_by_id(ws, made.id), rows(i, task), origin=f"{i}.csv", by="test", now=at, target="y"
        )
        run_cycle(ws, made.id, cause="cli", now=at)
    return projects.project_by_id(ws, made.id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("binary", {"accuracy", "kappa", "roc_auc", "log_loss"}),
        ("multiclass", {"accuracy", "kappa", "macro_f1", "roc_auc", "log_loss"}),
        ("regression", {"mae", "rmse"}),
    ],
)
def test_every_task_is_estimated_and_graded(ws: Workspace, now: datetime, task: str, metrics: set[str]) -> None:
    project = grown(ws, now, task)
    points = monitoring.estimates(ws, project.id)
    assert [p.n for p in points] == [
        N,
        N,
    ]  # the first two batches came before there were labelled rows with predictions
    newest = points[-1]
    assert set(newest.estimates) == metrics
    measured = monitoring.performance_history(ws, project.id)[-1]
    name = "mae" if task == "regression" else "accuracy"
    found = newest.estimates[name]
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.low <= found.value <= found.high and found.high - found.low < 0.4
    assert newest.realised[name] == measured.scores[name].value
    assert newest.trust[name].n_chunks == 2 and newest.trust[name].trusted is not False
    assert newest.rows_seen == 4 * N


@pytest.mark.slow
def test_the_labels_of_the_estimated_rows_are_not_looked_at(ws: Workspace, now: datetime) -> None:
    """The same rows with other labels give the same estimates."""
    project = grown(ws, now, "binary", batches=3)
    frame = rows(9)
    stored = []
    for i, labels in enumerate((frame["y"], frame["y"].sample(frac=1.0, random_state=0).to_numpy())):
        other = frame.assign(y=labels)
        known = projects.project_by_id(ws, project.id)
        ingest.ingest_frame(ws, known, other, origin=f"again {i}", by="test", now=now + timedelta(hours=9 + i))
        if i == 0:
            run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=9))
            stored = [monitoring.estimates(ws, project.id)[-1].estimates["accuracy"].value]
            with ws.database.write() as session:  # as if that batch had never been judged
                from core.storage.tables import Batch

                newest = session.scalars(select(Batch).order_by(Batch.id.desc())).first()
                assert newest is not None
                newest.undone_at = now
    run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=11))
    stored.append(monitoring.estimates(ws, project.id)[-1].estimates["accuracy"].value)
    assert stored[0] == pytest.approx(stored[1])


@pytest.mark.slow
def test_rows_without_labels_are_estimated_and_a_sure_fall_is_reported(ws: Workspace, now: datetime) -> None:
    project = grown(ws, now, "binary", batches=3)
    unsure = rows(20).drop(columns="y")
    unsure[["a", "b"]] *= 0.05  # everything lies next to the border: the model can only guess
    ingest.ingest_frame(ws, project, unsure, origin="unsure", by="test", now=now + timedelta(hours=20))
    report = run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=20))
    assert report is not None and report.evidence is not None
    assert report.evidence.score is None and report.evidence.estimated is not None
    assert report.evidence.estimated < 0.75
    newest = monitoring.estimates(ws, project.id)[-1]
    assert newest.realised == {}
    assert report.decision in ("alert", "retrain")
    assert [f.trigger for f in report.firings] == ["estimated_below"]
    assert monitoring.replay_decision(ws, report.id)[2]


def test_too_few_labelled_rows_estimate_nothing(ws: Workspace, now: datetime) -> None:
    project = grown(ws, now, "binary", batches=1)
    few = rows(30).head(60)
    for i in range(2):
        ingest.ingest_frame(
            ws, project, few.assign(a=few["a"] + i), origin=f"few {i}", by="test", now=now + timedelta(hours=3 + i)
        )
        run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=3 + i))
    assert monitoring.estimates(ws, project.id) == []


def test_estimates_are_stored_once_and_never_as_measurements(ws: Workspace, now: datetime) -> None:
    project = grown(ws, now, "binary")
    with ws.database.read() as session:
        assert len(session.scalars(select(EstimateRun)).all()) == 2
    assert all(
        "estimated" not in s.method for p in monitoring.performance_history(ws, project.id) for s in p.scores.values()
    )
    assert all(
        s.method.startswith("estimated") for p in monitoring.estimates(ws, project.id) for s in p.estimates.values()
    )


def test_an_estimate_that_labels_contradict_is_no_longer_trusted(now: datetime) -> None:
    def point(i: int) -> EstimatePoint:
        score = Score(metric="accuracy", value=0.9, low=0.86, high=0.94, n=500)
        return EstimatePoint(
            at=now + timedelta(hours=i), rows_seen=500 * i, n=500, batch_id=i, cycle_id=i, model_version=1,
            estimates={"accuracy": score}, realised={}, trust={},
        )  # fmt: skip

    truth = {i: (500, {"accuracy": {"value": 0.91 if i < 4 else 0.6}}) for i in range(1, 7)}
    trusted = [p.trust["accuracy"].trusted for p in monitoring.graded([point(i) for i in range(1, 7)], truth)]
    assert trusted[:3] == [True, True, True]
    assert trusted[3] is False and trusted[5] is False
    bands = [p.estimates["accuracy"] for p in monitoring.graded([point(i) for i in range(1, 7)], truth)]
    assert [b.low for b in bands[:4]] == [0.86] * 4, "as wide as it was while the labels agreed"
    assert bands[5].value == 0.9 and bands[5].low < bands[4].low < 0.86  # type: ignore[operator]
    assert 0.94 < bands[5].high < 1.0  # type: ignore[operator]
    unlabelled = monitoring.graded([point(1)], {})
    assert unlabelled[0].trust["accuracy"].trusted is None and unlabelled[0].realised == {}


def test_few_labels_leave_more_to_chance(now: datetime) -> None:
    score = Score(metric="accuracy", value=0.9, low=0.87, high=0.93, n=500)
    point = EstimatePoint(
        at=now, rows_seen=500, n=500, batch_id=1, cycle_id=1, model_version=1, estimates={"accuracy": score},
        realised={}, trust={},
    )  # fmt: skip
    z = [
        abs(monitoring.graded([point], {1: (n, {"accuracy": {"value": 0.8}})})[0].trust["accuracy"].z)
        for n in (500, 20)
    ]
    assert z[0] == pytest.approx(5 * z[1], rel=1e-6)
