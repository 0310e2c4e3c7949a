"""The head of the page with its one action, and the empty state before the first race."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo

SLOT = "job"


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """How many rows there are to train on, and the button: a cycle with a race regardless of the policy."""
    with ui.head_row("Train", f"{ui.count(project.labelled)} labelled rows to train on"):
        if ui.button(
            ctx, "Start a race", type="primary", icon=":material/flag:", key="race", closed=project.labelled <= 0
        ):
            st.session_state[SLOT] = ui.request_cycle(ctx, force=True)


def follow(ctx: ui.Context, project: ProjectInfo) -> ProjectInfo:
    """Follow the race that was just requested; returns the project as it is afterwards."""
    if (job := st.session_state.pop(SLOT, None)) is None:
        return project
    ui.follow_job(ctx, job)
    st.query_params.pop("cycle", None)  # show the race that has just ended
    return ctx.refreshed()


def nothing_yet(project: ProjectInfo) -> None:
    """What is missing and what to do about it."""
    if project.labelled:
        ui.empty(
            "No race yet.",
            f"{ui.counted(project.labelled, 'labelled row')} to train on. A race fits each family on its best windows and scores all candidates on the same unseen rows.",
        )
    else:
        ui.empty(
            "Nothing to train on yet.",
            "A race needs labelled rows.",
            page="data",
            action="Add rows",
        )
