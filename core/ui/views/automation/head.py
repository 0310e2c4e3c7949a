"""The head of the page: when it was checked, and the button that requests a check."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo


def show(ctx: ui.Context, project: ProjectInfo) -> ProjectInfo:
    """The head; a requested check is followed below it. Returns the project as it is afterwards."""
    checked = f"checked {ui.when(project.checked_at, ctx)}" if project.checked_at else "not checked yet"
    with ui.head_row("Automation", checked):
        if ui.button(ctx, "Check now", type="primary", icon=":material/autorenew:", key="check"):
            st.session_state["job"] = ui.request_cycle(ctx, force=False)
    if (job := st.session_state.pop("job", None)) is None:
        return project
    ui.follow_job(ctx, job)
    return ctx.refreshed()
