"""The head of the page with its one action; and what stands here before there is a race."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo

SLOT = "job"


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """How much there is to learn from, and the button: a cycle that races whatever the policy says."""
    with ui.head_row("Train", f"{ui.count(project.labelled)} labelled rows to learn from"):
        if ui.button(
            ctx, "Start a race", type="primary", icon=":material/flag:", key="race", closed=project.labelled <= 0
        ):
            st.session_state[SLOT] = ui.request_cycle(ctx, force=True)


def follow(ctx: ui.Context, project: ProjectInfo) -> ProjectInfo:
    """Follow the race that was asked for just now; returns the project as it is afterwards."""
    if (job := st.session_state.pop(SLOT, None)) is None:
        return project
    ui.follow_job(ctx, job)
    st.query_params.pop("cycle", None)  # the race that has just ended is what was asked for
    return ctx.refreshed()


def nothing_yet(project: ProjectInfo) -> None:
    """What will stand here and what to do for it."""
    if project.labelled:
        ui.empty(
            "No race yet.",
            f"{ui.counted(project.labelled, 'labelled row')} wait. A race fits each family on its best windows and scores all of them on the same rows, which none has seen.",
        )
    else:
        ui.empty(
            "Nothing to learn from yet.",
            "A race needs rows with their label.",
            page="data",
            action="Add rows",
        )
