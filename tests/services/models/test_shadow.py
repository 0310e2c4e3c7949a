"""A version in the champion's shadow by hand: it answers every new batch, is counted, and serves nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from core.cycle import run_cycle
from core.errors import BadInput, Busy, Conflict, NotFound, StorageError
from core.learning.evidence import counted
from core.learning.policy import policy_named
from core.records import CycleReport, ProjectInfo, to_document
from core.services.ingestion import ingest
from core.services.models import lifecycle, shadowing
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import queries, registry
from core.storage.tables import AuditEntry, Lease, ModelRow, Notice
from core.storage.workspace import Workspace
from core.text.reasons import sentence

BATCH = 200


def stream(seed: int, n: int = BATCH, *, flipped: bool = False) -> pd.DataFrame:
    """Rows of a fixed linear concept; flipped, it is the opposite one."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    frame["y"] = ((frame["a"] + frame["b"] > 0) ^ flipped).astype(int)
    return frame


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)
    monkeypatch.setattr("core.storage.mlflow_copy.sync_in_child", lambda ws, project_id: None)


def _live(ws: Workspace, now: datetime) -> None:
    policy = policy_named("balanced", families=("logistic", "neighbours"), gate="superior", triggers=("by_hand",))
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now, policy=policy)
    ingest.ingest_frame(ws, made, stream(1, 400), origin="warm-up", by="test", now=now, target="y")
    first = run_cycle(ws, made.id, cause="cli", now=now, force=True)
    assert first is not None
    ingest.ingest_frame(ws, projects.project_by_id(ws, made.id), stream(2), origin="more", by="test", now=now)
    second = run_cycle(ws, made.id, cause="cli", now=now, force=True)
    assert second is not None
    assert (first.outcome, second.outcome, second.challenger) == ("promoted", "rejected", 2)


@pytest.fixture
def project(ws: Workspace, now: datetime, fill: Any) -> ProjectInfo:
    """A project whose v1 serves and whose v2 was rejected: it learnt the same rows, and gate superior asks for more."""
    fill(ws, _live, now)
    return projects.get_project(ws, "demo")


@pytest.fixture
def turn(ws: Workspace, project: ProjectInfo, now: datetime) -> Callable[..., CycleReport]:
    """Store one more batch, an hour after the last, and turn the loop on it."""
    hours = [0]

    def _turn(*, labelled: bool = True) -> CycleReport:
        hours[0] += 1
        at = now + timedelta(hours=hours[0])
        rows = stream(10 + hours[0])
        info = projects.project_by_id(ws, project.id)
        ingest.ingest_frame(ws, info, rows if labelled else rows.drop(columns="y"), origin="b", by="test", now=at)
        report = run_cycle(ws, project.id, cause="schedule", now=at)
        assert report is not None
        return report

    return _turn


def again(ws: Workspace, project: ProjectInfo) -> ProjectInfo:
    return projects.project_by_id(ws, project.id)


def put(ws: Workspace, project: ProjectInfo, version: int, now: datetime, reason: str = "a try") -> None:
    shadowing.shadow(ws, project, version, reason=reason, by="ada", now=now)


@pytest.mark.slow
def test_a_rejected_challenger_answers_beside_the_champion_and_is_counted(
    ws: Workspace, project: ProjectInfo, now: datetime, turn: Callable[..., CycleReport]
) -> None:
    put(ws, project, 2, now)
    assert again(ws, project).shadow == 2
    before = shadowing.shadow_status(ws, again(ws, project))
    assert before is not None
    assert (before.rows, before.answered, before.for_better, before.state) == (0, 0, 1.0, "unknown")
    assert before.agreement is None
    assert (before.by, sentence(before.reason), before.since) == ("ada", "a try", now)
    turn()
    reported = turn().shadow
    assert reported is not None
    v1, v2 = (registry.load_model(ws, project.id, v) for v in (1, 2))
    frames = [stream(11), stream(12)]
    X, y = pd.concat([f[["a", "b"]] for f in frames]), np.concatenate([f["y"] for f in frames])
    mine, theirs = np.asarray(v2.predict(X)), np.asarray(v1.predict(X))
    wins, losses = int(((mine == y) & (theirs != y)).sum()), int(((mine != y) & (theirs == y)).sum())
    bets = counted(wins, losses)
    assert to_document(reported) == {
        "for_better": pytest.approx(bets.for_better), "for_worse": pytest.approx(bets.for_worse), "version": 2, "rows": 2 * BATCH, "wins": wins, "losses": losses, "answered": 2 * BATCH,
        "agreed": int((mine == theirs).sum()), "wanted": None,
    }  # fmt: skip
    status = shadowing.shadow_status(ws, again(ws, project))
    assert status is not None
    assert (status.rows, status.wins, status.losses) == (2 * BATCH, wins, losses)
    assert status.agreement == pytest.approx(np.mean(mine == theirs))
    assert again(ws, project).champion == 1


def test_rows_without_labels_are_answered_and_compared_but_not_counted_as_labelled(
    ws: Workspace, project: ProjectInfo, now: datetime, turn: Callable[..., CycleReport]
) -> None:
    put(ws, project, 2, now)
    reported = turn(labelled=False).shadow
    assert reported is not None
    assert (reported.rows, reported.answered) == (0, BATCH)


def test_an_ended_shadow_answers_no_more(
    ws: Workspace, project: ProjectInfo, now: datetime, turn: Callable[..., CycleReport]
) -> None:
    put(ws, project, 2, now)
    turn()
    assert shadowing.end_shadow(ws, again(ws, project), reason=" enough ", by="ada", now=now) == 2
    assert again(ws, project).shadow is None
    assert shadowing.shadow_status(ws, again(ws, project)) is None
    assert turn().shadow is None
    with ws.database.read() as session:
        trail = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(2)).all()
    assert [(e.who, e.what) for e in trail] == [("ada", "shadow ended"), ("ada", "shadow started")]
    assert (trail[0].before, trail[0].after) == ({"shadow": 2}, {"shadow": None, "reason": "enough"})
    assert (trail[1].before, trail[1].after) == ({"shadow": None}, {"shadow": 2, "reason": "a try"})
    with pytest.raises(Conflict, match="No version"):
        shadowing.end_shadow(ws, again(ws, project), reason="once more", by="ada", now=now)


def test_its_promotion_by_hand_ends_it(
    ws: Workspace, project: ProjectInfo, now: datetime, turn: Callable[..., CycleReport]
) -> None:
    put(ws, project, 2, now)
    turn()
    lifecycle.promote(ws, again(ws, project), 2, reason="it is better", by="ada", now=now)
    assert (again(ws, project).champion, again(ws, project).shadow) == (2, None)
    report = turn()
    assert report.shadow is None
    assert (again(ws, project).champion, again(ws, project).shadow) == (2, None)


def test_so_does_a_rollback_to_it(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    lifecycle.promote(ws, project, 2, reason="look", by="ada", now=now)
    put(ws, again(ws, project), 1, now)
    assert lifecycle.rollback(ws, again(ws, project), reason="back", by="ada", now=now) == 1
    assert again(ws, project).shadow is None


def test_a_promotion_of_another_one_leaves_it_there(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    put(ws, project, 2, now)
    report = run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=1), force=True)
    assert report is not None
    assert report.challenger == 3
    lifecycle.promote(ws, again(ws, project), 3, reason="look", by="ada", now=now + timedelta(hours=2))
    assert again(ws, project).shadow == 2


def test_what_cannot_stand_in_the_shadow_is_refused_by_name(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    with pytest.raises(Conflict, match="v1 of 'demo' is the champion"):
        put(ws, project, 1, now)
    with pytest.raises(NotFound, match="no model version 9"):
        put(ws, project, 9, now)
    with pytest.raises(BadInput, match="reason"):
        put(ws, project, 2, now, reason="  ")
    put(ws, project, 2, now)
    with pytest.raises(Conflict, match="already in shadow mode"):
        put(ws, project, 2, now)
    with pytest.raises(BadInput, match="reason"):
        shadowing.end_shadow(ws, again(ws, project), reason="", by="ada", now=now)
    with ws.database.read() as session:
        started = select(func.count()).select_from(AuditEntry).where(AuditEntry.what == shadowing.SHADOW_STARTED)
        assert session.scalar(started) == 1


def test_a_damaged_version_is_refused(
    ws: Workspace, project: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_loaded", type(registry._loaded)())
    with ws.database.read() as session:
        path = session.scalar(select(ModelRow.path).where(ModelRow.version == 2))
    Path(ws.models_path / str(path)).write_bytes(b"something else")
    with pytest.raises(StorageError, match="v2"):
        put(ws, project, 2, now)
    assert again(ws, project).shadow is None


def test_a_running_check_would_overwrite_it_so_it_waits(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    with ws.database.write() as session:
        lease = Lease(
            name=f"project:{project.id}", owner="elsewhere:1:1", expires_at=datetime.now(UTC) + timedelta(minutes=1)
        )
        session.add(lease)
    with pytest.raises(Busy, match="in progress"):
        put(ws, project, 2, now)
    with pytest.raises(Busy, match="in progress"):
        shadowing.end_shadow(ws, project, reason="x", by="ada", now=now)
    with ws.database.read() as session:
        assert queries.project_row(session, project.id).shadow_version is None


@pytest.mark.parametrize(
    ("wins", "losses", "state"), [(12, 1, "better"), (1, 12, "worse"), (9, 1, "unknown"), (0, 0, "unknown")]
)
def test_better_and_worse_are_only_said_of_uneven_splits(
    ws: Workspace, project: ProjectInfo, now: datetime, turn: Callable[..., CycleReport], wins: int, losses: int,
    state: str,
) -> None:  # fmt: skip
    from core.storage.tables import Cycle

    put(ws, project, 2, now)
    report = turn()
    with ws.database.write() as session:
        row = session.get_one(Cycle, report.id)
        kept = {name: value for name, value in (row.shadow or {}).items() if not name.startswith("for_")}
        row.shadow = {**kept, "wins": wins, "losses": losses}  # as it was stored before there was evidence
    status = shadowing.shadow_status(ws, again(ws, project))
    assert status is not None
    assert status.state == state
    assert status.for_better == pytest.approx(counted(wins, losses).for_better)


def test_what_a_person_does_with_a_shadow_is_reported(
    ws: Workspace, project: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws.settings, "discord_webhook_url", SecretStr("http://127.0.0.1:1/hook"))
    put(ws, project, 2, now)
    shadowing.end_shadow(ws, again(ws, project), reason="enough", by="ada", now=now)
    put(ws, project, 2, now)
    lifecycle.promote(ws, again(ws, project), 2, reason="better at night", by="ada", now=now)
    lifecycle.rollback(ws, again(ws, project), reason="worse by day", by="ada", now=now)
    with ws.database.read() as session:
        embeds = [n.payload["embeds"][0] for n in session.scalars(select(Notice).order_by(Notice.id))]
    assert [e["title"].removeprefix("Demo: ") for e in embeds] == [
        "v2 entered shadow mode", "v2 left shadow mode", "v2 entered shadow mode", "v2 promoted", "v2 left shadow mode",
        "rolled back to v1",
    ]  # fmt: skip
    assert embeds[3]["description"] == "better at night"
    assert {f["name"]: f["value"] for f in embeds[3]["fields"]} == {"Champion": "v1 → v2", "By": "ada"}
