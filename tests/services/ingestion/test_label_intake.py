"""Labels in by row id: shown first where they change something, stored all or none, and taken back as they came."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from core import cli
from core.data.contract import schema_to_document
from core.errors import BadInput, Conflict, NeedsConsent, NotFound
from core.records import ProjectInfo
from core.services.ingestion import ingest, label_changes, label_files, label_intake, label_plans, stored_batches
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.history import History
from core.storage.tables import AuditEntry, ModelEvent, ModelRow
from core.storage.tables import Label as LabelRow
from core.storage.workspace import Workspace


def rows(n: int = 40, *, seed: int = 0) -> pd.DataFrame:
    """A frame with a number, a category and a class."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n), "site": rng.choice(["east", "west"], n)})
    return frame.assign(y=(frame["x"] > 0).map({True: "up", False: "down"}))


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """A project with 40 labelled rows."""
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    ingest.ingest_frame(ws, made, rows(), origin="first.csv", by="test", now=now, target="y")
    return projects.project_by_id(ws, made.id)


@pytest.fixture
def waiting(ws: Workspace, project: ProjectInfo, now: datetime) -> ProjectInfo:
    """That project with five rows more, b2-0 to b2-4, that have no label."""
    ingest.ingest_frame(ws, project, rows(5, seed=9).drop(columns="y"), origin="u.csv", by="test", now=now)
    return later(ws, project)


def later(ws: Workspace, project: ProjectInfo) -> ProjectInfo:
    return projects.project_by_id(ws, project.id)


def add(
    ws: Workspace, project: ProjectInfo, pairs: Sequence[tuple[str, Any]], now: datetime, *, replace: bool = False
) -> list[str]:
    """Statuses."""
    return [r.status for r in label_intake.add_labels(ws, project, pairs, by="ada", now=now, replace=replace)]


def crown(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    """Give the project a champion that knows its classes of now."""
    schema = later(ws, project).schema
    assert schema is not None
    with ws.database.write() as session:
        session.add(ModelEvent(project_id=project.id, version=1, event="promoted", at=now))
        session.add(
            ModelRow(
                project_id=project.id,
                version=1,
                family="logistic",
                source="race",
                path="p",
                sha256="0",
                created_at=now,
                schema=schema_to_document(schema),
            )
        )


def newest(ws: Workspace, project: ProjectInfo) -> list[Any]:
    """Labels of the last five rows, as they count now."""
    schema = later(ws, project).schema
    assert schema is not None
    return History(ws, project.id, schema).newest(5, labelled=False)[1].tolist()


def classes(ws: Workspace, project: ProjectInfo) -> tuple[Any, ...]:
    schema = later(ws, project).schema
    assert schema is not None
    return (schema.task, *schema.classes)


# --- what becomes of a label --------------------------------------------------------------------------------------


def test_labels_by_row_id_are_stored_unchanged_replaced_or_waiting(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    ingest.ingest_frame(ws, project, rows(5, seed=9).drop(columns="y"), origin="u.csv", by="test", now=now)
    assert stored_batches.labels_due(ws, project.id) == 5

    def add(row_id: str, value: object) -> str:
        pairs = [(row_id, value)]
        return label_intake.add_labels(ws, later(ws, project), pairs, by="test", now=now, replace=True)[0].status

    assert add("b2-0", "up") == "stored"
    assert add("b2-0", "up") == "unchanged"
    assert add("b2-0", "down") == "replaced"
    assert add("zz", "down") == "waiting"
    assert stored_batches.labels_due(ws, project.id) == 4
    stored = later(ws, project)
    _, y, _ = History(ws, project.id, stored.schema).newest(5, labelled=False)  # type: ignore[arg-type]
    assert y[0] == "down"
    assert [v is None for v in y] == [False, True, True, True, True]


def test_a_waiting_label_meets_its_row_when_that_comes(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Ids", Origin(source="file"), by="test", now=now)
    frame = rows(10).assign(key=[f"r{i}" for i in range(10)])
    ingest.ingest_frame(ws, made, frame, origin="a.csv", by="test", now=now, target="y", id_column="key")
    label_intake.add_labels(ws, later(ws, made), [("r10", "up")], by="test", now=now)
    new = rows(2, seed=3).drop(columns="y").assign(key=["r10", "r11"])
    report = ingest.ingest_frame(ws, later(ws, made), new, origin="b.csv", by="test", now=now)
    assert report.labelled == 1
    assert stored_batches.labels_due(ws, made.id) == 1


@pytest.mark.parametrize("value", [None, float("nan"), [1], {"a": 1}, True, ""])
def test_a_label_that_is_no_class_is_refused_by_its_field(
    ws: Workspace, project: ProjectInfo, now: datetime, value: object
) -> None:
    with pytest.raises(BadInput, match=r"labels\[1\]"):
        label_intake.add_labels(ws, project, [("b1-0", "up"), ("b1-1", value)], by="test", now=now)
    with ws.database.read() as session:
        from core.storage import queries

        assert not queries.has_labels(session, project.id)


def test_a_labels_file_without_its_columns_is_refused(project: ProjectInfo) -> None:
    def read(content: bytes) -> list[tuple[str, object]]:
        return label_files.read_labels(content, name="labels.csv", max_bytes=1000, project=project).pairs

    with pytest.raises(BadInput, match="row_id"):
        read(b"a,b\n1,2\n")
    with pytest.raises(BadInput, match="line 3"):
        read(b"row_id,label\n1,2\n3\n")
    assert read(b"row_id,label\n007,up\n") == [("007", "up")]


# --- a yes is needed ----------------------------------------------------------------------------------------------


def test_labels_that_replace_others_are_stored_only_after_a_yes(
    ws: Workspace, waiting: ProjectInfo, now: datetime
) -> None:
    before = rows()["y"].tolist()
    pairs = [("b2-0", "up"), ("b1-0", "down" if before[0] == "up" else "up"), ("b1-1", before[1])]
    plan = label_intake.plan_labels(ws, waiting, pairs)
    assert (plan.stored, plan.replaced, plan.unchanged, plan.waiting) == (1, 1, 1, 0)
    (found,) = plan.replacements
    assert (found.place, found.row_id, found.before, found.after) == (1, "b1-0", before[0], pairs[1][1])
    with pytest.raises(NeedsConsent, match="would be replaced") as refused:
        add(ws, waiting, pairs, now)
    assert refused.value.plan == plan
    assert [p.field for p in refused.value.problems] == ["labels[1].label"]
    assert newest(ws, waiting) == [None] * 5
    assert add(ws, waiting, pairs, now, replace=True) == ["stored", "replaced", "unchanged"]
    assert add(ws, waiting, pairs, now) == ["unchanged"] * 3
    assert label_intake.plan_labels(ws, waiting, pairs).needs_consent is False


def test_a_new_class_needs_a_yes_once_a_champion_serves_that_does_not_know_it(
    ws: Workspace, waiting: ProjectInfo, now: datetime
) -> None:
    assert add(ws, waiting, [("b2-0", "still")], now) == ["stored"]
    assert classes(ws, waiting) == ("multiclass", "down", "still", "up")
    crown(ws, waiting, now)
    assert add(ws, waiting, [("b2-1", "still")], now) == ["stored"]
    with pytest.raises(NeedsConsent, match=r"1 class is new: 'odd' \(2 labels, e.g. row 'b2-2'\)") as refused:
        add(ws, waiting, [("b2-2", "odd"), ("b2-3", "odd")], now)
    assert [(n.label, n.count, n.row_id) for n in refused.value.plan.new_classes] == [("odd", 2, "b2-2")]
    assert "odd" not in classes(ws, waiting)
    assert add(ws, waiting, [("b2-2", "odd")], now, replace=True) == ["stored"]


def test_labels_that_come_while_others_are_looked_at_are_seen(
    ws: Workspace, waiting: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = label_plans.check_labels

    def slow(*args: Any) -> Any:
        found = look(*args)
        monkeypatch.setattr(label_intake, "check_labels", look)
        add(ws, waiting, [("b2-0", "down")], now)
        return found

    monkeypatch.setattr(label_intake, "check_labels", slow)
    with pytest.raises(NeedsConsent):
        add(ws, waiting, [("b2-0", "up"), ("b2-1", "up")], now)
    assert newest(ws, waiting) == ["down", None, None, None, None]
    assert later(ws, waiting).labelled == 41


@pytest.mark.parametrize("meanwhile", ["a label of another row", "another batch"])
def test_what_is_stored_meanwhile_of_other_rows_is_not_looked_at_again(
    ws: Workspace, waiting: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    look, looked = label_plans.check_labels, 0

    def slow(*args: Any) -> Any:
        nonlocal looked
        looked += 1
        found = look(*args)
        if looked == 1 and meanwhile == "another batch":
            ingest.ingest_frame(ws, later(ws, waiting), rows(5, seed=4), origin="v.csv", by="test", now=now)
        elif looked == 1:
            label_intake.add_labels(ws, waiting, [("b2-3", "down")], by="ada", now=now)
            looked -= 1
        return found

    monkeypatch.setattr(label_intake, "check_labels", slow)
    assert add(ws, waiting, [("b2-0", "up"), ("b2-1", "up")], now) == ["stored", "stored"]
    assert looked == 1
    assert add(ws, waiting, [("b2-0", "up"), ("b2-1", "up")], now) == ["unchanged", "unchanged"]


def test_a_row_that_arrives_while_its_label_is_looked_at_is_counted(
    ws: Workspace, waiting: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = label_plans.check_labels

    def slow(*args: Any) -> Any:
        found = look(*args)
        monkeypatch.setattr(label_intake, "check_labels", look)
        ingest.ingest_frame(ws, later(ws, waiting), rows(5, seed=4).drop(columns="y"), origin="v.csv", by="t", now=now)
        return found

    monkeypatch.setattr(label_intake, "check_labels", slow)
    assert add(ws, waiting, [("b3-0", "up"), ("b9-0", "up")], now) == ["stored", "waiting"]
    assert later(ws, waiting).labelled == 41


def test_more_classes_than_a_project_can_have_are_refused_and_known_ones_never(
    ws: Workspace, waiting: ProjectInfo, now: datetime
) -> None:
    add(ws, waiting, [(f"w{i}", f"c{i}") for i in range(998)], now)
    assert len(classes(ws, waiting)) == 1 + 1_000
    with pytest.raises(BadInput, match="1 new classes"):
        add(ws, waiting, [("b2-0", "one more")], now, replace=True)
    assert add(ws, waiting, [("b2-0", "c7")], now) == ["stored"]


@pytest.mark.parametrize("text", ["NA", "nan", "null"])
def test_what_is_missing_in_a_file_is_no_class(ws: Workspace, waiting: ProjectInfo, now: datetime, text: str) -> None:
    taken = label_intake.add_label_file(
        ws, waiting, f"row_id,label\nb2-0,{text}\nb2-1,up\n".encode(), name="l.csv", by="ada", now=now
    )
    assert (taken.plan.stored, [p.code for p in taken.problems]) == (1, ["no_label"])
    assert classes(ws, waiting) == ("binary", "down", "up")
    with pytest.raises(BadInput):
        add(ws, waiting, [("b2-2", text)], now)


# --- taking back --------------------------------------------------------------------------------------------------


def test_an_undo_brings_back_the_labels_before_and_takes_the_classes_away(
    ws: Workspace, waiting: ProjectInfo, now: datetime
) -> None:
    add(ws, waiting, [("b2-0", "up"), ("b2-1", "down")], now)
    assert label_changes.newest_changes(ws, waiting) == []
    pairs = [("b2-0", "odd"), ("b2-2", "odd"), ("b1-0", "odd")]
    assert add(ws, waiting, pairs, now, replace=True) == ["replaced", "stored", "replaced"]
    assert (later(ws, waiting).labelled, classes(ws, waiting)) == (43, ("multiclass", "down", "odd", "up"))
    change = label_changes.newest_changes(ws, waiting)[0]
    assert (change.by, change.labels, change.replaced, change.new_classes, change.undone) == (
        "ada", 3, 2, ("odd",), False
    )  # fmt: skip
    undone = label_changes.undo_labels(ws, waiting, change.id, by="bo", now=now)
    assert undone.undone and label_changes.newest_changes(ws, waiting)[0].undone
    assert newest(ws, waiting) == ["up", "down", None, None, None]
    assert (later(ws, waiting).labelled, classes(ws, waiting)) == (42, ("binary", "down", "up"))
    schema = later(ws, waiting).schema
    assert schema is not None
    _, y, _ = History(ws, waiting.id, schema).newest(None, labelled=False)
    assert y[:40].tolist() == rows()["y"].tolist()
    with ws.database.read() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.what.like("%label%")).order_by(AuditEntry.id)
        ).all()
    assert [(e.who, e.what) for e in entries] == [("ada", "labels replaced"), ("bo", "labels undone")]
    with pytest.raises(Conflict, match="already"):
        label_changes.undo_labels(ws, waiting, change.id, by="bo", now=now)
    with pytest.raises(NotFound, match="no change of labels with id 999"):
        label_changes.undo_labels(ws, waiting, 999, by="bo", now=now)


def test_an_undo_leaves_what_was_stored_after_it_and_the_classes_that_something_holds(
    ws: Workspace, waiting: ProjectInfo, now: datetime
) -> None:
    add(ws, waiting, [("b2-0", "odd"), ("b2-1", "even"), ("b2-2", "new")], now)
    add(ws, waiting, [("b2-0", "up"), ("b2-3", "odd")], now, replace=True)
    crown(ws, waiting, now)
    add(ws, waiting, [("b2-4", "last")], now, replace=True)
    last, replaced, first = label_changes.newest_changes(ws, waiting)
    label_changes.undo_labels(ws, waiting, first.id, by="bo", now=now)
    assert newest(ws, waiting) == ["up", None, None, "odd", "last"]
    assert later(ws, waiting).labelled == 43
    assert classes(ws, waiting)[1:] == ("down", "even", "last", "new", "odd", "up")  # the champion knows them
    label_changes.undo_labels(ws, waiting, last.id, by="bo", now=now)
    assert "last" not in classes(ws, waiting)
    label_changes.undo_labels(ws, waiting, replaced.id, by="bo", now=now)
    assert newest(ws, waiting) == [None] * 5
    assert later(ws, waiting).labelled == 40
    with ws.database.read() as session:
        assert all(session.scalars(select(LabelRow.undone_at)))
    assert add(ws, waiting, [("b2-0", "down")], now) == ["stored"]


def test_the_command_line_shows_the_plan_stores_after_a_yes_and_takes_back(
    ws: Workspace,
    waiting: ProjectInfo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("core.cli.data.open_state", lambda: ws)
    file = tmp_path / "l.csv"
    value = "down" if rows()["y"][0] == "up" else "up"
    file.write_text(f"row_id,label\nb2-0,up\nb1-0,{value}\n")
    assert cli.main(["labels", str(file), "--project", "demo"]) == 1
    shown = capsys.readouterr().out
    assert "1 stored, 0 unchanged, 1 replaced, 0 waiting" in shown and "--yes" in shown and "'b1-0'" in shown
    assert newest(ws, waiting) == [None] * 5
    assert cli.main(["labels", str(file), "--project", "demo", "--json"]) == 1
    assert '"needs_consent": true' in capsys.readouterr().out
    assert cli.main(["labels", str(file), "--project", "demo", "--yes"]) == 0
    change = label_changes.newest_changes(ws, waiting)[0]
    assert f"labels --undo {change.id} --project demo" in capsys.readouterr().out
    assert cli.main(["labels", "--changes", "--project", "demo", "--json"]) == 0
    assert f'"id": {change.id}' in capsys.readouterr().out
    assert cli.main(["labels", "--undo", str(change.id), "--project", "demo"]) == 0
    assert newest(ws, waiting) == [None] * 5
    assert cli.main(["labels", "--project", "demo"]) == 1
    assert "expected a file of labels" in capsys.readouterr().err


@pytest.mark.parametrize("times", [1, 2])
def test_a_class_of_a_batch_that_is_stored_during_an_undo_stays(
    ws: Workspace, waiting: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    add(ws, waiting, [("b2-0", "odd"), ("b2-1", "even")], now)
    look = label_changes._look
    stored = 0

    def slow(*args: Any) -> Any:
        nonlocal stored
        seen = look(*args)
        if stored < times:  # would wait for the undo itself, if that held the database
            stored += 1
            frame = rows(5, seed=stored).assign(y="odd" if stored == times else "up")
            ingest.ingest_frame(ws, later(ws, waiting), frame, origin=f"{stored}.csv", by="t", now=now)
        return seen

    monkeypatch.setattr(label_changes, "_look", slow)
    change = label_changes.newest_changes(ws, waiting)[0]
    assert label_changes.undo_labels(ws, waiting, change.id, by="bo", now=now).undone
    assert classes(ws, waiting)[1:] == ("down", "odd", "up")
    assert later(ws, waiting).labelled == 40 + 5 * times
