"""What the parts of the pages make of a choice, without a page around them."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.learning.policy import POLICIES, policy_to_document
from core.ui.views.automation.policy_editor import EDITABLE
from core.ui.views.data.generate import KEPT, NONE, asked_drift

LAST = {"kind": "scale", "shape": "abrupt", "size": 2.0}


@pytest.mark.parametrize(
    ("kind", "last", "asked"),
    [
        (NONE, None, None),
        (KEPT, LAST, None),
        (NONE, LAST, {"kind": "scale", "size": 0.0}),
        ("mean_shift", LAST, {"kind": "mean_shift", "shape": "gradual", "size": 1.0}),
    ],
)
def test_a_drift_that_is_left_out_ends_the_last_one(
    kind: str, last: dict[str, Any] | None, asked: dict[str, Any] | None
) -> None:
    assert asked_drift(kind, "gradual", 1.0, last) == asked


def test_the_policy_editor_asks_within_the_rules_of_the_policys_fields() -> None:
    def draw() -> None:
        import streamlit as st

        from core.learning.policy import FIELDS, POLICIES, policy_to_document
        from core.ui.components.forms import fields
        from core.ui.views.automation.policy_editor import EDITABLE

        base = policy_to_document(POLICIES["careful"])
        st.session_state["given"] = fields(EDITABLE, FIELDS, base, key=lambda field: field)

    at = AppTest.from_function(draw).run()
    assert not at.exception
    ends = {widget.key: (widget.min, widget.max) for widget in at.number_input}
    assert (ends["share"], ends["labels"][0], ends["threshold"][0]) == ((0.0, 1.0), 1, None)
    assert at.selectbox(key="gate-of").options == ["no gate", "a held-out gate", "a strict gate"]
    base = policy_to_document(POLICIES["careful"])
    assert at.session_state["given"] == {name: base[name] for name in EDITABLE}


def test_a_list_of_one_page_draws_no_control() -> None:
    def draw() -> None:
        import streamlit as st

        from core.ui.components.tables import page_of

        st.text([page_of(n, 20, key=f"page-{n}") for n in (0, 1, 20)])
        st.text(page_of(50, 20, key="page", first=9))

    at = AppTest.from_function(draw).run()
    assert not at.exception
    assert [text.value for text in at.text] == ["[1, 1, 1]", "3"]
