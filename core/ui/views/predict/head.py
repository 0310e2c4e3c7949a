"""The head of the page: one row or a file; and what stands here before there is a champion."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo

ROW = "row"
WAYS = {ROW: "One row", "file": "A file"}


def show(project: ProjectInfo) -> str:
    """Which way was chosen: a key of WAYS."""
    with ui.head_row("Predict", f"v{project.champion} answers" if project.champion else "no model yet"):
        if not project.champion:
            return ROW
        return st.segmented_control(
            "For",
            list(WAYS),
            format_func=WAYS.__getitem__,
            default=ROW,
            required=True,
            key="way",
            bind="query-params",
            label_visibility="collapsed",
        )


def no_champion() -> None:
    """What will stand here and what to do for it."""
    ui.empty(
        "No champion yet.",
        "Predictions come from the model that won a race. Start the first one.",
        page="train",
        action="Go to Train",
    )
