"""What a window of labelled rows says."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.records import ProjectInfo, Task
from core.services.ingestion import ingest
from core.services.monitoring import window_report
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def lived(ws: Workspace, now: datetime, task: Task) -> ProjectInfo:
    """A champion, and 200 labelled rows that it predicted."""
    policy = policy_named("balanced", families=("ridge" if task == "regression" else "logistic",))
    made = projects.create_project(
        ws, f"Lived {task}", Origin(source="file", task=task), by="test", now=now, policy=policy
    )
    for i in range(2):
        rng = np.random.default_rng(i)
        frame = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
        value = frame["a"] + frame["b"] + rng.normal(0, 0.3, 200)
        frame["y"] = value if task == "regression" else np.where(value > 0, "up", "down")
        project = projects.project_by_id(ws, made.id)
        at = now + i * HOUR
        ingest.ingest_frame(ws, project, frame, origin=f"{i}", by="test", now=at, target="y", task=task)
        run_cycle(ws, made.id, cause="cli", now=at)
    return projects.project_by_id(ws, made.id)


def test_classes_have_confusion_and_calibration(ws: Workspace, now: datetime) -> None:
    project = lived(ws, now, "binary")
    found = window_report.window_report(ws, project, n=150)
    assert found is not None and found.confusion is not None and found.calibration is not None
    assert (found.report.n, found.sliced) == (150, 150)
    assert sum(map(sum, found.confusion.counts)) == found.calibration.n == 150
    right = sum(row[i] for i, row in enumerate(found.confusion.counts))
    assert found.report.scores["accuracy"].value == pytest.approx(right / 150)
    assert now <= found.first_at <= found.last_at
    assert pickle.loads(pickle.dumps(found)) == found, "a page keeps it between runs"


def test_a_regression_has_neither(ws: Workspace, now: datetime) -> None:
    found = window_report.window_report(ws, lived(ws, now, "regression"), n=500)
    assert found is not None
    assert (found.report.n, found.confusion, found.calibration) == (200, None, None)
    assert found.report.scores["r2"].value is not None


def test_slices_are_looked_for_in_the_newest_rows_alone(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_report, "SLICED_ROWS", 60)
    found = window_report.window_report(ws, lived(ws, now, "binary"), n=150)
    assert found is not None and (found.report.n, found.sliced) == (150, 60)


def test_without_predicted_rows_there_is_none(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Bare", Origin(source="file"), by="test", now=now)
    assert window_report.window_report(ws, made, n=10) is None


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_weakest_slices_of_the_newest_rows_come_weakest_first(ws: Workspace, now: datetime, task: Task) -> None:
    project = lived(ws, now, task)
    found = window_report.weakest(ws, project)
    assert found and len(found) <= window_report.NEWEST_SLICES
    whole = window_report.window_report(ws, project, n=200)
    assert whole is not None and found[0] == whole.slices[0]
    sign = 1 if task == "regression" else -1  # an error is worse the greater it is
    assert all(sign * s.difference > 0 for s in found)


def test_without_labelled_rows_there_are_none(ws: Workspace, now: datetime) -> None:
    assert (
        window_report.weakest(ws, projects.create_project(ws, "Bare", Origin(source="file"), by="test", now=now))
        is None
    )
