"""A cycle is overtaken while it runs: by a promotion, a policy or another cycle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.cycle import run, run_cycle
from core.cycle.lease import hold_lease
from core.errors import Busy
from core.learning.policy import policy_named
from core.records import ProjectInfo
from core.services.ingestion import ingest
from core.services.models import lifecycle
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import registry
from core.storage.tables import Cycle, Lease, PerformanceRun, Project
from core.storage.workspace import Workspace
from tests.cycle.stream import stream


def grown_project(ws: Workspace, now: datetime) -> ProjectInfo:
    """A project with two versions, the second of which serves, and new labelled rows."""
    policy = policy_named("balanced", families=("logistic",), new_labels=100)
    made = projects.create_project(ws, "Raced", Origin(source="file"), by="t", now=now, policy=policy)
    for i in range(2):
        stored = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(ws, stored, stream(i, 200), origin=f"{i}", by="t", now=now, target="y")
        run_cycle(ws, made.id, cause="cli", now=now, force=True)
    ingest.ingest_frame(ws, projects.project_by_id(ws, made.id), stream(2, 200), origin="2", by="t", now=now)
    return projects.project_by_id(ws, made.id)


def while_it_runs(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something once, just before a cycle closes."""
    close, done = run.close_cycle, []

    def closing(*args: object, **options: object) -> object:
        if not done:
            done.append(1)
            act()
        return close(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "close_cycle", closing)


def test_a_promotion_by_hand_is_not_overwritten_by_the_cycle_under_way(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = grown_project(ws, now)
    assert project.champion is not None
    with ws.database.read() as session:
        other = next(v.version for v in registry.list_versions(session, project.id) if v.version != project.champion)
    while_it_runs(monkeypatch, lambda: lifecycle.promote(ws, project, other, reason="by hand", by="dora", now=now))
    report = run_cycle(ws, project.id, cause="cli", now=now, force=True)
    assert report is not None
    cycles, _ = monitoring.cycles(ws, project.id)
    assert [c.status for c in cycles[:2]] == ["done", "failed"]
    assert "champion" in (cycles[1].error or "")
    assert report.champion_before == other


def test_a_policy_that_is_saved_meanwhile_is_the_one_that_decides(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = grown_project(ws, now)
    never = policy_named("never")
    while_it_runs(monkeypatch, lambda: projects.set_policy(ws, project, never, by="dora", now=now) and None)
    report = run_cycle(ws, project.id, cause="cli", now=now)
    assert report is not None
    assert report.decision in ("nothing", "alert")
    assert projects.project_by_id(ws, project.id).policy == never


def test_a_cycle_that_lost_its_lease_keeps_nothing(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped for minutes goes on when another has turned the loop."""
    project = grown_project(ws, now)
    before = projects.project_by_id(ws, project.id)

    def another() -> None:
        with ws.database.write() as session:
            session.get_one(Lease, f"project:{project.id}").expires_at = datetime.now(UTC) - timedelta(minutes=2)
        assert run_cycle(ws, project.id, cause="cli", now=now, force=True) is not None

    while_it_runs(monkeypatch, another)
    with pytest.raises(Busy, match="stood still"):
        run_cycle(ws, project.id, cause="cli", now=now, force=True)
    with ws.database.read() as session:
        rows = session.scalars(select(Cycle).where(Cycle.project_id == project.id).order_by(Cycle.id.desc())).all()
        measured = session.scalar(
            select(func.count()).select_from(PerformanceRun).where(PerformanceRun.cycle_id == rows[1].id)
        )
        path = session.get_one(Project, project.id).learner_path
    assert [row.status for row in rows[:2]] == ["done", "failed"]
    assert measured == 0
    assert path is not None
    assert (ws.models_path.parent / path).exists() or any(ws.settings.home_path.rglob(Path(path).name))
    ingest.ingest_frame(ws, before, stream(5, 200), origin="5", by="t", now=now)
    assert run_cycle(ws, project.id, cause="cli", now=now, force=True) is not None


def test_one_lease_is_taken_by_one(ws: Workspace, now: datetime) -> None:
    project = grown_project(ws, now)
    with ws.database.write() as session:
        session.add(
            Lease(name=f"project:{project.id}", owner="elsewhere:1:1:1", expires_at=datetime.now(UTC) - timedelta(1))
        )
    held: list[str] = []
    ready, go = threading.Barrier(6), threading.Event()

    def take() -> None:
        ready.wait()
        try:
            with hold_lease(ws, project.id) as token:
                held.append(token)
                go.wait(20)
        except Busy:
            busy.append(1)
            if len(busy) == 5:
                go.set()

    busy: list[int] = []
    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(held), len(busy)) == (1, 5)
