"""Rows in: whole or not at all, with clear words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import delete

from core.errors import BadInput, Conflict, StorageError
from core.records import ProjectInfo
from core.services.ingestion import generated, ingest, stored_batches
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.history import History
from core.storage.tables import Batch, BatchIds, Project
from core.storage.workspace import Workspace


def rows(n: int = 40, *, seed: int = 0, labelled: bool = True) -> pd.DataFrame:
    """A frame with a number, a category and a class."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n), "site": rng.choice(["east", "west"], n)})
    if labelled:
        frame["y"] = (frame["x"] > 0).map({True: "up", False: "down"})
    return frame


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """A project with 40 labelled rows."""
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    ingest.ingest_frame(ws, made, rows(), origin="first.csv", by="test", now=now, target="y")
    return projects.project_by_id(ws, made.id)


def later(ws: Workspace, project: ProjectInfo) -> ProjectInfo:
    return projects.project_by_id(ws, project.id)


def test_the_first_batch_fixes_the_schema_and_is_read_back_as_it_was(ws: Workspace, project: ProjectInfo) -> None:
    assert project.schema is not None
    assert project.schema.task == "binary"
    assert project.schema.classes == ("down", "up")
    table, y, used = History(ws, project.id, project.schema).newest(None)
    given = rows()
    assert np.array_equal(table["x"], given["x"])
    assert table["site"].tolist() == given["site"].tolist()
    assert y.tolist() == given["y"].tolist()
    assert len(used) == 1
    assert (project.rows, project.labelled) == (40, 40)


def test_whole_number_classes_stay_whole_numbers(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Numbers", Origin(source="file"), by="test", now=now)
    frame = rows().assign(y=lambda f: (f["x"] > 0).astype(int) + 3)
    ingest.ingest_frame(ws, made, frame, origin="n.csv", by="test", now=now, target="y")
    stored = later(ws, made)
    assert stored.schema is not None
    _, y, _ = History(ws, made.id, stored.schema).newest(None)
    assert {type(v) for v in y} == {int}
    assert y.tolist() == frame["y"].tolist()


def test_a_later_batch_with_a_new_column_keeps_it_unused_and_says_so(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    report = ingest.ingest_frame(
        ws, project, rows(seed=1).assign(extra=1.5), origin="second.csv", by="test", now=now + timedelta(hours=1)
    )
    assert [(p.code, p.column) for p in report.problems] == [("new_column", "extra")]
    assert later(ws, project).schema == project.schema
    batch = History(ws, project.id, project.schema).batches[0]  # type: ignore[arg-type]
    assert "extra" in ws.batches.read_frame(batch.path, sha256=batch.sha256).columns


def test_a_later_batch_without_a_feature_is_refused_by_name(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    with pytest.raises(BadInput, match="site"):
        ingest.ingest_frame(ws, project, rows(seed=1).drop(columns="site"), origin="b.csv", by="test", now=now)
    assert later(ws, project).rows == 40


def test_the_same_rows_twice_are_refused(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    with pytest.raises(Conflict, match=r"batch 1 \(first.csv\)"):
        ingest.ingest_frame(ws, project, rows(), origin="again.csv", by="test", now=now + timedelta(hours=1))


def test_a_known_row_id_is_refused(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Ids", Origin(source="file"), by="test", now=now)
    frame = rows(10).assign(key=[f"r{i}" for i in range(10)])
    ingest.ingest_frame(ws, made, frame, origin="a.csv", by="test", now=now, target="y", id_column="key")
    again = rows(10, seed=5).assign(key=[f"r{i}" for i in range(5, 15)])
    with pytest.raises(Conflict, match="5 row ids"):
        ingest.ingest_frame(ws, later(ws, made), again, origin="b.csv", by="test", now=now)


def test_a_backfill_keeps_its_instants_and_never_moves_the_clock(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Times", Origin(source="file"), by="test", now=now)
    recent = rows(10).assign(t=pd.date_range("2026-02-01", periods=10, freq="h", tz="UTC"))
    ingest.ingest_frame(ws, made, recent, origin="a.csv", by="test", now=now, target="y", time_column="t")
    clock = later(ws, made).clock_at
    old = rows(10, seed=2).assign(t=pd.date_range("2025-01-01", periods=10, freq="h", tz="UTC"))
    report = ingest.ingest_frame(ws, later(ws, made), old, origin="b.csv", by="test", now=now)
    assert report.backfill
    assert report.batch.last_at == datetime(2025, 1, 1, 9, tzinfo=UTC)
    assert later(ws, made).clock_at == clock == datetime(2026, 2, 1, 9, tzinfo=UTC)
    stored = later(ws, made)
    table, _, _ = History(ws, made.id, stored.schema).newest(None)  # type: ignore[arg-type]
    assert table["_time"].is_monotonic_increasing


def timed(n: int, begins: str, seed: int = 0) -> pd.DataFrame:
    return rows(n, seed=seed).assign(t=pd.date_range(begins, periods=n, freq="min", tz="UTC"))


def test_batches_follow_one_another_as_they_arrive(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Nightly", Origin(source="file"), by="test", now=now)
    ingest.ingest_frame(ws, made, timed(10, "2026-01-05"), origin="a", by="t", now=now, target="y", time_column="t")
    untimed = ingest.ingest_frame(ws, later(ws, made), rows(10, seed=1), origin="b", by="t", now=now)
    nightly = ingest.ingest_frame(ws, later(ws, made), timed(10, "2026-01-06", 2), origin="c", by="t", now=now)
    overlaps = ingest.ingest_frame(ws, later(ws, made), timed(10, "2026-01-05 23:55", 3), origin="d", by="t", now=now)
    past = ingest.ingest_frame(ws, later(ws, made), timed(10, "2026-01-04", 4), origin="e", by="t", now=now)
    said = ingest.ingest_frame(ws, later(ws, made), rows(10, seed=5), origin="f", by="t", now=now, backfill=True)
    earlier = ingest.ingest_frame(
        ws, later(ws, made), rows(10, seed=6), origin="g", by="t", now=now - timedelta(hours=2)
    )  # a clock that went back
    reports = (untimed, nightly, overlaps, past, said, earlier)
    assert [r.backfill for r in reports] == [False, False, False, True, True, False]
    schema = later(ws, made).schema
    assert schema is not None
    in_order = [b.origin for b in History(ws, made.id, schema).batches[::-1]]
    assert [o for o in in_order if o != "f"] == ["e", "a", "b", "c", "d", "g"]


def test_a_fast_clock_of_one_batch_does_not_make_the_next_ones_late(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Fast", Origin(source="file"), by="test", now=now)
    ahead = rows(10).assign(t=[now + timedelta(minutes=50)] * 10)
    ingest.ingest_frame(ws, made, ahead, origin="a", by="t", now=now, target="y", time_column="t")
    right = rows(10, seed=1).assign(t=[now + timedelta(minutes=1)] * 10)
    report = ingest.ingest_frame(ws, later(ws, made), right, origin="b", by="t", now=now + timedelta(minutes=1))
    assert not report.backfill
    late = rows(10, seed=2).assign(t=[now + timedelta(hours=2)] * 10)
    with pytest.raises(BadInput, match="rows from the future"):
        ingest.ingest_frame(ws, later(ws, made), late, origin="c", by="t", now=now)


def test_undo_judges_the_other_batches_anew(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Again", Origin(source="file"), by="test", now=now)
    ingest.ingest_frame(ws, made, timed(10, "2026-01-05"), origin="a", by="t", now=now, target="y", time_column="t")
    wrong = ingest.ingest_frame(ws, later(ws, made), timed(10, "2026-01-20", 1), origin="b", by="t", now=now)
    day = ingest.ingest_frame(ws, later(ws, made), timed(10, "2026-01-06", 2), origin="c", by="t", now=now)
    assert day.backfill
    with ws.database.write() as session:
        session.get_one(Project, made.id).batch_watermark = day.batch.id
    stored_batches.undo_batch(ws, later(ws, made), wrong.batch.id, by="t", now=now)
    with ws.database.read() as session:
        again = session.get_one(Batch, day.batch.id)
        assert (again.backfill, again.pending) == (False, True)


def test_the_same_rows_sent_twice_at_once_are_stored_once(
    ws: Workspace, project: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call looks before the first has committed."""
    frame, keyed = rows(10, seed=7), rows(10, seed=8).assign(_id=[f"r{i}" for i in range(10)])
    look, missed = ingest.refuse_seen, []

    def between(ws: Workspace, project: ProjectInfo, digest: str, ids: list[str] | None) -> int:
        known = look(ws, project, digest, ids)
        if not missed:
            missed.append(1)
            sent = frame if ids is None else keyed.iloc[:5].assign(x=0.5)
            ingest.ingest_frame(ws, project, sent, origin="first", by="t", now=now)
        return known

    monkeypatch.setattr(ingest, "refuse_seen", between)
    with pytest.raises(Conflict, match="already stored"):
        ingest.ingest_frame(ws, project, frame, origin="second", by="t", now=now)
    missed.clear()
    with pytest.raises(Conflict, match="5 row ids are already stored"):
        ingest.ingest_frame(ws, later(ws, project), keyed, origin="second", by="t", now=now)
    assert later(ws, project).rows == 40 + 10 + 5


def test_undo_takes_the_rows_out_and_keeps_the_file(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    report = ingest.ingest_frame(ws, project, rows(20, seed=4), origin="oops.csv", by="test", now=now)
    stored_batches.undo_batch(ws, later(ws, project), report.batch.id, by="test", now=now)
    assert (later(ws, project).rows, later(ws, project).labelled) == (40, 40)
    infos, total = stored_batches.list_batches(ws, project.id)
    assert total == 2
    assert [b.undone for b in infos] == [True, False]
    with pytest.raises(Conflict, match="undone"):
        stored_batches.undo_batch(ws, later(ws, project), report.batch.id, by="test", now=now)
    assert ingest.ingest_frame(ws, later(ws, project), rows(20, seed=4), origin="ok.csv", by="t", now=now).rows == 20


def test_a_full_disk_stores_nothing(
    ws: Workspace, project: ProjectInfo, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.storage.batches.os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        ingest.ingest_frame(ws, project, rows(seed=1), origin="b.csv", by="test", now=now)
    assert later(ws, project).rows == 40
    assert len(list(ws.batches.root.rglob("*"))) == 2  # the folder and the first batch


def test_generated_rows_only_go_where_the_generator_made_the_project(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    with pytest.raises(Conflict, match="generator"):
        generated.generate(ws, project, rows=10, by="test", now=now)
    made = projects.create_project(ws, "Generated", Origin(source="generator"), by="test", now=now)
    first = generated.generate(ws, made, rows=100, seed=1, by="test", now=now)
    second = generated.generate(ws, later(ws, made), rows=100, by="test", now=now)
    assert (first.rows, second.rows) == (100, 100)
    with pytest.raises(BadInput, match="features"):
        generated.generate(ws, later(ws, made), rows=10, features=5, by="test", now=now)


def test_row_ids_are_found_without_reading_what_cannot_hold_them(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = projects.create_project(ws, "Many", Origin(source="file"), by="t", now=now)
    for i in range(4):
        frame = rows(20, seed=i).assign(key=[f"r{i}-{k}" for k in range(20)])
        options = {"target": "y", "id_column": "key"} if i == 0 else {}
        ingest.ingest_frame(ws, later(ws, made), frame, origin=f"{i}", by="t", now=now, **options)
    with ws.database.write() as session:
        session.execute(delete(BatchIds).where(BatchIds.batch_id == 2))  # as an earlier version left it
    read, asked = ws.batches.read_frame, []
    monkeypatch.setattr(type(ws.batches), "read_frame", lambda self, *a, **k: asked.append(a[0]) or read(*a, **k))
    schema = later(ws, made).schema
    assert schema is not None
    reader = History(ws, made.id, schema)
    assert reader.find({"r2-3", "r2-1", "r1-0", "nowhere"}) == {3: [1, 3], 2: [0]}
    assert len(asked) == 3  # batch 2 once more, because its hashes were not there
    asked.clear()
    assert reader.find({"nowhere", "b1-3"}) == {}
    assert asked == []


def test_made_ids_are_found_by_what_they_say(ws: Workspace, project: ProjectInfo) -> None:
    assert project.schema is not None
    reader = History(ws, project.id, project.schema)
    assert reader.find({"b1-3", "b1-0", "b1-40", "b2-0", "b1-x"}) == {1: [0, 3]}
