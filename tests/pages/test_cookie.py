"""The cookie that keeps people signed in."""

from __future__ import annotations

import json
import re
import stat
import time
from datetime import datetime
from email.utils import parsedate_to_datetime

import jwt
import pytest
import streamlit as st
from patience import limit
from streamlit.testing.v1 import AppTest

from core.services.access import sessions
from core.settings import get_settings
from core.storage.workspace import Workspace
from core.ui.cookie import Statement
from core.ui.session import COOKIE_DAYS, WRITING_S, cookie_key
from tests.pages.grown import PASSWORD, sign_in_of
from tests.pages.signing_in import cookie_token, is_closed, sign_in, visit, visit_with

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


def written_by(at: AppTest) -> list[str]:
    """The statements of the page that set a cookie."""
    return [element.proto.body for element in at.get("html") if "document.cookie" in element.proto.body]


def test_a_sign_in_has_the_page_write_a_cookie_that_signs_in(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    at = sign_in(visit(), "ada", PASSWORD)
    (script,) = written_by(at)
    found = re.fullmatch(
        r'<script>document\.cookie = (".*") \+ \(location.protocol === "https:" \? "; Secure" : ""\);</script>', script
    )
    assert found
    (pair, *attributes) = json.loads(found[1]).split("; ")
    name, _, token = pair.partition("=")
    assert name == grown.settings.cookie_name
    assert not is_closed(visit_with(monkeypatch, grown, token))
    assert attributes[1:] == ["path=/", "SameSite=Strict"]
    ends = parsedate_to_datetime(attributes[0].removeprefix("expires=")).timestamp()
    assert ends == pytest.approx(time.time() + COOKIE_DAYS * 86_400, abs=limit(60))
    assert at.session_state["sign-in ends"] == pytest.approx(ends, abs=1)


def test_every_run_of_the_next_minute_writes_the_same_cookie(grown: Workspace) -> None:
    at = sign_in(visit(), "ada", PASSWORD)
    first = written_by(at)
    assert written_by(at.run()) == first
    assert len(first) == 1
    html, until = at.session_state["write cookie"]
    assert 0 < until - time.time() <= WRITING_S
    at.session_state["write cookie"] = html, time.time()
    assert written_by(at.run()) == []
    assert not is_closed(at)


def test_no_name_of_a_cookie_ends_its_script() -> None:
    statement = Statement()
    statement.set("</script><script>x", "token", datetime.now())  # noqa: DTZ005  # as the library calls it
    assert statement.html.count("<") == 2


def test_the_cookie_key_is_generated_once_and_for_nobody_else_to_read(grown: Workspace) -> None:
    home = get_settings().home_path
    key = cookie_key(str(home))
    place = home / "cookie.key"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert len(key) >= 32
    st.cache_resource.clear()
    assert cookie_key(str(home)) == key
