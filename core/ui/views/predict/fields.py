"""The fields of a row: a widget for each feature, and the values of a stored row put into them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import ui
from core.records import Feature, FeatureSchema, ProjectInfo
from core.services.ingestion import stored_batches

MISSING = "(missing)"
RECENT_ROWS = 50


def show(project: ProjectInfo, feature: Feature) -> Any:
    """The widget of one feature; returns its value, None = missing."""
    key = _key(project, feature)
    if feature.kind == "numeric":
        return st.number_input(
            ui.plain(feature.name), value=None, key=key, help=_range(feature), placeholder="missing", format="%.6g"
        )
    chosen = st.selectbox(
        ui.plain(feature.name),
        [MISSING, *feature.categories],
        key=key,
        help=f"{ui.counted(len(feature.categories), 'value')} seen; you may enter another one.",
        accept_new_options=feature.kind == "categorical",
    )
    return None if chosen in (MISSING, None) else chosen


def fill_from_recent(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> None:
    """Put the values of one of the newest rows into the form; each press takes another one."""
    rows = stored_batches.read_rows(ctx.ws, project, n=RECENT_ROWS)
    if not len(rows):
        return
    at = st.session_state.get("fill", 0)
    st.session_state["fill"] = (at + 1) % len(rows)
    row = rows.iloc[len(rows) - 1 - at]
    for feature in schema.features:
        st.session_state[_key(project, feature)] = _as_field(feature, row[feature.name])
    st.session_state["known"] = row[schema.target]


def known_answer() -> Any:
    """The label of the row that filled the form; returned once."""
    return st.session_state.pop("known", None)


def _key(project: ProjectInfo, feature: Feature) -> str:
    """Key of a feature's widget; by project, so that switching does not mix values."""
    return f"x-{project.id}-{feature.name}"


def _range(feature: Feature) -> str:
    if feature.low is None or feature.high is None:
        return "No finite value seen"
    return f"Seen: {feature.low:.4g} to {feature.high:.4g}"


def _as_field(feature: Feature, value: Any) -> Any:
    """A stored value as the form's widget takes it; missing stays missing."""
    missing = value is None or value != value
    if feature.kind == "numeric":
        return None if missing else float(value)
    return MISSING if missing or str(value) not in feature.categories else str(value)
