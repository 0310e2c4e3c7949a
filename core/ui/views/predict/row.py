"""One row: the form on the left, the answer on the right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core import ui
from core.records import FeatureSchema, ProjectInfo
from core.services.serving import asking
from core.ui.views.predict import answer, champion, fields

FORM_FEATURES = 200  # more fields than these are no form: a file is asked for
WITHOUT_SCROLLING = 12  # so many fields stand below one another in full


def show(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> None:
    """The form; once it was sent, the answer."""
    if len(schema.features) > FORM_FEATURES:
        st.info(
            f"{ui.count(len(schema.features))} features are too many for a form. Predict for a file instead.",
            icon=":material/table:",
        )
        return
    left, right = st.columns([1.5, 1])
    with left:
        values = _show_form(ctx, project, schema)
    with right:
        if values is not None:
            _ask(ctx, project, values)
        elif answer.kept() is None:
            answer.show_nothing_yet()
        if (given := answer.kept()) is not None and given.told.project_id == project.id:
            answer.show(ctx, given)


def _show_form(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> Mapping[str, Any] | None:
    """A field for each feature; returns their values where they were sent."""
    n = len(schema.features)
    with ui.card(
        "The row",
        f"{ui.counted(n, 'feature')} · the range seen in the first batch stands in each help · an empty field is a missing value",
    ):
        st.button(
            "Fill from a recent row",
            icon=":material/history:",
            key="fill-button",
            on_click=fields.fill_from_recent,
            args=(ctx, project, schema),
            disabled=project.rows == 0,
        )
        with st.form("row", border=False):
            with st.container(height=430 if n > WITHOUT_SCROLLING else "content", border=False), ui.grid(columns=3):
                values = {feature.name: fields.show(project, feature) for feature in schema.features}
            sent = ui.submit(ctx, "Predict", icon=":material/online_prediction:")
    return values if sent else None


def _ask(ctx: ui.Context, project: ProjectInfo, values: Mapping[str, Any]) -> None:
    """Predict, log, and keep the answer and its reasons for this session."""
    served = champion.loaded(ctx, project)
    if served is None:
        return
    told = ui.attempt(lambda: asking.ask_row(ctx.ws, served, values, by=ctx.actor, now=ctx.now))
    if told is None:
        return
    answer.keep(answer.Given(told=told, known=fields.known_answer()))
    st.toast(f"Logged as {told.prediction_id[:8]}…, answered by v{told.version}.", icon=":material/check_circle:")
