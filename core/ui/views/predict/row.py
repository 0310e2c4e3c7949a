"""One row: the form on the left, the prediction on the right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core import ui
from core.records import FeatureSchema, ProjectInfo
from core.services.serving import page_predictions
from core.ui.views.predict import answer, champion, fields

FORM_FEATURES = 200  # more fields than these need a file
WITHOUT_SCROLLING = 12  # so many fields are shown without scrolling


def show(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> None:
    """The form; once submitted, the prediction."""
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
        elif answer.newest() is None:
            answer.show_nothing_yet()
        if (given := answer.newest()) is not None and given.answer.project_id == project.id:
            answer.show(ctx, given)


def _show_form(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> Mapping[str, Any] | None:
    """A field for each feature; returns their values once submitted."""
    n = len(schema.features)
    with ui.card(
        "The row",
        f"{ui.counted(n, 'feature')} · the help of a field shows the range in the first batch · an empty field is a missing value",
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
    """Predict, log, and keep the prediction with its contributions for this session."""
    served = champion.loaded(ctx, project)
    if served is None:
        return
    row_answer = ui.attempt(lambda: page_predictions.predict_row(ctx.ws, served, values, by=ctx.actor, now=ctx.now))
    if row_answer is None:
        return
    answer.keep(answer.Given(answer=row_answer, known=fields.known_answer()))
    st.toast(
        f"Logged as {row_answer.prediction_id[:8]}…, predicted by v{row_answer.version}.",
        icon=":material/check_circle:",
    )
