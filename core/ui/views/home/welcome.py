"""The overview while nothing is stored yet: one button to the demonstration."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.errors import ContinualError
from core.records import ProjectInfo
from core.services.automation import live, workers
from core.services.projects import streams


def show(ctx: ui.Context) -> None:
    """What there is to see, the button, and the way to rows of one's own."""
    with ui.head_row("Welcome", "no project yet"):
        pass  # this head has no buttons
    with st.container(border=True):
        st.markdown(
            "**See it work on real data.** 24,150 flying insects of six kinds, told apart by an optical sensor while the temperature and the mix of kinds change."
        )
        st.markdown(
            "The first 1,000 rows train a champion; the others arrive batch by batch through the real loop. You will see accuracy fall, "
            "a retrain fire, a challenger win on rows that neither model has seen, and accuracy recover. It takes about two minutes."
        )
        if ui.button(ctx, "Create the sample project", type="primary", icon=":material/play_circle:"):
            _create_sample(ctx)
    ui.empty(
        "Or begin with rows of your own.", "A CSV or Parquet file, or the generator.", page="data", action="Open Data"
    )


def _create_sample(ctx: ui.Context) -> None:
    """Make the sample project, start its live run, and go and watch it."""
    project = _created(ctx)
    if project is not None:
        ui.choose_project(project.slug)
        st.switch_page(ui.page_path("live"))


def _created(ctx: ui.Context) -> ProjectInfo | None:
    """The project, told step by step; None, and why, where it could not be made."""
    with st.status("Creating the sample project", expanded=True) as status:
        try:
            project = streams.create_sample_project(ctx.ws, by=ctx.actor, now=ctx.now)
            st.caption(f"{project.rows:,} rows stored; starting the live run")
            live.start_live(ctx.ws, project, by=ctx.actor, now=ctx.now)
        except ContinualError as error:
            status.update(label="It could not be created", state="error")
            ui.error_box(error)
            return None
        workers.see_to_worker(ctx.ws, ctx.now)
        status.update(label="Ready", state="complete")
    return project
