"""Fixtures of the page tests."""

from __future__ import annotations

import pytest
from streamlit.runtime.context import ContextProxy

from core.settings import get_settings
from core.storage.workspace import Workspace
from tests.pages.grown import settle


@pytest.fixture
def grown(settings: object, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The state folder of this test, with a project that has a past; `grown.py` says which."""
    return settle(get_settings().home_path, monkeypatch, grown=True)


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where visitors come from; the page tests' own session answers with a stand-in that is no text."""
    monkeypatch.setattr(ContextProxy, "ip_address", property(lambda self: "192.0.2.7"))
