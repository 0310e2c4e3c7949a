"""A project at a glance: its newest figures, and what waits for a person."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.records import ProjectInfo
from core.services.ingestion import ingest
from core.services.monitoring import monitoring
from core.services.monitoring.overview import overview
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace
from tests.services.monitoring.test_windows import rows

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def made(ws: Workspace, now: datetime) -> ProjectInfo:
    policy = policy_named("balanced", families=("logistic",), new_labels=10_000)
    return projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)


def test_before_there_is_anything_nothing_is_known_and_a_model_is_needed(ws: Workspace, now: datetime) -> None:
    project = made(ws, now)
    seen = overview(ws, project, now)
    assert (seen.score, seen.drift, seen.champion, seen.last_cycle, seen.scheduler_age_s) == (None,) * 5
    assert (seen.since_last_batch, seen.by_retraining) == (None, None)
    assert [(need.kind, need.page) for need in seen.needs] == [("model", "data")]
    ingest.ingest_frame(ws, project, rows(0), origin="0.csv", by="test", now=now, target="y")
    needs = overview(ws, projects.project_by_id(ws, project.id), now).needs
    assert [(need.kind, need.page) for need in needs] == [("model", "train")]


def test_the_newest_figures_are_reported_with_what_they_are_held_against(ws: Workspace, now: datetime) -> None:
    project = made(ws, now)
    for i in range(3):
        at = now + i * HOUR
        known = projects.project_by_id(ws, project.id)
        ingest.ingest_frame(ws, known, rows(i), origin=f"{i}.csv", by="test", now=at, target="y")
        run_cycle(ws, project.id, cause="cli", now=at)
    bare = rows(9, n=20).drop(columns="y")
    known = projects.project_by_id(ws, project.id)
    ingest.ingest_frame(ws, known, bare, origin="bare.csv", by="test", now=now + 3 * HOUR)
    projects.set_paused(ws, known, True, by="test", now=now)
    seen = overview(ws, projects.project_by_id(ws, project.id), now + 3 * HOUR)
    before, newest = (p.scores["accuracy"].value for p in monitoring.performance_history(ws, project.id)[-2:])
    assert before is not None and newest is not None
    assert seen.since_last_batch == pytest.approx(newest - before)
    never = monitoring.performance_history(ws, project.id, role="never")[-1].scores["accuracy"].value
    assert never is not None and seen.by_retraining == pytest.approx(newest - never)
    assert seen.champion is not None and seen.drift is not None and seen.labels_due == 20
    assert [need.kind for need in seen.needs] == ["labels", "paused"]
