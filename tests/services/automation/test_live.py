"""How far a live run is, and who does its work where no scheduler lives."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.services.automation import live, workers
from core.services.incidents import status
from core.services.projects import streams
from core.storage.workspace import Workspace

CHOSEN = streams.described("classes")


def test_a_run_is_reported_in_batches_after_the_warm_up(ws: Workspace, now: datetime) -> None:
    project = streams.create_stream_project(ws, CHOSEN, name="Calm", by="test", now=now)
    run = live.start_live(ws, project, by="test", now=now, batch_rows=400)
    assert (run.batches, run.total_batches, run.ended) == (0, 38, False)  # 15,000 rows, the last batch of fewer
    assert run.share == pytest.approx(1_000 / streams.ROWS)
    run, _ = live.store_next(ws, run.id, now=now)
    assert (run.batches, run.share) == (1, pytest.approx(1_400 / streams.ROWS))
    assert live.set_live_status(ws, run.id, "stopped", by="test", now=now).ended


def test_a_worker_is_started_only_where_no_scheduler_lives(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Workspace] = []
    monkeypatch.setattr(workers, "start_worker", started.append)
    workers.ensure_worker_runs(ws, now)
    workers.beat(ws, status.SCHEDULER, owner="test", now=now)
    workers.ensure_worker_runs(ws, now + timedelta(seconds=1))
    assert started == [ws]


def test_a_run_that_its_caller_advances_is_never_due_for_a_worker(ws: Workspace, now: datetime) -> None:
    project = streams.create_stream_project(ws, CHOSEN, name="By hand", by="test", now=now)
    run = live.start_live(ws, project, by="test", now=now, seconds_per_batch=0.0, by_clock=False)
    other = streams.create_stream_project(ws, CHOSEN, name="By the clock", by="test", now=now)
    played = live.start_live(ws, other, by="test", now=now)
    for _ in range(2):
        assert live.due_runs(ws, now + timedelta(minutes=1)) == [played.id]
        assert live.next_due_at(ws) == now
        _, stored = live.store_next(ws, run.id, now=now)
        live.schedule_next(ws, run.id, now)
        assert stored
