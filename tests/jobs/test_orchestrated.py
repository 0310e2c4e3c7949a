"""Checks for an orchestrator: what their end means, what is retried, and one loop that two clocks never turn twice."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select

import core.cycle
from core.errors import Conflict
from core.jobs import MAY_PASS, orchestrated, prefect_runner, worker
from core.records import as_written
from core.services.automation import due_work
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import Settings
from core.storage.tables import Cycle, Lease, Project
from core.storage.workspace import Workspace

REPORT = SimpleNamespace(id=7, decision="nothing", reason=as_written("well"), outcome="none")


@pytest.fixture
def due(ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch) -> int:
    """A project that the clock would check."""
    project = projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=now)
    monkeypatch.setattr(due_work, "due_projects", lambda *_: [project.id])
    return project.id


def _once(ws: Workspace, *, again: bool = False) -> tuple[int, dict[str, Any]]:
    return worker.check_once(ws, "flies", again=again, stop=threading.Event())


def _turning(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def run_cycle(_ws: Workspace, _project_id: int, **options: Any) -> Any:
        calls.append(options)
        return answer()

    monkeypatch.setattr(core.cycle, "run_cycle", run_cycle)
    return calls


def _raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


def test_a_check_is_the_schedulers(ws: Workspace, due: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _turning(monkeypatch, lambda: REPORT)
    code, document = _once(ws)
    assert (code, document["state"], document["cycle"]) == (0, "checked", 7)
    assert [call["cause"] for call in calls] == ["schedule"]


def test_nothing_new_costs_no_cycle(ws: Workspace, due: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_work, "due_projects", lambda *_: [])
    calls = _turning(monkeypatch, lambda: REPORT)
    code, document = _once(ws)
    assert (code, document["state"], calls) == (0, "nothing", [])


def test_a_failure_that_may_pass_is_tried_again_though_nothing_arrived(
    ws: Workspace, due: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws.settings, "task_retries", 0)
    _turning(monkeypatch, _raising(OSError("no space")))
    code, document = _once(ws)
    assert (code, document["state"]) == (MAY_PASS, "failed")
    monkeypatch.setattr(due_work, "due_projects", lambda *_: [])
    _turning(monkeypatch, lambda: REPORT)
    assert _once(ws, again=True)[1]["state"] == "checked"


def test_a_failure_that_would_come_again_is_not_tried_again(
    ws: Workspace, due: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _turning(monkeypatch, _raising(Conflict("no")))
    assert _once(ws) == (1, {"state": "failed", "reason": "no"})
    assert len(calls) == 1


def test_another_holder_of_the_lease_is_no_failure(ws: Workspace, due: int) -> None:
    until = datetime.now(UTC) + timedelta(seconds=30)
    with ws.database.write() as session:
        session.add(Lease(name=f"project:{due}", owner="elsewhere:1:1:1", expires_at=until))
    code, document = _once(ws)
    assert (code, document["state"]) == (0, "skipped")
    with ws.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Cycle)) == 0
        assert session.scalar(select(Project.check_attempts)) == 0


def test_a_project_that_was_deleted_meanwhile_is_no_failure(ws: Workspace) -> None:
    code, document = _once(ws)
    assert (code, document["state"]) == (0, "skipped")


@pytest.mark.parametrize("state", ["checked", "nothing", "skipped"])
def test_a_checks_end_is_read_from_its_code_and_its_last_line(state: str) -> None:
    output = "a line before\n" + json.dumps({"state": state, "reason": "so"}) + "\n"
    assert orchestrated.outcome_of(0, output) == orchestrated.Checked(state=state, text="so")


def test_only_one_code_is_worth_another_try() -> None:
    failed = json.dumps({"state": "failed", "reason": "so"})
    with pytest.raises(orchestrated.MayPass, match="so"):
        orchestrated.outcome_of(MAY_PASS, failed)
    for code, output in ((1, failed), (70, ""), (-9, ""), (0, ""), (0, "{}")):
        with pytest.raises(orchestrated.CheckFailed) as caught:
            orchestrated.outcome_of(code, output)
        assert not isinstance(caught.value, orchestrated.MayPass)


def test_the_child_leaves_trying_again_to_the_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(orchestrated.PYTHON, "/somewhere/python")
    assert orchestrated.check_command("flies", attempt=1)[-1] == "flies"
    assert orchestrated.check_command("flies", attempt=2)[-1] == "--again"
    assert orchestrated.own_environment({"TASK_RETRIES": "2", "HOME": "/h"})["TASK_RETRIES"] == "0"


def test_a_check_runs_as_a_process_and_answers(ws: Workspace, now: datetime) -> None:
    """The real child, as the flow's task starts it."""
    projects.create_project(ws, "Flies", Origin(source="file"), by="me", now=now)
    assert orchestrated.check("flies", attempt=1).state == "nothing"
    assert orchestrated.list_projects() == ["flies"]


def test_projects_that_come_and_go_are_noticed() -> None:
    assert orchestrated.changes(["a", "b"], ["b", "d", "c"]) == (["c", "d"], ["a"])


def test_the_smoke_flow_draws_the_same_numbers_from_a_seed() -> None:
    first, second = (orchestrated.draw(3, attempt=attempt) for attempt in (1, 2))
    assert first == orchestrated.draw(3, attempt=1)
    with pytest.raises(orchestrated.MayPass, match="below"):
        orchestrated.pretend(first)
    assert orchestrated.pretend(second).startswith("OK")
    assert 0 <= orchestrated.draw(None, attempt=1) < 1


def test_the_prefect_server_keeps_to_this_machine_and_to_the_state_folder(settings: Settings) -> None:
    environment = orchestrated.server_environment(settings)
    assert environment["PREFECT_SERVER_API_HOST"] == "127.0.0.1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["DO_NOT_TRACK"] == "1"
    assert Path(environment["PREFECT_HOME"]).is_relative_to(settings.home_path)
    assert all("4200" in command or "prefect_flow" in command for command in prefect_runner.commands(settings).values())


def test_without_prefect_the_command_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(prefect_runner.ENVIRONMENT, str(tmp_path / "none"))
    monkeypatch.setitem(os.environ, "MAKELEVEL", "")
    with pytest.raises(SystemExit, match="make prefect"):
        prefect_runner.main()
