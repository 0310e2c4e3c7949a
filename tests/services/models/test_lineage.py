"""Where a version comes from: batches, cycle, whom it met. And what the champion remembers."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.cycle import run_cycle
from core.errors import NotFound
from core.learning.policy import policy_named
from core.records import Change, ProjectInfo
from core.services.ingestion import ingest, stored_batches
from core.services.models import lineage
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import registry
from core.storage.tables import Cycle
from core.storage.workspace import Workspace
from tests.services.models.test_shadow import stream


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)
    monkeypatch.setattr("core.storage.mlflow_copy.sync_in_child", lambda ws, project_id: None)


def _live(ws: Workspace, now: datetime) -> None:
    policy = policy_named("balanced", families=("logistic", "neighbours"), new_labels=200)
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    for i, frame in enumerate([stream(1, 400), stream(2), stream(3, flipped=True)]):
        at = now + timedelta(hours=i)
        info = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(ws, info, frame, origin=f"batch {i + 1}", by="test", now=at, target="y")
        assert run_cycle(ws, made.id, cause="cli", now=at) is not None


@pytest.fixture
def project(ws: Workspace, now: datetime, fill: Any) -> ProjectInfo:
    """Three batches and as many races; the last one turns the concept round."""
    fill(ws, _live, now)
    return projects.get_project(ws, "demo")


def test_a_version_names_the_batches_it_could_learn_from_and_they_name_it(ws: Workspace, project: ProjectInfo) -> None:
    assert [b.number for b in lineage.batches_of(ws, project, 1)] == [1]
    third = lineage.batches_of(ws, project, 3)
    assert [(b.number, b.rows, b.undone) for b in third] == [(1, 400, False), (2, 200, False), (3, 200, False)]
    assert [b.last_at for b in third] == sorted(b.last_at for b in third)
    assert lineage.versions_of(ws, project, third[0].id) == [1, 2, 3]
    assert lineage.versions_of(ws, project, third[2].id) == [3]
    held = lineage.extent(third)
    assert held is not None
    assert (held.rows, held.first_at, held.last_at) == (800, third[0].first_at, third[-1].last_at)
    assert lineage.extent([]) is None


def test_a_batch_undone_since_is_reported(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    newest = lineage.batches_of(ws, project, 3)[-1]
    stored_batches.undo_batch(ws, project, newest.id, by="test", now=now)
    assert [b.undone for b in lineage.batches_of(ws, project, 3)] == [False, False, True]


def test_the_first_version_met_nobody_and_the_next_met_the_champion(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    first, third = lineage.provenance_of(ws, project, 1), lineage.provenance_of(ws, project, 3)
    assert (first.raced_against, first.replaced, first.policy, first.outcome) == (None, None, "balanced", "promoted")
    assert first.cycle_at == now
    assert third.raced_against is not None
    assert third.replaced == third.raced_against
    assert third.verdict is not None
    assert third.clauses == third.verdict.clauses != ()
    deciding, passed = third.decided
    assert deciding == sum(clause.decides for clause in third.clauses)
    assert (passed == deciding) == third.verdict.promote
    assert (first.clauses, first.decided) == ((), (0, 0))


def test_a_rejected_version_replaced_nobody(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    with ws.database.read() as session:
        served = {v.version for v in registry.list_versions(session, project.id) if v.promoted_at}
    for version in {1, 2, 3} - served:
        found = lineage.provenance_of(ws, project, version)
        assert (found.replaced, found.replaced_at) == (None, None)
        assert found.raced_against is not None


def test_an_import_has_neither_batches_nor_cycle(
    ws: Workspace, project: ProjectInfo, now: datetime, tmp_path: Path
) -> None:
    model = registry.load_model(ws, project.id, 1)
    assert project.schema is not None
    registry.register_version(
        ws,
        project,
        registry.NewVersion(
            model=model,
            family="imported",
            schema=project.schema,
            X_learnt=pd.DataFrame({"a": [0.0], "b": [1.0]}),
            source="import",
        ),
        Change(by="ada", now=now),
    )
    assert lineage.batches_of(ws, project, 4) == []
    found = lineage.provenance_of(ws, project, 4)
    assert (found.cycle_id, found.policy, found.raced_against, found.verdict) == (None, None, None, None)


def test_what_does_not_exist_is_not_found(ws: Workspace, project: ProjectInfo) -> None:
    for asked in (lineage.batches_of, lineage.provenance_of):
        with pytest.raises(NotFound, match="no model version 9"):
            asked(ws, project, 9)
    with pytest.raises(NotFound, match="no batch"):
        lineage.versions_of(ws, project, 999)
    other = projects.create_project(
        ws, "Other", Origin(source="file"), by="test", now=project.created_at, policy=project.policy
    )
    with pytest.raises(NotFound, match="no batch"):
        lineage.versions_of(ws, other, lineage.batches_of(ws, project, 1)[0].id)


def test_the_newest_look_at_the_past_is_found(ws: Workspace, project: ProjectInfo) -> None:
    found = lineage.newest_memory(ws, project)
    assert found is not None
    assert [r.number for r in found.memory.regimes][:1] == [1]
    assert all(len(line) == len(found.memory.regimes) for line in found.memory.matrix)
    assert found.version == project.champion
    assert found.rows == sum(r.n for r in found.memory.regimes) > 0
    with ws.database.write() as session:
        row = session.get_one(Cycle, found.cycle_id)
        row.memory = None
    earlier = lineage.newest_memory(ws, project)
    assert earlier is None or earlier.cycle_id < found.cycle_id


def test_a_new_project_remembers_nothing(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Void", Origin(source="file"), by="test", now=now)
    assert lineage.newest_memory(ws, made) is None
