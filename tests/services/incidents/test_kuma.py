"""The heartbeat to a Push monitor: up with a duration, down with a reason, never in the scheduler's way or in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fake_webhook import FakeWebhook
from loguru import logger
from patience import until
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from core.errors import ConfigurationError
from core.jobs.clock import Scheduler
from core.services.automation import workers
from core.services.incidents import kuma, status
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import get_settings
from core.storage.tables import Project
from core.storage.workspace import Workspace


@pytest.fixture
def monitor(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWebhook]:
    with FakeWebhook() as server:
        monkeypatch.setattr(ws.settings, "kuma_push_url", SecretStr(server.url))
        yield server


def received(monitor: FakeWebhook) -> list[dict[str, str]]:
    return [{k: v[0] for k, v in parse_qs(urlsplit(path).query).items()} for path in monitor.paths]


def test_a_scheduler_that_works_is_up_with_the_time_of_its_look(ws: Workspace, monitor: FakeWebhook) -> None:
    scheduler = Scheduler(ws)
    scheduler.check()
    kuma.Heartbeats(ws, lambda: scheduler.last_poll).beat()
    (beat,) = received(monitor)
    assert (beat["status"], beat["msg"]) == ("up", "OK")
    assert int(beat["ping"]) >= 0
    assert urlsplit(monitor.paths[0]).path == urlsplit(monitor.url).path


def test_what_keeps_the_loop_from_working_is_reported(
    ws: Workspace, now: datetime, monitor: FakeWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    look = kuma.Poll(ended=time.monotonic())
    with ws.database.write() as session:
        session.get_one(Project, 1).checks_stopped_at = now
    beats = kuma.Heartbeats(ws, lambda: look)
    beats.beat()
    look = kuma.Poll(ended=time.monotonic() - 4 * ws.settings.check_interval_s)
    beats.beat()
    monkeypatch.setattr(status, "health", lambda *a, **k: status.down())
    look = kuma.Poll(ended=time.monotonic())
    beats.beat()
    assert [(b["status"], b["msg"]) for b in received(monitor)] == [
        ("down", status.CHECKS_STOPPED),
        ("down", kuma.STUCK),
        ("down", status.DATABASE_DOWN),
    ]


def test_a_push_that_fails_is_said_once_without_the_address_and_raises_nothing(
    ws: Workspace, monitor: FakeWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kuma, "TIMEOUT_S", 0.2)
    lines: list[str] = []
    sink = logger.add(lambda m: lines.append(str(m)), level="DEBUG")
    beats = kuma.Heartbeats(ws, lambda: kuma.Poll(ended=time.monotonic()))
    monitor.answers = [(500, {"ok": False}, {}), "hang", (404, None, {}), (200, {"ok": True}, {})]
    for _ in range(4):
        beats.beat()
    monkeypatch.setattr(ws.settings, "kuma_push_url", SecretStr("http://127.0.0.1:1/hook/secret-part"))
    beats.beat()
    logger.remove(sink)
    said = [line for line in lines if "Kuma" in line]
    assert len(said) == 3
    assert (
        "it responded with status 500" in said[0] and "reach Uptime Kuma again" in said[1] and "ConnectError" in said[2]
    )
    assert "secret-part" not in "".join(lines)


def test_a_state_that_cannot_be_read_is_reported_too(
    ws: Workspace, monitor: FakeWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _raises(*_: Any, **__: Any) -> Any:
        raise OperationalError("select", {}, Exception("x"))

    monkeypatch.setattr(status, "health", _raises)
    kuma.Heartbeats(ws, kuma.Poll).beat()
    assert received(monitor)[0]["msg"] == "The state cannot be read: OperationalError."


def test_heartbeats_come_each_interval_from_a_thread_and_none_without_the_setting(
    ws: Workspace, monitor: FakeWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws.settings, "check_interval_s", 0.1)
    beats = kuma.Heartbeats(ws, lambda: kuma.Poll(ended=time.monotonic()))
    workers.beat(ws, status.SCHEDULER, owner="s", now=datetime.now(UTC) + timedelta(seconds=30))
    beats.start()
    until("three heartbeats", lambda: len(monitor.paths) >= 3)
    beats.stop()
    assert {b["status"] for b in received(monitor)} == {"up"}
    time.sleep(0.3)
    seen = len(monitor.paths)
    monkeypatch.setattr(ws.settings, "kuma_push_url", None)
    off = kuma.Heartbeats(ws, kuma.Poll)
    off.start()
    off.beat()
    time.sleep(0.3)
    assert len(monitor.paths) == seen


def test_the_address_is_taken_without_its_query_and_a_wrong_one_is_refused_unshown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONTINUAL_KUMA_PUSH_URL", "http://kuma:3001/api/push/abc?status=up&msg=OK&ping=")
    get_settings.cache_clear()
    found = get_settings().kuma_push_url
    assert found is not None and found.get_secret_value() == "http://kuma:3001/api/push/abc"
    monkeypatch.setenv("CONTINUAL_KUMA_PUSH_URL", "hunter2-no-address")
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError) as refused:
        get_settings()
    assert "CONTINUAL_KUMA_PUSH_URL" in str(refused.value) and "hunter2" not in str(refused.value)
