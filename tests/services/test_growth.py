"""A step of a project's life asks and reads as much after many batches as after few."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import event

from core.records import ProjectInfo
from core.services.ingestion import ingest, label_intake, label_plans
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import history, queries
from core.storage.tables import Batch
from core.storage.workspace import Workspace


def rows(name: str, n: int = 20) -> pd.DataFrame:
    """Rows with ids of their own, half of them labelled."""
    x = np.random.default_rng(0).normal(size=n)
    y = np.where(x > 0, "up", "down").astype(object)
    y[n // 2 :] = None
    return pd.DataFrame({"key": [f"{name}-{i}" for i in range(n)], "x": x, "y": y})


@pytest.fixture
def made(ws: Workspace, now: datetime) -> int:
    return projects.create_project(ws, "Grown", Origin(source="file"), by="t", now=now).id


def send(ws: Workspace, made: int, frame: pd.DataFrame, now: datetime) -> None:
    project = projects.project_by_id(ws, made)
    named = {} if project.schema else {"target": "y", "id_column": "key"}
    ingest.ingest_frame(ws, project, frame, origin="f", by="t", now=now, **named)


def asked(ws: Workspace, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> tuple[list[str], int]:
    """The statements and the number of files that something needs."""
    statements: list[str] = []
    files: list[str] = []
    read = type(ws.batches).read_frame

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    with monkeypatch.context() as patch:
        patch.setattr(type(ws.batches), "read_frame", lambda self, *a, **k: files.append(a[0]) or read(self, *a, **k))
        event.listen(ws.database.engine, "before_cursor_execute", note)
        work()
        event.remove(ws.database.engine, "before_cursor_execute", note)
    return statements, len(files)


def test_rows_and_a_label_need_the_same_statements_and_files_after_many_batches(
    ws: Workspace, made: int, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def project() -> ProjectInfo:
        return projects.project_by_id(ws, made)

    def steps(name: str, place: int) -> tuple[tuple[list[str], int], tuple[list[str], int]]:
        frame = rows(name)
        return (
            asked(ws, monkeypatch, lambda: send(ws, made, frame, now)),
            asked(
                ws,
                monkeypatch,
                lambda: label_intake.add_labels(ws, project(), [(f"a0-{place}", "up")], by="t", now=now),
            ),
        )

    for i in range(3):
        send(ws, made, rows(f"a{i}"), now)
    label_intake.add_labels(ws, project(), [("a1-15", "up")], by="t", now=now)
    young = steps("young", 12)
    for i in range(12):
        send(ws, made, rows(f"b{i}"), now)
    assert steps("old", 13) == young
    assert [files for _, files in young] == [0, 2]


def test_all_labels_or_manifests_are_never_walked_for_a_few(ws: Workspace, made: int, now: datetime) -> None:
    send(ws, made, rows("a"), now)
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    with ws.database.read() as session:

        def plan(work: Callable[[], object]) -> str:
            event.listen(ws.database.engine, "before_cursor_execute", note)
            work()
            event.remove(ws.database.engine, "before_cursor_execute", note)
            sql, parameters = next(s for s in statements if s[0].startswith("SELECT"))
            statements.clear()
            explained = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)  # type: ignore[arg-type]
            return "; ".join(row.detail for row in explained)

        looked_up = plan(lambda: queries.labels_by_row(session, made, ["a-12", "a-13"]))
        assert looked_up == "SEARCH labels USING INDEX ix_labels_project_row (project_id=? AND row_id=?)"
        assert "COVERING INDEX ix_batches_standing" in plan(lambda: queries.newest_start(session, made, now=now))
        assert "COVERING INDEX ix_batches_standing" in plan(lambda: label_plans.plan_state(session, made))


@pytest.mark.parametrize("at_once", [1, 100, 2**20])  # bytes of hashes: those of a batch, of some, of all
def test_batches_that_hold_rows_come_in_stream_order_whatever_others_are_left_out(
    ws: Workspace, made: int, now: datetime, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("core.storage.queries.batches.HASHES_AT_ONCE", at_once)
    for i in range(4):
        send(ws, made, rows(f"a{i}"), now)
    with ws.database.write() as session:
        for batch, day in zip(session.query(Batch).order_by(Batch.id), (10, 5, 7, 20), strict=True):
            batch.last_at, batch.backfill = now.replace(day=day), day == 7
        session.flush()
        every = [b.id for b in queries.stored_batches(session, made)]
    assert every == [4, 2, 1, 3]  # the backfill stands before the first that ends later
    found = history.locate(ws, made, {"a1-0", "a2-3", "a2-1", "nowhere", "b2-1"})
    assert [(batch.id, at) for batch, at in found] == [(2, [0]), (3, [1, 3])]
