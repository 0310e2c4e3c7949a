"""A second factor at sign-in."""

from __future__ import annotations

import time

import pytest
import streamlit as st

from core.services.access import second_factor
from core.settings import get_settings
from core.storage.workspace import Workspace
from tests.pages.grown import PASSWORD, click, open_page, text_of
from tests.pages.signing_in import is_closed, sign_in, visit, visit_as

pytestmark = pytest.mark.usefixtures("address")


def test_a_second_factor_is_set_up_at_the_name_and_asked_for_at_the_next_sign_in(grown: Workspace) -> None:
    at = click(visit_as("ada"), "Second factor")
    at.text_input(key="proof-password").set_value(PASSWORD)
    click(at, "Continue")
    click(at, "Second factor")
    secret, address = (code.value for code in at.code)
    assert secret in address
    at.text_input(key="factor-code").set_value("000000")
    click(at, "Turn it on")
    assert "The code does not match the one expected" in at.error[0].value
    at.text_input(key="factor-code").set_value(second_factor.code_of(secret, int(time.time()) // 30))
    click(at, "Turn it on")
    assert not at.exception
    codes = at.code[0].value.split()
    assert len(codes) == 8
    click(at, "I have saved them")
    assert not at.code
    there = sign_in(visit(), "ada", PASSWORD)
    assert [i.label for i in there.text_input] == ["Username", "Password", "Code"] and not there.metric
    there.text_input(key="sign-in code").set_value("000000")
    assert "code is wrong" in sign_in(there, "ada", PASSWORD).error[0].value
    there.text_input(key="sign-in code").set_value(codes[0])
    assert "role admin" in text_of(sign_in(there, "ada", PASSWORD))
    click(click(at, "Second factor"), "Turn it off")
    assert not is_closed(sign_in(visit(), "ada", PASSWORD))


def test_where_admins_need_a_second_factor_the_admin_page_asks_for_it_first(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTINUAL_REQUIRE_SECOND_FACTOR", "admins")
    get_settings.cache_clear()
    st.cache_resource.clear()
    at = open_page("admin")
    assert at.error[0].value.startswith("Admins need a second factor here")
    assert not at.dataframe
    assert not open_page("drift").error
