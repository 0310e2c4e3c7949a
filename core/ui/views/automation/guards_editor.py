"""The dialog in which is set what is done about each kind of odd answer."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import FeatureSchema, Label, ProjectInfo
from core.services.serving import guarding
from core.services.serving.guards import ACTIONS, KINDS, Action, Guards

LABELS = {
    "unseen_category": "An unseen category",
    "out_of_range": "A number out of range",
    "low_confidence": "Low confidence",
}


@st.dialog("Edit the guards", icon=":material/shield:", width="medium")
def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """An action for each guard, its limits, and the answer that is given instead."""
    guards, schema = guarding.guards_of(ctx.ws, project), project.schema
    if schema is None:
        st.info("There are no rows yet, so there is nothing to guard.")
        return
    with ui.grid(columns=3):
        actions = {kind: _action(kind, guards, schema) for kind in KINDS}
    with ui.grid(columns=3):
        wanted = Guards(
            **actions,
            range_margin=_margin(guards),
            least_confidence=_least_confidence(guards, schema),
            override=_override(guards, schema),
        )
    st.caption("The strictest action counts: to abstain goes before to override, and that before to warn.")
    if st.button("Save the guards", type="primary", key="g-save", disabled=wanted == guards):
        ui.change(
            lambda: guarding.set_guards(ctx.ws, project, wanted, by=ctx.actor, now=ctx.now),
            done="Every process goes by these guards within a second.",
        )


def _action(kind: str, guards: Guards, schema: FeatureSchema) -> Action:
    closed = kind == "low_confidence" and schema.task == "regression"
    options: list[Action] = ["off"] if closed else list(ACTIONS)
    return st.selectbox(
        LABELS[kind],
        options,
        index=0 if closed else ACTIONS.index(getattr(guards, kind)),
        key=f"g-{kind}",
        disabled=closed,
        help="A number has no probability." if closed else None,
    )


def _margin(guards: Guards) -> float:
    return st.number_input(
        "Margin of the range",
        min_value=0.0,
        max_value=100.0,
        value=float(guards.range_margin),
        step=0.05,
        key="g-margin",
        help="Share of the range that the model learnt from, allowed beyond either end.",
    )


def _least_confidence(guards: Guards, schema: FeatureSchema) -> float:
    return st.number_input(
        "Least confidence",
        min_value=0.01,
        max_value=1.0,
        value=float(guards.least_confidence),
        step=0.05,
        key="g-least",
        disabled=schema.task == "regression",
        help="Probability of the predicted class below which confidence is low.",
    )


def _override(guards: Guards, schema: FeatureSchema) -> Label | None:
    """What is answered instead: a class, or a number."""
    told = "Answered in place of the model's word where an action is override."
    if schema.task == "regression":
        usual = float(guards.override) if isinstance(guards.override, (int, float)) else None
        return st.number_input("Answer instead", value=usual, key="g-override", placeholder="none", help=told)
    classes = list(schema.classes)
    index = classes.index(guards.override) if guards.override in classes else None
    return st.selectbox("Answer instead", classes, index=index, key="g-override", placeholder="none", help=told)
