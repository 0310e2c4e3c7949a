"""Any two windows side by side: which batches they hold, a feature in both, the report as a file."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.records import DriftReport, ProjectInfo
from core.services.ingestion import ingest
from core.services.monitoring import compared, monitoring
from core.services.monitoring.compared import Against
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace
from tests.services.monitoring.test_windows import rows


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def _live(ws: Workspace, now: datetime) -> None:
    policy = policy_named(
        "balanced", families=("logistic",), new_labels=10_000, triggers=("no_champion", "by_hand"), gate="none"
    )
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    for i in range(4):
        at = now + timedelta(days=i)
        known = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(ws, known, rows(i, moved=i == 3), origin=f"{i}.csv", by="test", now=at, target="y")
        run_cycle(ws, made.id, cause="cli", now=at)


@pytest.fixture
def project(ws: Workspace, now: datetime, fill: Any) -> ProjectInfo:
    """Four batches, the last of which moved; a champion that learnt from the first."""
    fill(ws, _live, now)
    return projects.get_project(ws, "demo")


@pytest.fixture
def stored(ws: Workspace, project: ProjectInfo) -> DriftReport:
    """The report of the newest check."""
    found = monitoring.latest_drift(ws, project.id)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("n", "against", "reference", "current"),
    [
        (None, "champion", (), ()),  # the check's own
        (None, "before", (3,), (4,)),
        (2, "before", (1, 2), (3, 4)),
        (2, "champion", (1,), (3, 4)),
        (20, "before", (1,), (2, 3, 4)),  # at most all but one
    ],
)
def test_the_windows_are_those_that_were_asked_for(
    ws: Workspace,
    project: ProjectInfo,
    stored: DriftReport,
    n: int | None,
    against: Against,
    reference: tuple[int, ...],
    current: tuple[int, ...],
) -> None:
    found = compared.between(ws, project, stored, n, against)
    assert (found.reference, found.current) == (reference, current)
    assert (found.report is stored) == (not reference)
    sides = compared.rows(ws, project, found.reference, found.current)
    assert sides is not None
    assert [len(side) for side in sides] == [200 * (len(reference) or 1), 200 * (len(current) or 1)]


def test_a_single_batch_is_compared_with_nothing(ws: Workspace, now: datetime, stored: DriftReport) -> None:
    made = projects.create_project(ws, "Bare", Origin(source="file"), by="test", now=now)
    assert compared.between(ws, made, stored, 5, "before").report is stored
    assert compared.rows(ws, made, (), ()) is None


def test_a_feature_is_drawn_in_both_windows_where_there_is_something(
    ws: Workspace, project: ProjectInfo, stored: DriftReport
) -> None:
    sides = compared.rows(ws, project, (), ())
    assert sides is not None
    moved = next(score for score in stored.scores if score.name == "a")
    found = compared.distribution_of(project, moved, sides)
    assert found is not None and found.medians is not None and found.medians[1] - found.medians[0] > 1
    assert compared.distribution_of(project, moved, None) is None
    assert compared.distribution_of(project, dataclasses.replace(moved, name="gone"), sides) is None
    bare = (sides[0].assign(a=float("nan")), sides[1])
    assert compared.distribution_of(project, moved, bare) is None, "a window without a value"


def test_the_file_draws_what_moved(ws: Workspace, project: ProjectInfo, stored: DriftReport, now: datetime) -> None:
    sides = compared.rows(ws, project, (), ())
    drawn = compared.as_file(project, stored, sides, made_at=now).decode()
    assert drawn.startswith("<!doctype html>") and drawn.count("<svg") == len(stored.drifted) >= 1
    assert "<svg" not in compared.as_file(project, stored, None, made_at=now).decode()
