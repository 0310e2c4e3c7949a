"""Visitors of the app, signed in or not."""

from __future__ import annotations

import time

import jwt
import pytest
from patience import limit
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from core.storage.workspace import Workspace
from core.ui.session import cookie_key
from tests.pages.grown import ROOT, sign_in_of

HOME = str(ROOT / "Home.py")


def sign_in(at: AppTest, name: str, password: str) -> AppTest:
    at.text_input(key="sign-in name").set_value(name)
    at.text_input(key="sign-in password").set_value(password)
    at.button[0].click()
    return at.run()


def visit() -> AppTest:
    return AppTest.from_file(HOME, default_timeout=limit(60)).run()


def is_closed(at: AppTest) -> bool:
    return [i.label for i in at.text_input] == ["Username", "Password"] and not at.metric


def visit_as(person: str) -> AppTest:
    at = AppTest.from_file(HOME, default_timeout=limit(60))
    at.session_state["username"] = sign_in_of(person)
    at.run()
    assert not is_closed(at)
    return at


def visit_with(monkeypatch: pytest.MonkeyPatch, ws: Workspace, token: str) -> AppTest:
    """A new session of a browser that sends this cookie."""
    cookies = {ws.settings.cookie_name: token}
    monkeypatch.setattr(ContextProxy, "cookies", property(lambda self: cookies))
    return visit()


def cookie_token(ws: Workspace, who: str, *, key: str | None = None, hours: float = 1.0) -> str:
    right = cookie_key(str(ws.settings.home_path))
    return jwt.encode({"username": who, "exp_date": time.time() + hours * 3600}, key or right, algorithm="HS256")


def visit_as_on(monkeypatch: pytest.MonkeyPatch, person: str, connection: str) -> AppTest:
    monkeypatch.setattr(ContextProxy, "headers", property(lambda self: {"Sec-Websocket-Key": connection}))
    at = AppTest.from_file(HOME, default_timeout=limit(60))
    at.session_state["username"], at.session_state["connection"] = sign_in_of(person), connection
    return at.run()
