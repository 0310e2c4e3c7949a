"""Rows that no model can answer: they are set aside, and the loop goes on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pandas as pd
import pytest
from sqlalchemy import func, select

from core.cycle import cause_of, run_cycle
from core.errors import BadInput, ContinualError
from core.records import BatchSetAside, ProjectInfo
from core.services.incidents import notify
from core.services.ingestion import ingest, label_intake, stored_batches
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.serving import champion_cache, predicting
from core.storage.tables import Batch, Notice
from core.storage.workspace import Workspace
from tests.cycle.stream import BATCH, stream

FAR = 1e6  # of column a: what the models of these tests are made to refuse


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models answer no rows that hold a value as far as FAR."""
    real = predicting.predict

    def answer(served: champion_cache.Served, X: pd.DataFrame) -> predicting.Predicted:
        if (X["a"] >= FAR).any():
            raise BadInput("The model has no prediction: a is too great.")
        return real(served, X)

    monkeypatch.setattr("core.services.serving.predicting.predict", answer)


def poisoned(start: int) -> pd.DataFrame:
    frame = stream(start)
    frame.loc[5, "a"] = FAR
    return frame


@pytest.mark.usefixtures("refused")
def test_a_batch_that_cannot_be_scored_is_set_aside_and_the_loop_goes_on(
    ws: Workspace,
    project: ProjectInfo,
    now: datetime,
    send: Callable[..., ingest.IngestReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "channels", lambda ws: {"discord": object()})  # where it is looked up
    sound, odd = send(), send(poisoned(9000))
    report = run_cycle(ws, project.id, cause="schedule", force=True, now=now + timedelta(hours=2))
    assert report is not None
    assert report.status == "done"
    assert report.batch_ids == (sound.batch.id,)
    assert report.evidence is not None
    assert report.evidence.n_labelled == BATCH
    assert report.evidence.set_aside == (
        BatchSetAside(
            code="batch_not_scored", batch=odd.batch.number, cause="The model has no prediction: a is too great."
        ),
    )
    with ws.database.read() as session:
        notices = [n.payload["embeds"][0]["description"] for n in session.scalars(select(Notice))]
    assert len(notices) == 1
    assert f"Batch {odd.batch.number} is skipped" in notices[0] and "a is too great" in notices[0]
    *_, same = monitoring.replay_decision(ws, report.id)
    assert same

    send()  # it is not looked at again, and nothing is learnt from it
    later = run_cycle(ws, project.id, cause="schedule", force=True, now=now + timedelta(hours=3))
    assert later is not None and later.evidence is not None
    assert later.status == "done" and later.evidence.set_aside == ()
    with ws.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Notice)) == 1
        row = session.get_one(Batch, odd.batch.id)
        assert (row.scores_path, row.scored_by) == (None, 1)

    info = projects.project_by_id(ws, project.id)
    stored_batches.undo_batch(ws, info, odd.batch.id, by="test", now=now + timedelta(hours=3))
    send(stream(9000))  # the same rows, mended
    mended = run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=4))
    assert mended is not None and mended.evidence is not None
    assert (mended.evidence.n_labelled, mended.evidence.set_aside) == (BATCH, ())


@pytest.mark.usefixtures("refused")
def test_a_batch_set_aside_alone_has_an_audit_row_of_its_own(
    ws: Workspace, project: ProjectInfo, now: datetime, send: Callable[..., ingest.IngestReport]
) -> None:
    odd = send(poisoned(9000).drop(columns="y"))
    report = run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=1))
    assert report is not None and report.evidence is not None
    assert [entry.batch for entry in report.evidence.set_aside] == [odd.batch.number]
    assert run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=2)) is None
    # Labels that come for its rows are kept, and are no evidence.
    info = projects.project_by_id(ws, project.id)
    pairs = [(f"b{odd.batch.number}-{i}", 1) for i in range(20)]
    assert {r.status for r in label_intake.add_labels(ws, info, pairs, by="test", now=now)} == {"stored"}
    run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=3))
    assert monitoring.performance_history(ws, project.id) == []
    needs = monitoring.cycles(ws, project.id)[0]
    assert all(cycle.status == "done" for cycle in needs)


def test_a_model_that_answers_nothing_at_all_blames_no_batch(
    ws: Workspace,
    project: ProjectInfo,
    now: datetime,
    send: Callable[..., ingest.IngestReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = send()

    def broken(served: champion_cache.Served, X: pd.DataFrame) -> predicting.Predicted:
        raise ValueError(f"no such table in {ws.models_path}/v1.bin\nmore")

    with monkeypatch.context() as patched:
        patched.setattr("core.services.serving.predicting.predict", broken)
        with pytest.raises(ValueError, match="no such table"):
            run_cycle(ws, project.id, cause="schedule", now=now + timedelta(hours=1))
    reports, _ = monitoring.cycles(ws, project.id)
    assert (reports[0].status, reports[0].batch_ids) == ("failed", ())
    assert reports[0].error == "Reading the new rows failed: ValueError: no such table in a file."
    again = run_cycle(ws, project.id, cause="button", now=now + timedelta(hours=2))
    assert again is not None
    assert again.batch_ids == (sent.batch.id,)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BadInput("Give a number."), "Give a number."),
        (ContinualError("Ours."), "Ours."),
        (ValueError("Input y contains infinity\nor more"), "Measuring failed: ValueError: Input y contains infinity."),
        (KeyError("x"), "Measuring failed: KeyError: 'x'."),
        (RuntimeError(), "Measuring failed: RuntimeError."),
        (OSError("cannot open '/srv/data/models/a b.bin'"), "Measuring failed: OSError: cannot open 'a file b.bin'."),
        (OSError(r"C:\srv\data\x.bin is gone"), "Measuring failed: OSError: a file is gone."),
        (ValueError("a/b must be 1/2"), "Measuring failed: ValueError: a/b must be 1/2."),
        (ValueError("x" * 999), f"Measuring failed: ValueError: {'x' * 199}…"),
    ],
)
def test_a_cause_is_one_sentence_without_paths(error: Exception, said: str) -> None:
    assert cause_of(error, step="Measuring") == said
