"""The head of the page: one row or a file; and the empty state before the first champion."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo

ROW = "row"
WAYS = {ROW: "One row", "file": "A file"}


def show(project: ProjectInfo) -> str:
    """The choice: a key of WAYS."""
    with ui.head_row("Predict", f"v{project.champion} is serving" if project.champion else "no model yet"):
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
    """What is missing and what to do about it."""
    ui.empty(
        "No champion yet.",
        "Predictions come from the model that won a race. Start the first one.",
        page="train",
        action="Go to Train",
    )
