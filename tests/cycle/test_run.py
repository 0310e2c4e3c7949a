"""One turn of the loop against real storage and real models."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import func, select, text

from core.cycle import run_cycle
from core.errors import Busy
from core.learning.policy import policy_named
from core.learning.state import LearnerState
from core.records import DriftReport, ProjectInfo, from_document
from core.services.automation import due_work
from core.services.ingestion import ingest, label_intake, stored_batches
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import file_answers
from core.settings import Settings
from core.storage import history, queries
from core.storage.tables import Cycle, DriftRun, Lease, ModelEvent, Project
from core.storage.workspace import Workspace, open_workspace
from core.text.reasons import sentence
from tests.cycle.stream import BATCH, stream


def count(ws: Workspace, table: type[Cycle] | type[ModelEvent]) -> int:
    with ws.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_check_without_news_writes_no_audit_row(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    before = count(ws, Cycle)
    assert run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=1)) is None
    assert count(ws, Cycle) == before
    with ws.database.read() as session:
        assert due_work.due_projects(session, now + timedelta(hours=1)) == []


def test_a_new_batch_is_predicted_before_it_is_learnt_from(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., ingest.IngestReport]
) -> None:
    send()
    with ws.database.read() as session:
        assert due_work.due_projects(session, now) == [project.id]
    report = run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=1))
    assert report is not None
    judged = monitoring.labelled_with_predictions(ws, projects.project_by_id(ws, project.id))
    assert judged is not None
    point = monitoring.performance_history(ws, project.id)[-1]
    assert point.model_version == 1  # the champion before this cycle, whatever came of it
    assert point.scores["accuracy"].value == pytest.approx(np.mean(judged.y_true == judged.y_pred))
    assert (point.n, point.rows_seen) == (BATCH, 400 + BATCH)


@pytest.mark.slow
def test_a_changed_concept_is_found_answered_and_reported(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., ingest.IngestReport]
) -> None:
    for hour in range(1, 3):
        send()
        run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=hour))
    outcomes = []
    for hour in range(3, 7):
        send(flipped=True)
        report = run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=hour))
        assert report is not None
        outcomes.append(report.outcome)
    assert "promoted" in outcomes
    champion = [p.scores["accuracy"].value for p in monitoring.performance_history(ws, project.id)]
    never = [p.scores["accuracy"].value for p in monitoring.performance_history(ws, project.id, role="never")]
    assert champion[2] is not None
    assert champion[2] < 0.2  # the batch in which the concept flipped
    assert champion[-1] is not None
    assert champion[-1] > 0.8
    assert never[-1] is not None
    assert never[-1] < 0.2
    kinds = [e.kind for e in monitoring.events(ws, project.id)]
    assert kinds.count("promoted") >= 2


def test_every_stored_decision_replays_to_itself(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., ingest.IngestReport]
) -> None:
    send(flipped=True)
    run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=1))
    reports, _ = monitoring.cycles(ws, project.id)
    assert len(reports) == 2
    for report in reports:
        stored, again, same = monitoring.replay_decision(ws, report.id)
        assert same
        assert sentence(stored.reason) == sentence(again.reason)


def test_a_decision_stored_in_other_words_replays_as_the_same_and_one_of_other_numbers_does_not(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., ingest.IngestReport]
) -> None:
    """Rows of earlier versions hold sentences where codes and numbers are stored now."""
    report = monitoring.cycles(ws, project.id)[0][0]
    assert report.firings and report.verdict is not None
    for observed, same in ((0.0, True), (1.0, False)):
        with ws.database.write() as session:
            row = session.get_one(Cycle, report.id)
            row.firings = [
                {**fired, "observed": fired["observed"] + observed, "reason": "It was said otherwise."}
                for fired in row.firings or ()
            ]
            row.verdict = {**(row.verdict or {}), "reason": "It was let in."}
            session.execute(text("UPDATE cycles SET reason = 'It was said otherwise then.'"))
        stored, again, agree = monitoring.replay_decision(ws, report.id)
        assert agree is same
        assert [sentence(firing.reason) for firing in stored.firings] == ["It was said otherwise."] * len(again.firings)
        old = monitoring.cycles(ws, project.id)[0][0]
        assert old.verdict is not None and sentence(old.verdict.reason) == "It was let in."
        assert sentence(old.reason) == "It was said otherwise then."


def test_labels_that_come_later_are_measured_against_what_was_answered(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., ingest.IngestReport]
) -> None:
    frame = stream(5000)
    report = send(frame.drop(columns="y"))
    assert run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=1)) is not None
    assert monitoring.performance_history(ws, project.id) == []
    pairs = [(f"b{report.batch.number}-{i}", int(v)) for i, v in enumerate(frame["y"])]
    label_intake.add_labels(ws, projects.project_by_id(ws, project.id), pairs, by="test", now=now + timedelta(hours=2))
    with ws.database.read() as session:
        assert due_work.due_projects(session, now) == [project.id]
    run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=2))
    points = monitoring.performance_history(ws, project.id)
    assert [p.n for p in points] == [BATCH]
    label_intake.add_labels(
        ws, projects.project_by_id(ws, project.id), [(pairs[0][0], 1 - pairs[0][1])], by="test", now=now, replace=True
    )
    assert run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=3)) is None  # a correction is no news
    assert monitoring.performance_history(ws, project.id) == points


def test_rows_from_before_the_first_champion_are_learnt_from_and_score_nothing(ws: Workspace, now: datetime) -> None:
    """They were never answered: their labels, when they come, start no race by a figure without a stored prediction."""
    made = projects.create_project(ws, "Early", Origin(source="file"), by="test", now=now, policy=policy_named("balanced", families=("logistic",), new_labels=100_000))  # fmt: skip
    early = stream(0)
    ingest.ingest_frame(ws, made, early.assign(y=early["y"].where(early.index < 4)), origin="a", by="test", now=now, target="y", task="classification")  # fmt: skip
    ingest.ingest_frame(ws, projects.project_by_id(ws, made.id), stream(BATCH), origin="b", by="test", now=now)
    first = run_cycle(ws, made.id, cause="cli", now=now)
    assert first is not None and first.champion_after == 1
    # Wrong labels, all of them: scored, they would be the worst batch ever seen.
    pairs = [(f"b1-{i}", 1 - int(y)) for i, y in enumerate(early["y"]) if i >= 4]
    label_intake.add_labels(ws, projects.project_by_id(ws, made.id), pairs, by="test", now=now + timedelta(hours=1))
    report = run_cycle(ws, made.id, cause="cli", now=now + timedelta(hours=2))
    assert report is not None and report.evidence is not None
    assert report.evidence.n_labelled == BATCH - 4
    assert (report.evidence.score, report.evidence.change_found, report.outcome) == (None, False, "none")


def test_an_undone_batch_is_never_learnt_from(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., ingest.IngestReport]
) -> None:
    report = send()
    stored_batches.undo_batch(ws, projects.project_by_id(ws, project.id), report.batch.id, by="test", now=now)
    assert run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=1)) is None
    forced = run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=1), force=True)
    assert forced is not None
    with ws.database.read() as session:
        from core.storage.tables import ModelRow

        for row in session.scalars(select(ModelRow)):
            assert report.batch.id not in (row.batch_ids or [])


def test_two_cycles_of_one_project_never_run_together(ws: Workspace, project: ProjectInfo, now: datetime) -> None:

    with ws.database.write() as session:
        owner = f"{socket.gethostname()}:{os.getpid()}:1:1"
        session.add(
            Lease(name=f"project:{project.id}", owner=owner, expires_at=datetime.now(UTC) + timedelta(minutes=1))
        )
    with pytest.raises(Busy, match="under way"):
        run_cycle(ws, project.id, cause="cli", now=now, force=True)


def test_a_lease_of_a_dead_process_is_taken_over_at_once(ws: Workspace, project: ProjectInfo, now: datetime) -> None:

    with ws.database.write() as session:
        owner = f"{socket.gethostname()}:4194304:1:1"  # above the largest process id
        session.add(
            Lease(name=f"project:{project.id}", owner=owner, expires_at=datetime.now(UTC) + timedelta(minutes=1))
        )
    assert run_cycle(ws, project.id, cause="cli", now=now, force=True) is not None
    with ws.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Lease)) == 0


def test_a_cycle_that_raises_is_recorded_and_its_rows_stay_new(
    ws: Workspace,
    project: ProjectInfo,
    now: datetime,
    send: Callable[..., ingest.IngestReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send()
    with monkeypatch.context() as patch:

        def broken(*args: object, **options: object) -> None:
            raise RuntimeError("a fit went wrong")

        patch.setattr("core.learning.learner.advance", broken)
        with pytest.raises(RuntimeError, match="went wrong"):
            run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=1))
    failed = monitoring.cycles(ws, project.id, limit=1)[0][0]
    assert (failed.status, failed.outcome) == ("failed", "failed")
    with ws.database.read() as session:
        assert queries.champion_of(session, project.id) == 1
        assert due_work.due_projects(session, now) == []  # not again until something else comes
    report = run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=2))
    assert report is not None
    assert [p.n for p in monitoring.performance_history(ws, project.id)] == [BATCH]


def test_a_cycle_whose_process_died_is_closed_by_the_next(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    with ws.database.write() as session:
        session.add(Cycle(project_id=project.id, cause="schedule", status="running", started_at=now, seed=1))
    assert run_cycle(ws, project.id, cause="schedule", now=now + timedelta(minutes=1)) is None
    with ws.database.read() as session:
        row = session.scalars(select(Cycle).order_by(Cycle.id.desc())).first()
        assert row is not None
        assert row.status == "failed"
        assert row.error is not None


def test_a_file_with_one_class_then_another_goes_on(ws: Workspace, now: datetime) -> None:
    policy = policy_named("balanced", families=("logistic", "neighbours"), new_labels=100)
    made = projects.create_project(ws, "Grows", Origin(source="file"), by="test", now=now, policy=policy)
    ingest.ingest_frame(ws, made, stream(0, 200), origin="a", by="test", now=now, target="y")
    assert run_cycle(ws, made.id, cause="cli", now=now) is not None
    third = stream(1, 200).assign(y=lambda f: np.where(f["a"] > 1, 2, f["y"]))
    later = now + timedelta(hours=1)
    report = ingest.ingest_frame(ws, projects.project_by_id(ws, made.id), third, origin="b", by="test", now=later)
    assert [(p.code, p.example) for p in report.problems if p.column == "y"] == [("new_classes", "2")]
    assert run_cycle(ws, made.id, cause="cli", now=later) is not None
    assert run_cycle(ws, made.id, cause="cli", now=later, force=True) is not None
    stored = projects.project_by_id(ws, made.id)
    assert stored.schema is not None
    assert stored.schema.classes == (0, 1, 2)


def test_regression_is_a_task_like_any_other(ws: Workspace, now: datetime) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"])
    frame["y"] = 3 * frame["a"] - frame["b"] + rng.normal(scale=0.1, size=400)
    policy = policy_named("balanced", families=("ridge",), new_labels=BATCH)
    made = projects.create_project(
        ws, "Numbers", Origin(source="file", task="regression"), by="t", now=now, policy=policy
    )
    ingest.ingest_frame(ws, made, frame.iloc[:300], origin="a", by="t", now=now, target="y")
    run_cycle(ws, made.id, cause="cli", now=now)
    later = now + timedelta(hours=1)
    ingest.ingest_frame(ws, projects.project_by_id(ws, made.id), frame.iloc[300:], origin="b", by="t", now=later)
    run_cycle(ws, made.id, cause="cli", now=later)
    point = monitoring.performance_history(ws, made.id)[-1]
    assert point.scores["r2"].value is not None
    assert point.scores["r2"].value > 0.98


def test_a_deleted_project_takes_everything_along(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    projects.delete_project(ws, project, by="test", now=now)
    with ws.database.read() as session:
        for table in (Project, Cycle, ModelEvent):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    assert not (ws.batches.root / f"p{project.id}").exists()


def test_two_state_folders_in_one_process_keep_their_learners_apart(
    ws: Workspace, project: ProjectInfo, now: datetime, tmp_path: Path
) -> None:
    """Both projects have the same id and the same cycle numbers."""
    settings = Settings(CONTINUAL_HOME=tmp_path / "another")
    other = open_workspace(settings, migrate=True)
    policy = policy_named("balanced", families=("logistic", "neighbours"), new_labels=BATCH)
    made = projects.create_project(other, "Other", Origin(source="file"), by="test", now=now, policy=policy)
    assert made.id == project.id
    renamed = stream(0, 400).rename(columns={"a": "c", "b": "d"})
    ingest.ingest_frame(other, made, renamed, origin="warm-up", by="test", now=now, target="y")
    run_cycle(other, made.id, cause="cli", now=now)
    for workspace in (ws, other):
        report = run_cycle(workspace, project.id, cause="cli", now=now + timedelta(hours=1), force=True)
        assert report is not None
        assert report.status == "done"
    other.database.dispose()


@pytest.mark.slow
def test_the_drift_of_residuals_shows_a_changed_concept_where_features_do_not(ws: Workspace, now: datetime) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(900, 2)), columns=["a", "b"])
    frame["y"] = 3 * frame["a"] - frame["b"] + rng.normal(scale=0.1, size=900)
    frame.loc[700:, "y"] += 1.0
    policy = policy_named("balanced", families=("ridge",), new_labels=BATCH)
    made = projects.create_project(
        ws, "Numbers", Origin(source="file", task="regression"), by="t", now=now, policy=policy
    )
    for i, end in enumerate((300, 500, 700, 900)):
        at = now + timedelta(hours=i)
        rows = frame.iloc[max(end - 200, 0) if i else 0 : end].reset_index(drop=True)
        project = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(ws, project, rows, origin=f"batch {i}", by="t", now=at, target="y")
        run_cycle(ws, made.id, cause="cli", now=at)
    with ws.database.read() as session:
        stored = session.scalars(
            select(DriftRun.report).where(DriftRun.project_id == made.id).order_by(DriftRun.id)
        ).all()
    calm, moved = (from_document(DriftReport, document) for document in stored[-2:])
    assert calm.residual is not None and not calm.residual.drifted
    assert moved.residual is not None and moved.residual.drifted and moved.residual.kind == "residual"
    assert moved.drifted == ()


def test_the_clock_alone_starts_a_scheduled_race_within_its_budget(ws: Workspace, now: datetime) -> None:
    policy = policy_named(
        "balanced", families=("logistic",), triggers=("no_champion", "by_hand", "schedule"), schedule="0 3 * * *",
        races_per_day=1, min_rows=50, new_labels=50,
    )  # fmt: skip
    made = projects.create_project(ws, "Nightly", Origin(source="file"), by="t", now=now, policy=policy)
    ingest.ingest_frame(ws, made, stream(0, 400), origin="a", by="t", now=now, target="y")
    run_cycle(ws, made.id, cause="schedule", now=now)  # 12:00: the first model
    later = now + timedelta(hours=2)
    ingest.ingest_frame(ws, projects.project_by_id(ws, made.id), stream(400), origin="b", by="t", now=later)
    quiet = run_cycle(ws, made.id, cause="schedule", now=later)
    assert quiet is not None and quiet.decision == "nothing"
    night = now + timedelta(hours=15)
    with ws.database.read() as session:
        assert due_work.due_projects(session, night - timedelta(minutes=1)) == []
        assert due_work.due_projects(session, night) == [made.id]
    raced = run_cycle(ws, made.id, cause="schedule", now=night)
    assert raced is not None and raced.evidence is not None
    assert [f.trigger for f in raced.firings] == ["schedule"]
    assert (
        raced.evidence.races_last_day == 1
        and raced.decision == "alert"
        and "budget is used up" in sentence(raced.reason)
    )
    again = night + timedelta(days=1)
    raced = run_cycle(ws, made.id, cause="schedule", now=again)
    assert raced is not None and raced.decision == "retrain" and raced.evidence is not None
    assert raced.evidence.races_last_day == 0
    assert run_cycle(ws, made.id, cause="schedule", now=again + timedelta(hours=1)) is None, "nothing new, nothing due"


def test_a_changed_schedule_counts_at_once(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    policy = policy_named("balanced", families=("logistic",), triggers=("age",), max_age_s=600.0)
    projects.set_policy(ws, project, policy, by="t", now=now)
    with ws.database.read() as session:
        assert due_work.due_projects(session, now + timedelta(seconds=1)) == [project.id]


def test_a_nightly_file_beside_served_traffic_is_measured_and_learnt_from(ws: Workspace, now: datetime) -> None:
    """Predictions by day, yesterday's labelled rows with their times at night: none of them is a backfill."""
    policy = policy_named("balanced", families=("logistic",), new_labels=150)
    made = projects.create_project(ws, "Nightly", Origin(source="file"), by="t", now=now, policy=policy)

    def night(seed: int, day: int, *, turned: bool = False) -> pd.DataFrame:
        frame = stream(seed, 200)
        frame["t"] = pd.date_range(now + timedelta(days=day - 1), periods=200, freq="min")
        return frame.assign(y=1 - frame["y"]) if turned else frame

    ingest.ingest_frame(ws, made, night(0, 0), origin="0.csv", by="t", now=now, target="y", time_column="t")
    assert run_cycle(ws, made.id, cause="cli", now=now) is not None
    for day in (1, 2):
        at = now + timedelta(days=day)
        stored = projects.project_by_id(ws, made.id)
        asked = stream(10 + day, 60).drop(columns="y")
        file_answers.predict_file(ws, stored, asked.assign(a=asked["a"] + 5.0), now=at)
        report = ingest.ingest_frame(
            ws, stored, night(day, day, turned=True), origin=f"{day}.csv", by="t", now=at + timedelta(minutes=1)
        )
        assert not report.backfill
        reported = run_cycle(ws, made.id, cause="cli", now=at + timedelta(minutes=2))
        assert reported is not None
        assert reported.evidence is not None
        assert reported.evidence.score_n == 200
        assert reported.decision == "retrain"
    rows = [b.rows for b in stored_batches.list_batches(ws, made.id)[0]]
    assert sorted(rows) == [60, 60, 200, 200, 200]
    assert not any(b.backfill for b in stored_batches.list_batches(ws, made.id)[0])


def test_an_undone_batch_leaves_the_learners_counts_and_its_rows_set_aside(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., ingest.IngestReport]
) -> None:
    from core.storage import history, learners

    def learner() -> LearnerState:
        with ws.database.read() as session:
            path = queries.project_row(session, project.id).learner_path
        assert path is not None
        return learners.load(ws, path)

    sent = []
    for i in range(1, 6):
        sent.append(send(flipped=i >= 3))
        run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=i))
    before = learner()
    assert before.seen == 400 + 5 * BATCH
    assert before.change_start == pytest.approx(400 + 2 * BATCH, abs=20)
    gone = sent[0].batch.id  # of before the change
    stored_batches.undo_batch(ws, projects.project_by_id(ws, project.id), gone, by="test", now=now + timedelta(hours=6))
    stored_batches.undo_batch(
        ws, projects.project_by_id(ws, project.id), sent[4].batch.id, by="test", now=now + timedelta(hours=6)
    )
    for hour in (7, 8):  # they are taken out once
        send(flipped=True)
        run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=hour))
        after = learner()
        with ws.database.read() as session:
            row = queries.project_row(session, project.id)
            assert after.seen == row.labelled
        assert after.change_start == before.change_start - BATCH  # the same row as before
        kept = [*after.held_out, *(key for regime in after.regimes for key in regime.rows)]
        assert not {key // history.KEYS_PER_BATCH for key in kept} & {gone, sent[4].batch.id}
        assert len(after.tail) <= after.seen


def test_a_cycle_opens_the_history_once(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    whole = history.History.__init__

    def counted(self: history.History, *arguments: object) -> None:
        opened.append(1)
        whole(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(history.History, "__init__", counted)
    outcomes = set()
    for i in range(4):
        send(flipped=i >= 2)  # a quiet batch, a race, a change of concept and its answer
        opened.clear()
        report = run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=i + 1))
        assert report is not None
        outcomes.add(str(report.outcome))
        assert len(opened) == 1
    assert "promoted" in outcomes
