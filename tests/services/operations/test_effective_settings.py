"""The settings in force, for people."""

from __future__ import annotations

import pytest

from core.services.operations import effective_settings
from core.settings import get_settings


def test_secrets_are_reported_only_as_set_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "k3y-of-this-installation-77")
    monkeypatch.setenv("CHECK_INTERVAL_SECONDS", "77")
    get_settings.cache_clear()
    found = {setting.name: setting for setting in effective_settings.effective(get_settings())}
    assert (found["API_KEY"].value, found["API_KEY"].usual) == ("set", False)
    assert (found["DISCORD_WEBHOOK_URL"].value, found["DISCORD_WEBHOOK_URL"].usual) == ("not set", True)
    assert (found["CHECK_INTERVAL_SECONDS"].value, found["CHECK_INTERVAL_SECONDS"].usual) == ("77.0", False)
    assert "k3y-of-this" not in str(found)
