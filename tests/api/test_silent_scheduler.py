"""The API process notices by itself that the scheduler has fallen silent, and sends the message that nobody else sends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from api_helpers import serving
from fake_webhook import FakeWebhook
from patience import until

from core.services.automation import due_work, workers
from core.services.incidents import status
from core.settings import get_settings
from core.storage.workspace import open_workspace


def test_silence_and_return_are_reported_once_each(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeWebhook() as hook:
        monkeypatch.setenv("DISCORD_WEBHOOK_URL", hook.url)
        monkeypatch.setenv("CHECK_INTERVAL_SECONDS", "0.2")
        monkeypatch.setenv("CONTINUAL_PUBLIC_URL", "https://ml.example.org/")
        get_settings.cache_clear()
        ws = open_workspace(get_settings())
        workers.beat(ws, status.SCHEDULER, owner="s", now=datetime.now(UTC))
        with serving():
            until("the message that it is silent", lambda: hook.embeds)

            def _back() -> bool:
                workers.beat(ws, status.SCHEDULER, owner="s", now=datetime.now(UTC))
                with ws.database.read() as session:
                    return due_work.notices_due(session, datetime.now(UTC))

            until("the message that it is back", _back)
        ws.database.dispose()
    assert [e["title"] for e in hook.embeds] == ["The scheduler is not responding"]
    assert hook.embeds[0]["url"] == "https://ml.example.org/automation"
