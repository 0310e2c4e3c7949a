"""The outbox: one message for what is news, retried, never lost, never with the address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.records import CycleReport
from core.services import notify, projects
from core.storage.tables import Cycle, Notice
from core.storage.workspace import Workspace


def report(**changes: Any) -> CycleReport:
    """A finished cycle."""
    values: dict[str, Any] = {
        "id": 7,
        "project_id": 1,
        "cause": "schedule",
        "status": "done",
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "finished_at": None,
        "decision": "retrain",
        "reason": "Accuracy 0.61 is below 0.70.",
        "outcome": "promoted",
        "champion_after": 2,
    }
    return CycleReport(**{**values, **changes})


class Channel:
    """A channel that answers what it is told to."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []

    def send(self, payload: dict[str, Any]) -> float | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            self.sent.append(payload)
        return answer


@pytest.fixture
def waiting(ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with one message in the outbox."""
    made = projects.create_project(ws, "Demo", source="file", by="test", now=now)
    monkeypatch.setattr(notify, "channels", lambda ws: {"discord": object()})
    with ws.database.write() as session:
        row = Cycle(project_id=made.id, cause="schedule", status="done", started_at=now, seed=1)
        session.add(row)
        session.flush()
        notify.enqueue(ws, session, "Demo", report(id=row.id, project_id=made.id), now)
    return ws


def notice(ws: Workspace) -> Notice:
    with ws.database.read() as session:
        return session.scalars(select(Notice)).one()


def test_a_promotion_is_news_and_a_refresh_is_not() -> None:
    promoted = notify.message_of("Demo", report())
    assert promoted is not None
    assert "v2 promoted" in promoted[0]
    assert notify.message_of("Demo", report(outcome="refreshed")) is None
    assert notify.message_of("Demo", report(decision="nothing", outcome="none")) is None
    failed = notify.message_of("Demo", report(status="failed", error="no disk"))
    assert failed is not None
    assert failed[1] == "no disk"


def test_a_message_is_delivered_once(waiting: Workspace, now: datetime) -> None:
    channel = Channel(None)
    assert notify.deliver_due(waiting, now, notifiers={"discord": channel}) == 1
    assert notify.deliver_due(waiting, now + timedelta(days=1), notifiers={"discord": channel}) == 0
    assert len(channel.sent) == 1
    assert notice(waiting).sent_at == now


def test_a_failure_is_tried_again_and_its_text_is_not_kept(waiting: Workspace, now: datetime) -> None:
    channel = Channel(ConnectionError("https://secret.example/token"), None)
    assert notify.deliver_due(waiting, now, notifiers={"discord": channel}) == 0
    row = notice(waiting)
    assert row.error == "ConnectionError"
    assert row.next_attempt_at is not None
    assert notify.deliver_due(waiting, now, notifiers={"discord": channel}) == 0
    assert notify.deliver_due(waiting, row.next_attempt_at, notifiers={"discord": channel}) == 1


def test_retry_after_is_kept_to(waiting: Workspace, now: datetime) -> None:
    channel = Channel(42.5, None)
    notify.deliver_due(waiting, now, notifiers={"discord": channel})
    assert notice(waiting).next_attempt_at == now + timedelta(seconds=42.5)


def test_a_dead_webhook_is_not_called_again(waiting: Workspace, now: datetime) -> None:
    channel = Channel(notify.DeadChannel("the webhook answered 404"))
    notify.deliver_due(waiting, now, notifiers={"discord": channel})
    row = notice(waiting)
    assert row.next_attempt_at is None
    assert row.error == "the webhook answered 404"
    assert notify.deliver_due(waiting, now + timedelta(days=30), notifiers={"discord": channel}) == 0
