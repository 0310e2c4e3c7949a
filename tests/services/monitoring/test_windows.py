"""Windows of stored rows: the reference follows the champion, profiles answer without reading rows."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import update

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.records import ProjectInfo
from core.services.ingestion import ingest
from core.services.monitoring import monitoring, windows
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.tables import Batch
from core.storage.workspace import Workspace


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def rows(i: int, *, moved: bool = False, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(i)
    frame = pd.DataFrame({"a": rng.normal(2.0 if moved else 0.0, 1, n), "b": rng.normal(size=n)})
    frame["site"] = rng.choice(["east", "west"], n)
    frame["y"] = (frame["a"] + frame["b"] > 0).astype(int)
    return frame


def _live(ws: Workspace, now: datetime) -> None:
    policy = policy_named(
        "balanced", families=("logistic",), new_labels=10_000, triggers=("no_champion", "by_hand"), gate="none"
    )
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    for i in range(6):
        at = now + timedelta(days=i)
        known = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(ws, known, rows(i, moved=i >= 4), origin=f"{i}.csv", by="test", now=at, target="y")
        run_cycle(ws, made.id, cause="cli", now=at)


@pytest.fixture
def project(ws: Workspace, now: datetime, fill: Any) -> ProjectInfo:
    """Six batches a day apart, the last two of which moved; a champion that learnt from the first."""
    fill(ws, _live, now)
    return projects.get_project(ws, "demo")


def test_demo_the_drift_history_reads_no_row(
    ws: Workspace, project: ProjectInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a row was read")

    monkeypatch.setattr(type(ws.batches), "read_frame", refuse)
    without = dataclasses.replace(project.policy, false_alarms_per_month=0.0)  # a budget reads the reference
    found = windows.drift_history(ws, dataclasses.replace(project, policy=without))
    assert found is not None
    assert [b.number for b in found.batches] == [1, 2, 3, 4, 5, 6]
    moved = {c.name: c.since for c in found.trends}
    assert moved == {"a": 4, "b": None, "site": None}
    assert found.reference.description == "the newest 200 of the training rows of v1"


def test_a_profile_that_is_missing_or_of_another_version_is_made_again(ws: Workspace, project: ProjectInfo) -> None:
    with ws.database.write() as session:
        session.execute(update(Batch).where(Batch.number == 2).values(profile=None))
        session.execute(update(Batch).where(Batch.number == 3).values(profile=b"other\n123"))
    found = windows.batch_profiles(ws, project)
    assert [b.profile.rows for b in found] == [200] * 6
    with ws.database.read() as session:
        assert all(b.profile for b in session.query(Batch))


def test_any_two_windows_are_compared(ws: Workspace, project: ProjectInfo) -> None:
    batches = windows.batch_profiles(ws, project)
    report = windows.drift_between(project, batches[2:4], batches[4:])
    assert report is not None and report.drifted == ("a",)
    assert (report.reference.description, report.current.n_rows) == ("batches 3 to 4 (400 rows)", 400)
    assert windows.drift_between(project, [], batches) is None


def test_a_check_stores_features_predictions_and_labels(ws: Workspace, project: ProjectInfo) -> None:
    stored = monitoring.latest_drift(ws, project.id)
    assert stored is not None
    report = stored[1]
    assert report.drifted == ("a",)
    assert report.prediction is not None and report.prediction.drifted
    assert report.label is not None and report.label.drifted
    (score,) = [s for s in report.scores if s.name == "a"]
    assert {part.of for part in score.parts} == {"values", "location", "spread", "tails"}


def test_the_reference_moves_to_what_the_promoted_model_learnt_from(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    before = windows.reference_and_current(ws, project)
    run_cycle(ws, project.id, cause="button", now=now + timedelta(days=6), force=True)
    promoted = projects.project_by_id(ws, project.id)
    assert promoted.champion != project.champion
    after = windows.reference_and_current(ws, promoted)
    assert before is not None and after is not None
    assert before[0].window.n_rows == 200 and after[0].window.n_rows > 200
    assert f"v{promoted.champion}" in after[0].window.description


def test_checks_per_month_are_counted_in_the_rows_own_time(ws: Workspace, project: ProjectInfo) -> None:
    assert windows.checks_per_month(ws, project.id) == pytest.approx(30.0, rel=0.01)


def test_a_budget_without_enough_reference_rows_changes_nothing(ws: Workspace, project: ProjectInfo) -> None:
    policy = dataclasses.replace(project.policy, false_alarms_per_month=1.0)
    found = windows.drift_history(ws, dataclasses.replace(project, policy=policy))
    assert found is not None and found.gates == {}


def test_without_a_champion_there_is_nothing_to_compare(ws: Workspace, now: datetime) -> None:
    empty = projects.create_project(ws, "Empty", Origin(source="file"), by="test", now=now)
    assert windows.drift_history(ws, empty) is None
    assert windows.reference_and_current(ws, empty) is None
    assert windows.batch_profiles(ws, empty) == []
