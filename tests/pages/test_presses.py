"""A press acts once, whatever other run of the page the browser starts before the first one reaches the button."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from patience import limit
from streamlit.testing.v1 import AppTest

from core.storage.workspace import Workspace
from tests.pages.grown import sign_in_of

ROOT = Path(__file__).resolve().parents[2]


def draw() -> None:
    """Three buttons below something that is drawn; `cut` says where the browser starts another run, once."""
    import streamlit as st
    from streamlit.proto.WidgetStates_pb2 import WidgetStates
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from core import ui

    state = st.session_state

    def cut(where: str) -> None:
        if state.get("cut") == where:
            state["cut"] = None
            ctx = get_script_run_ctx()
            assert ctx is not None and ctx.script_requests is not None
            ctx.script_requests.request_rerun(RerunData(widget_states=WidgetStates()))

    def act(name: str) -> None:
        state[name] = state.get(name, 0) + 1

    cut("above")
    st.write("drawn first")
    if st.button("Bare", key="bare"):
        act("bare acted")
    if ui.pressed("Press", key="press"):
        cut("before the work")
        with ui.at_work("Working", note="a line"):
            act("press acted")
        cut("after the work")
    with st.form("form"):
        st.text_input("Text", key="text")
        if ui.submitted("Send", key="send"):
            act("send acted")
    st.write("drawn last")


@pytest.mark.parametrize("where", [None, "above", "before the work", "after the work"])
def test_a_press_acts_once_wherever_its_run_is_cut_short(where: str | None) -> None:
    at = AppTest.from_function(draw).run()
    at.session_state["cut"] = where
    at.button(key="press").click().run()
    assert not at.exception
    assert at.session_state["press acted"] == 1
    at.run()
    assert at.session_state["press acted"] == 1
    at.button(key="press").click().run()
    assert at.session_state["press acted"] == 2


def test_a_form_that_was_sent_acts_once_where_its_run_is_cut_short() -> None:
    at = AppTest.from_function(draw).run()
    at.session_state["cut"] = "above"
    at.button(key="send").click().run().run()
    assert at.session_state["send acted"] == 1


def test_a_bare_button_loses_its_press_there() -> None:
    at = AppTest.from_function(draw).run()
    at.session_state["cut"] = "above"
    at.button(key="bare").click().run()
    assert "bare acted" not in at.session_state


def test_a_press_whose_button_is_drawn_no_more_is_forgotten_with_the_run(grown: Workspace) -> None:
    at = AppTest.from_file(str(ROOT / "Home.py"), default_timeout=limit(60))
    at.session_state["username"] = sign_in_of("ada")
    at.session_state["presses"] = {"a button of another page"}
    at.run()
    assert not at.exception
    assert at.session_state["presses"] == set()


def test_every_button_of_the_app_has_a_callback_or_notes_its_presses() -> None:
    bare = []
    for path in [ROOT / "Home.py", *(ROOT / "pages").glob("*.py"), *(ROOT / "core" / "ui").rglob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in ("button", "form_submit_button")
                and isinstance(call.func.value, ast.Name)
                and call.func.value.id == "st"
                and "on_click" not in {keyword.arg for keyword in call.keywords}
            ):
                bare.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert not bare, f"use ui.pressed or ui.submitted, or a callback: {bare}"
