"""The dialog that sets the action of each guard."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import FeatureSchema, Label, ProjectInfo
from core.services.serving import guarding
from core.services.serving.guards import ACTIONS, KINDS, Action, Guards

LABELS = {
    "unseen_category": "Unseen category",
    "out_of_range": "Number out of range",
    "low_confidence": "Low confidence",
}


@st.dialog("Edit the guards", icon=":material/shield:", width="medium")
def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """An action for each guard, its limits, and the replacement."""
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
    st.caption("The strictest action applies: abstain, then override, then warn.")
    if ui.pressed("Save the guards", type="primary", key="g-save", disabled=wanted == guards):
        ui.change(
            lambda: guarding.set_guards(ctx.ws, project, wanted, by=ctx.actor, now=ctx.now),
            done="The guards take effect within a second.",
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
        help="Regression has no class probability." if closed else None,
    )


def _margin(guards: Guards) -> float:
    return st.number_input(
        "Margin of the range",
        min_value=0.0,
        max_value=100.0,
        value=float(guards.range_margin),
        step=0.05,
        key="g-margin",
        help="Share of the training range that is allowed beyond either end.",
    )


def _least_confidence(guards: Guards, schema: FeatureSchema) -> float:
    return st.number_input(
        "Minimum confidence",
        min_value=0.01,
        max_value=1.0,
        value=float(guards.least_confidence),
        step=0.05,
        key="g-least",
        disabled=schema.task == "regression",
        help="Probability of the predicted class below which confidence is low.",
    )


def _override(guards: Guards, schema: FeatureSchema) -> Label | None:
    """The replacement: a class, or a number."""
    note = "Returned instead of the prediction where the action is override."
    if schema.task == "regression":
        usual = float(guards.override) if isinstance(guards.override, (int, float)) else None
        return st.number_input("Replacement", value=usual, key="g-override", placeholder="none", help=note)
    classes = list(schema.classes)
    index = classes.index(guards.override) if guards.override in classes else None
    return st.selectbox("Replacement", classes, index=index, key="g-override", placeholder="none", help=note)
