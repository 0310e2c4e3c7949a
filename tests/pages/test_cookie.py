"""The cookie that keeps people signed in."""

from __future__ import annotations

import stat
import time

import jwt
import pytest
import streamlit as st

from core.services.access import sessions
from core.settings import get_settings
from core.storage.workspace import Workspace
from core.ui.session import cookie_key
from tests.pages.grown import sign_in_of
from tests.pages.signing_in import cookie_token, is_closed, visit_with

pytestmark = pytest.mark.usefixtures("address")


def test_a_cookie_of_ours_signs_in(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_closed(visit_with(monkeypatch, grown, cookie_token(grown, sign_in_of("ada"))))


@pytest.mark.parametrize(
    "what", ["another key", "expired", "older epoch", "removed user", "no epoch", "unsigned", "no token at all"]
)
def test_no_other_cookie_does(grown: Workspace, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    sessions.sign_out_everywhere(grown, "otto")
    made = {
        "another key": cookie_token(grown, sign_in_of("ada"), key="k" * 64),
        "expired": cookie_token(grown, sign_in_of("ada"), hours=-1),
        "older epoch": cookie_token(grown, sign_in_of("otto", epoch=1)),
        "removed user": cookie_token(grown, "gone@1"),
        "no epoch": cookie_token(grown, sign_in_of("ada").partition("@")[0]),
        "unsigned": jwt.encode({"username": sign_in_of("ada"), "exp_date": time.time() + 3600}, "", algorithm="none"),
        "no token at all": "<script>",
    }
    at = visit_with(monkeypatch, grown, made[what])
    assert not at.exception
    assert is_closed(at)


def test_the_cookie_key_is_generated_once_and_for_nobody_else_to_read(grown: Workspace) -> None:
    home = get_settings().home_path
    key = cookie_key(str(home))
    place = home / "cookie.key"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert len(key) >= 32
    st.cache_resource.clear()
    assert cookie_key(str(home)) == key
