"""The champion in this process's memory."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.services.serving.champion_cache import Served


def loaded(ctx: ui.Context, project: ProjectInfo) -> Served | None:
    """The champion, which takes seconds the first time. None, and why, when it cannot be loaded."""
    with ui.still_pressed(), st.spinner(f"Loading v{project.champion}"):
        served = ui.served(ctx, project)
    if served is None:
        st.error(ui.plain(ui.champions().problem(project.id) or "No model is serving yet."), icon=":material/error:")
    return served
