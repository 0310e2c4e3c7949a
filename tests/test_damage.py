"""Files of a project that are lost or changed: the loop goes on and says what it goes on without."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select, update

from core import words
from core.cycle import learner_state, run_cycle
from core.errors import StorageError
from core.learning.policy import policy_named
from core.records import CycleReport, ProjectInfo
from core.services.ingestion import ingest, stored_batches
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import champion_cache
from core.storage import registry
from core.storage.tables import Batch, ModelRow, Project
from core.storage.workspace import Workspace
from core.text.reasons import sentence

HOUR = timedelta(hours=1)


def stream(seed: int, n: int = 120) -> pd.DataFrame:
    """Rows of a fixed linear concept."""
    frame = pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 2)), columns=["a", "b"])
    return frame.assign(y=(frame["a"] + frame["b"] > 0).astype(int))


def _made(ws: Workspace, now: datetime) -> None:
    """Three batches, each with its cycle: a champion, scores of two batches, a learner's state."""
    policy = policy_named("balanced", families=("logistic",), new_labels=120)
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    for i in range(3):
        info = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(ws, info, stream(i), origin=f"{i}.csv", by="test", now=now + i * HOUR, target="y")
        assert run_cycle(ws, made.id, cause="cli", now=now + i * HOUR) is not None


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


@pytest.fixture
def project(ws: Workspace, now: datetime, fill: Callable[..., None]) -> ProjectInfo:
    fill(ws, _made, now)
    return projects.get_project(ws, "demo")


@pytest.fixture
def turn(ws: Workspace, project: ProjectInfo, now: datetime) -> Callable[..., CycleReport]:
    """Store one more batch and turn the loop."""
    hours = [3]

    def _turn(*, store: bool = True) -> CycleReport:
        hours[0] += 1
        at, info = now + hours[0] * HOUR, projects.project_by_id(ws, project.id)
        if store:
            ingest.ingest_frame(ws, info, stream(hours[0]), origin="more.csv", by="test", now=at)
        report = run_cycle(ws, project.id, cause="cli", now=at)
        assert report is not None and report.status == "done" and report.evidence is not None
        return report

    return _turn


def batch(ws: Workspace, number: int) -> Batch:
    with ws.database.read() as session:
        return session.scalars(select(Batch).where(Batch.number == number)).one()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


HARMS: dict[str, Callable[[Path], None]] = {"missing": Path.unlink, "truncated": truncate, "flipped": flip}


@pytest.mark.parametrize("harm", HARMS)
def test_a_batch_that_was_learnt_from_and_is_damaged_is_left_out_and_reported(
    ws: Workspace, turn: Callable[..., CycleReport], harm: str
) -> None:
    HARMS[harm](ws.batches.root / batch(ws, 2).path)
    report = turn()
    assert report.evidence is not None and report.evidence.n_labelled == 120
    (aside,) = [entry for entry in report.evidence.set_aside if entry.batch == 2]
    assert aside.code == "batch_damaged" and batch(ws, 2).path in aside.cause
    assert "repair --dry-run" in words.set_aside(report.evidence)[0]


def test_a_new_batch_that_is_damaged_waits_and_is_read_once_it_is_restored(
    ws: Workspace, project: ProjectInfo, now: datetime, turn: Callable[..., CycleReport]
) -> None:
    ingest.ingest_frame(ws, project, stream(40), origin="new.csv", by="test", now=now + 3 * HOUR)
    path = ws.batches.root / batch(ws, 4).path
    kept = path.read_bytes()
    path.unlink()
    report = turn(store=False)
    assert report.evidence is not None and report.evidence.n_labelled == 0
    assert [(e.code, e.batch) for e in report.evidence.set_aside] == [("batch_damaged", 4)]
    assert run_cycle(ws, project.id, cause="cli", now=now + 5 * HOUR) is None  # reported once
    path.write_bytes(kept)
    report = turn(store=False)
    assert report.evidence is not None and (report.evidence.n_labelled, report.evidence.set_aside) == (120, ())
    assert batch(ws, 4).scores_path is not None and not batch(ws, 4).pending


def test_an_empty_folder_of_rows_is_a_disk_that_is_not_mounted_and_changes_nothing(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    ingest.ingest_frame(ws, project, stream(40), origin="new.csv", by="test", now=now + 3 * HOUR)
    away = ws.batches.root.with_name("elsewhere")
    ws.batches.root.rename(away)
    with pytest.raises(StorageError, match="mounted"):
        run_cycle(ws, project.id, cause="cli", now=now + 4 * HOUR)
    away.rename(ws.batches.root)
    report = run_cycle(ws, project.id, cause="cli", now=now + 5 * HOUR)
    assert report is not None and report.evidence is not None and report.evidence.n_labelled == 120


def test_damaged_scores_count_as_never_made(
    ws: Workspace, project: ProjectInfo, turn: Callable[..., CycleReport]
) -> None:
    truncate(ws.batches.root / str(batch(ws, 3).scores_path))
    assert turn().status == "done"
    judged = monitoring.labelled_with_predictions(ws, project)
    assert judged is not None and len(judged.y_true) == 240  # batches 2 and 4


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("part", ["cycle-*.json", "*.skops"])
def test_a_damaged_learner_begins_anew_and_the_audit_row_says_so(
    ws: Workspace, project: ProjectInfo, turn: Callable[..., CycleReport], harm: str, part: str
) -> None:
    folder = ws.models_path / f"p{project.id}" / "learner"
    for path in folder.glob(part):
        HARMS[harm](path)
    learner_state._learners.clear()
    report = turn()
    assert "The learner was reset" in sentence(report.reason)
    learner_state._learners.clear()
    assert "was reset" not in sentence(turn().reason)


def test_a_damaged_champion_is_replaced_by_a_race_at_once(
    ws: Workspace, project: ProjectInfo, turn: Callable[..., CycleReport]
) -> None:
    with ws.database.read() as session:
        rows = session.scalars(select(ModelRow)).all()
    for row in (row for row in rows if row.removed_at is None):
        truncate(ws.models_path / row.path)
    report = turn(store=False)
    assert (report.decision, report.outcome, report.champion_before) == ("retrain", "promoted", project.champion)
    assert "artefact of v" in sentence(report.reason)
    champion = projects.project_by_id(ws, project.id).champion
    assert champion is not None and champion not in [row.version for row in rows]
    registry.load_model(ws, project.id, champion)
    assert champion_cache.champion(ws, projects.project_by_id(ws, project.id)).version == champion
    assert turn().evidence is not None


@pytest.mark.parametrize("harm", HARMS)
def test_a_batch_whose_file_is_damaged_can_be_undone(
    ws: Workspace, project: ProjectInfo, now: datetime, harm: str
) -> None:
    HARMS[harm](ws.batches.root / batch(ws, 2).path)
    stored_batches.undo_batch(ws, project, batch(ws, 2).id, by="test", now=now + 4 * HOUR)
    with ws.database.read() as session:
        row = session.get_one(Project, project.id)
        assert (row.rows, row.labelled) == (240, 240)


def test_a_state_of_an_earlier_version_of_the_program_is_taken_up(
    ws: Workspace, project: ProjectInfo, turn: Callable[..., CycleReport]
) -> None:
    import json

    (path,) = (ws.models_path / f"p{project.id}" / "learner").glob("cycle-*.json")
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({"state": stored["state"], "estimators": sorted(stored["estimators"])}))
    learner_state._learners.clear()
    assert "was reset" not in sentence(turn().reason)


def test_a_batch_of_another_digest_is_not_read(ws: Workspace, project: ProjectInfo) -> None:
    with ws.database.write() as session:
        session.execute(update(Batch).where(Batch.number == 1).values(sha256="0" * 64))
    frame, _, _ = _reader(ws, project).newest(None)
    assert len(frame) == 240


def _reader(ws: Workspace, project: ProjectInfo) -> object:
    from core.storage.history import History

    assert project.schema is not None
    return History(ws, project.id, project.schema)
