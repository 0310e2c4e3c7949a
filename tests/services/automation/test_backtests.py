"""Other policies over the history that a project really had."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from core.cycle import run_cycle
from core.errors import BadInput, NotEnoughRows
from core.learning.backtest import replay_turns
from core.learning.policy import policy_named
from core.records import ROW_ID, ProjectInfo, Task
from core.services.automation import backtests
from core.services.ingestion import ingest, label_intake, stored_batches
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import history
from core.storage.workspace import Workspace

BATCH = 200


def stream(start: int, n: int = BATCH, *, flipped: bool = False, task: Task = "binary") -> pd.DataFrame:
    rng = np.random.default_rng(start + 7)
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    value = (frame["a"] + frame["b"]) * (-1 if flipped else 1) + rng.normal(0, 0.2, n)
    frame["y"] = value if task == "regression" else np.where(value > 0, "yes", "no")
    return frame


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def lived(ws: Workspace, now: datetime, task: Task, **changes: object) -> ProjectInfo:
    """A project with a history: a change of concept, a batch whose labels arrived later and in portions, one by hand."""
    families = ("ridge",) if task == "regression" else ("logistic", "neighbours")
    policy = policy_named("balanced", families=families, new_labels=BATCH, **changes)
    made = projects.create_project(ws, f"Lived {task}", Origin(source="file"), by="test", now=now, policy=policy)
    ingest.ingest_frame(ws, made, stream(0, 400, task=task), origin="warm-up", by="test", now=now, target="y")
    run_cycle(ws, made.id, cause="cli", now=now)
    for i in range(1, 9):
        at = now + timedelta(hours=i)
        frame = stream(1000 * i, flipped=i >= 5, task=task)
        if i == 3:
            frame["y"] = None if task != "regression" else np.nan
        project = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(ws, project, frame, origin=f"batch {i}", by="test", now=at, target="y")
        if i in (4, 6):  # the labels of batch 3, in two portions
            reader = history.History(ws, made.id, project.schema)  # type: ignore[arg-type]
            waiting = next(b for b in reader.batches if b.origin == "batch 3")
            ids = reader.frame(waiting)[0][ROW_ID]
            half = slice(0, 120) if i == 4 else slice(120, 200)
            truth = stream(3000, task=task)["y"]
            label_intake.add_labels(ws, project, list(zip(ids[half], truth[half], strict=True)), by="test", now=at)
        run_cycle(ws, made.id, cause="cli", now=at, force=i == 7)
    return projects.project_by_id(ws, made.id)


@pytest.mark.slow
def test_a_batch_undone_after_it_was_learnt_is_there_until_then(ws: Workspace, now: datetime) -> None:
    policy = policy_named("balanced", families=("logistic", "neighbours"), new_labels=2 * BATCH, drift_share=0.2)
    made = projects.create_project(ws, "Undone", Origin(source="file"), by="test", now=now, policy=policy)
    ingest.ingest_frame(ws, made, stream(0, 400), origin="warm-up", by="test", now=now, target="y")
    run_cycle(ws, made.id, cause="cli", now=now)
    for i in range(1, 9):
        at = now + timedelta(hours=i)
        project = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(
            ws, project, stream(1000 * i, flipped=i >= 5), origin=f"batch {i}", by="test", now=at, target="y"
        )
        run_cycle(ws, made.id, cause="cli", now=at)
        if i in (2, 5):  # one of before the change, and the one that brought it
            newest = history.History(ws, made.id, project.schema).batches[0]  # type: ignore[arg-type]
            stored_batches.undo_batch(ws, project, newest.id, by="test", now=at + timedelta(minutes=1))
    project = projects.project_by_id(ws, made.id)
    stored = backtests.stored_turns(ws, project)
    assert project.schema is not None
    report = replay_turns(stored.X, stored.y, project.schema, project.policy, stored.turns)
    live = monitoring.cycles(ws, project.id)[0][::-1][1:]
    assert [len(turn.gone) for turn in stored.turns] == [0, 0, 0, 1, 0, 0, 1, 0, 0]
    assert [t.decision for t in report.per_batch] == [c.decision for c in live]
    assert [t.fired for t in report.per_batch] == [tuple(f.trigger for f in c.firings) for c in live]
    assert [t.outcome for t in report.per_batch] == [c.outcome for c in live]
    assert [t.champion_version for t in report.per_batch] == [c.champion_before for c in live]
    assert report.rows_scored == 6 * BATCH
    later = backtests.stored_turns(ws, project, since=now + timedelta(hours=4))
    assert not np.isin(later.turns[0].arrived, stored.turns[3].gone[0]).any()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_same_policy_over_a_lived_history_decides_as_the_live_cycles_did(
    task: Task, ws: Workspace, now: datetime
) -> None:
    project = lived(ws, now, task, drift_share=0.2)
    cycles, total = monitoring.cycles(ws, project.id)
    assert total == 9
    stored = backtests.stored_turns(ws, project)
    assert project.schema is not None
    report = replay_turns(stored.X, stored.y, project.schema, project.policy, stored.turns)
    live = cycles[::-1][1:]
    assert [t.decision for t in report.per_batch] == [c.decision for c in live]
    assert [t.fired for t in report.per_batch] == [tuple(f.trigger for f in c.firings) for c in live]
    assert [t.outcome for t in report.per_batch] == [c.outcome for c in live]
    assert [t.champion_version for t in report.per_batch] == [c.champion_before for c in live]
    assert {c.outcome for c in live} >= {"promoted", "refreshed"}, "the history holds what could differ"
    assert report.rows_scored == 8 * BATCH


@pytest.mark.slow
def test_policies_stand_side_by_side_with_never_retraining(ws: Workspace, now: datetime) -> None:
    project = lived(ws, now, "binary")
    heard: list[str] = []
    found = backtests.compare_policies(
        ws, project, [project.policy, policy_named("original")], progress=lambda share, text: heard.append(text)
    )
    by_name = {p["name"]: p for p in found["policies"]}
    assert list(by_name) == ["balanced", "original", "never"]
    assert (by_name["never"]["fits"], by_name["never"]["races"]) == (0, 0)
    assert by_name["balanced"]["score"] > by_name["original"]["score"] > by_name["never"]["score"]
    assert all(len(p["turns"]) == found["turns"] == 8 for p in found["policies"])
    assert found["metric"] == "accuracy" and found["rows"] == 8 * BATCH
    assert any("original" in text for text in heard)
    late = backtests.compare_policies(ws, project, [project.policy], since=now + timedelta(hours=4, minutes=1))
    assert late["turns"] == 4 and late["rows"] == 4 * BATCH


@pytest.mark.slow
def test_what_cannot_be_compared_says_why(ws: Workspace, now: datetime) -> None:
    empty = projects.create_project(ws, "Empty", Origin(source="file"), by="test", now=now)
    with pytest.raises(BadInput, match="no data yet"):
        backtests.compare_policies(ws, empty, [empty.policy])
    ingest.ingest_frame(ws, empty, stream(0, 100), origin="one", by="test", now=now, target="y")
    run_cycle(ws, empty.id, cause="cli", now=now)
    once = projects.project_by_id(ws, empty.id)
    with pytest.raises(NotEnoughRows, match="needs 2 rows"):
        backtests.compare_policies(ws, once, [once.policy])
    with pytest.raises(BadInput, match="same name"):
        backtests.compare_policies(ws, once, [once.policy, once.policy])
