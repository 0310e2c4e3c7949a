"""`repair` and `doctor --deep` over each kind of damage: what is named, what is done, what it costs, and that it is enough."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select, text, update

from core import cli
from core.cycle import learner_state, run_cycle
from core.errors import StorageError
from core.learning.policy import policy_named
from core.records import ProjectInfo
from core.services.ingestion import ingest
from core.services.monitoring import monitoring
from core.services.operations import backup, doctor, repairing
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import history
from core.storage.tables import AuditEntry, Batch, ModelEvent, ModelRow, Project
from core.storage.workspace import Workspace
from core.text.reasons import sentence

HOUR = timedelta(hours=1)


def stream(seed: int, *, flipped: bool = False) -> pd.DataFrame:
    """Rows of a fixed linear concept, or of its opposite."""
    frame = pd.DataFrame(np.random.default_rng(seed).normal(size=(120, 2)), columns=["a", "b"])
    return frame.assign(y=((frame["a"] + frame["b"] > 0) ^ flipped).astype(int))


def _made(ws: Workspace, now: datetime) -> None:
    """Four batches, each with its forced cycle; the concept turns round after the second."""
    policy = policy_named("fast", families=("logistic",), new_labels=100)
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    for i in range(4):
        info, at = projects.project_by_id(ws, made.id), now + i * HOUR
        ingest.ingest_frame(ws, info, stream(i, flipped=i > 1), origin=f"{i}.csv", by="test", now=at, target="y")
        assert run_cycle(ws, made.id, cause="cli", now=at, force=True) is not None


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


@pytest.fixture
def project(ws: Workspace, now: datetime, fill: Callable[..., None]) -> ProjectInfo:
    fill(ws, _made, now)
    learner_state._learners.clear()
    return projects.get_project(ws, "demo")


def batch(ws: Workspace, number: int) -> Batch:
    with ws.database.read() as session:
        return session.scalars(select(Batch).where(Batch.number == number)).one()


def rows_of(ws: Workspace) -> Path:
    return ws.batches.root / batch(ws, 2).path


def scores_of(ws: Workspace) -> Path:
    return ws.batches.root / str(batch(ws, 2).scores_path)


def champion_of(ws: Workspace) -> Path:
    champion = projects.get_project(ws, "demo").champion
    with ws.database.read() as session:
        return ws.models_path / session.scalars(select(ModelRow.path).where(ModelRow.version == champion)).one()


def state_of(ws: Workspace) -> Path:
    with ws.database.read() as session:
        return ws.models_path / str(session.scalars(select(Project.learner_path)).one())


def estimator_of(ws: Workspace) -> Path:
    return next(state_of(ws).parent.glob("*.skops"))


def scorer_of(ws: Workspace) -> Path:
    with ws.database.read() as session:
        return ws.models_path / str(session.scalars(select(ModelRow.scorer_path)).first())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# What is harmed, how, the check of `doctor --deep` that names it, what it says, and what `repair` says.
DAMAGE: dict[str, tuple[Callable[[Workspace], Path], Callable[[Path], None], str, str, str]] = {
    "batch missing": (
        rows_of,
        Path.unlink,
        "batches",
        "batch 2 of demo is missing",
        "Batch 2 (1.csv) is marked as lost",
    ),
    "batch truncated": (rows_of, truncate, "batches", "batch 2 of demo is cut short", "marked as lost"),
    "batch flipped": (rows_of, flip, "batches", "batch 2 of demo is not as it was written", "marked as lost"),
    "scores missing": (scores_of, Path.unlink, "scores", "of batch 2 of demo is missing", "recomputed by v"),
    "scores truncated": (scores_of, truncate, "scores", "of batch 2 of demo is cut short", "recomputed by v"),
    "artefact missing": (champion_of, Path.unlink, "models", "of demo is missing", "becomes the champion again"),
    "artefact truncated": (champion_of, truncate, "models", "of demo is cut short", "becomes the champion again"),
    "scorer flipped": (scorer_of, flip, "models", "the scorer of v1 of demo is not as", "exported again"),
    "learner missing": (state_of, Path.unlink, "learners", "that of demo is missing", "learner is rebuilt"),
    "learner truncated": (state_of, truncate, "learners", "that of demo cannot be read", "learner is rebuilt"),
    "estimator missing": (estimator_of, Path.unlink, "learners", "that of demo is missing", "learner is rebuilt"),
    "estimator flipped": (estimator_of, flip, "learners", "that of demo is not as", "learner is rebuilt"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_is_named_repaired_and_well_again(
    ws: Workspace, project: ProjectInfo, now: datetime, kind: str, tmp_path: Path
) -> None:
    place, harm, check, named, mended = DAMAGE[kind]
    at = now + 5 * HOUR
    harm(place(ws))
    found = {c.name: c for c in doctor.examine(ws, now=at, deep=True)}
    assert not found[check].ok and named in found[check].detail and "repair --dry-run" in found[check].fix
    planned = repairing.repair(ws, now=at, dry_run=True)
    assert [mended in a.what for a in planned].count(True) == 1 and not any(a.done for a in planned)
    with ws.database.read() as session:
        assert session.scalars(select(AuditEntry).where(AuditEntry.who == "repair")).all() == []
    actions = repairing.repair(ws, now=at)
    assert [a.what for a in actions] == [a.what for a in planned] and all(a.done and a.cost for a in actions)
    assert [c for c in doctor.examine(ws, now=at, deep=True) if not c.ok and c.name != "modes"] == []
    assert repairing.repair(ws, now=at) == []
    assert backup.backup(ws, tmp_path / "b.zip", now=at).damaged == ()
    info = projects.project_by_id(ws, project.id)
    ingest.ingest_frame(ws, info, stream(9, flipped=True), origin="more.csv", by="test", now=at)
    report = run_cycle(ws, project.id, cause="cli", now=at)
    assert report is not None and report.status == "done" and report.evidence is not None
    assert (report.evidence.n_labelled, report.evidence.set_aside) == (120, ())


def test_a_lost_batch_stays_undone_by_repair_with_a_note_and_its_rows_do_not_count(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    path = rows_of(ws)
    flip(path)
    repairing.repair(ws, now=now + 5 * HOUR, project=project)
    row = batch(ws, 2)
    assert (row.undone_by, path.exists()) == ("repair", True)
    with ws.database.read() as session:
        note = session.scalars(select(AuditEntry).where(AuditEntry.what == "batch lost")).one()
        owner = session.get_one(Project, project.id)
    assert note.after == {"batch": 2, "file": row.path, "how": "is not as it was written (its sha256 differs)"}
    assert (owner.rows, owner.labelled) == (360, 360)


def test_scores_made_anew_are_those_that_were_lost(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    before = history.read_scores(ws, batch(ws, 2))
    scores_of(ws).unlink()
    repairing.repair(ws, now=now)
    after = history.read_scores(ws, batch(ws, 2))
    assert before.labels.tolist() == after.labels.tolist() and before.versions.tolist() == after.versions.tolist()
    assert before.probabilities is not None and after.probabilities is not None
    assert np.array_equal(before.probabilities, after.probabilities)


def test_scores_of_a_version_that_is_gone_count_as_never_made(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    scores_of(ws).unlink()
    with ws.database.write() as session:
        session.execute(update(Batch).where(Batch.number == 2).values(scored_by=None))  # several versions had answered
    (action,) = repairing.repair(ws, now=now)
    assert "given up" in action.what and "not predicted" in action.cost
    row = batch(ws, 2)
    assert (row.scores_path, row.scored_by, history.is_set_aside(row)) == (None, None, False)
    judged = monitoring.labelled_with_predictions(ws, project)
    assert judged is not None and len(judged.y_true) == 240


def test_the_newest_earlier_version_serves_with_a_reason(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    champion_of(ws).unlink()
    repairing.repair(ws, now=now + 5 * HOUR)
    with ws.database.read() as session:
        event = session.scalars(select(ModelEvent).order_by(ModelEvent.id.desc())).first()
    assert event is not None and project.champion is not None and event.version < project.champion
    assert (event.event, event.by, event.replaced) == ("rolled_back", "repair", project.champion)
    assert event.reason is not None and "is missing" in sentence(event.reason)


def test_without_any_whole_version_the_next_check_races_at_once(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    for path in (ws.models_path / f"p{project.id}").glob("*.skops"):
        path.unlink()
    actions = repairing.repair(ws, now=now + 5 * HOUR)
    assert any("no earlier version is undamaged" in a.what and a.done for a in actions)
    report = run_cycle(ws, project.id, cause="schedule", now=now + 5 * HOUR)
    assert report is not None and report.outcome == "promoted"
    assert repairing.repair(ws, now=now + 6 * HOUR) == []


def test_a_missing_profile_is_made_again(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    kept = batch(ws, 1).profile
    with ws.database.write() as session:
        session.execute(update(Batch).where(Batch.number == 1).values(profile=None))
    (action,) = repairing.repair(ws, now=now)
    assert action.done and "profile of batch 1" in action.what and batch(ws, 1).profile == kept


def test_folders_on_a_disk_that_is_not_mounted_are_not_taken_for_lost(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    ws.batches.root.rename(ws.batches.root.with_name("away"))
    ws.batches.root.mkdir()
    with pytest.raises(StorageError, match=r"Nothing was repaired\. The folder batches is empty"):
        repairing.repair(ws, now=now)


def test_the_command_shows_the_actions_as_json(
    ws: Workspace, project: ProjectInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["repair"]) == 0
    assert capsys.readouterr().out == "Nothing is damaged.\n"
    scores_of(ws).unlink()
    assert cli.main(["repair", "--project", "demo", "--dry-run", "--json"]) == 0
    (action,) = json.loads(capsys.readouterr().out)["actions"]
    assert set(action) == {"project", "what", "done", "cost"} and (action["project"], action["done"]) == ("demo", False)
    assert cli.main(["repair"]) == 0
    assert capsys.readouterr().out.startswith("done: demo: The predictions of batch 2 are recomputed")


# --- the database ---------------------------------------------------------------------------------------------------


def harm_pages(ws: Workspace) -> None:
    """Overwrite the later half of the database's pages, its file closed."""
    with ws.database.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    ws.database.dispose()
    path = ws.settings.home_path / "continual.db"
    data = bytearray(path.read_bytes())
    start = len(data) // 2 // 4096 * 4096
    data[start:] = b"\xff" * (len(data) - start)
    path.write_bytes(data)


def test_damaged_pages_are_named_and_nothing_is_done_about_them(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    harm_pages(ws)
    (action,) = repairing.repair(ws, now=now)
    assert not action.done and "restore a backup" in action.what
    bad = [c for c in doctor.examine(ws, now=now, deep=True) if c.name in ("database", "database pages") and not c.ok]
    assert bad and "restore" in bad[0].fix


def test_the_doctor_prints_its_checks_as_json(
    ws: Workspace, project: ProjectInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    rows_of(ws).unlink()
    assert cli.main(["doctor", "--deep", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert not document["ok"] and all(list(c) == ["name", "ok", "detail", "mend"] for c in document["checks"])
    assert next(c for c in document["checks"] if c["name"] == "batches")["mend"].startswith("Restore it")


def test_a_file_that_is_no_database_is_distinguished_from_one_out_of_reach(ws: Workspace, now: datetime) -> None:
    ws.database.dispose()
    (ws.settings.home_path / "continual.db").write_bytes(b"not a database" * 1000)
    (check,) = [c for c in doctor.examine(ws, now=now) if c.name == "database"]
    assert not check.ok and "damaged" in check.fix and "backup" in check.fix


@pytest.mark.parametrize(("revision", "expected"), [("9999", "newer version"), ("0001", "migrate")])
def test_another_schema_revision_is_named(ws: Workspace, now: datetime, revision: str, expected: str) -> None:
    with ws.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    (check,) = [c for c in doctor.examine(ws, now=now) if c.name == "schema"]
    assert not check.ok and revision in check.detail and expected in check.fix
