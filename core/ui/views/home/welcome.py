"""The overview while nothing is stored yet: one button for the demonstration."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.errors import ContinualError
from core.services.automation import live, workers
from core.services.projects import streams

WATCH = "watch the sample"  # in the session: it was made, and its page has not been opened yet


def show(ctx: ui.Context) -> None:
    """What there is to see, the button, and a link for one's own data."""
    with ui.head_row("Welcome", "no project yet"):
        pass  # this head has no buttons
    with st.container(border=True):
        st.markdown(
            "**See it work on real data.** 24,150 flying insects of six kinds, classified from the readings of an optical sensor while the temperature and the mix of kinds change."
        )
        st.markdown(
            "The first 1,000 rows train a champion; the others arrive batch by batch through the real loop. You will see accuracy fall, "
            "a retraining start, a challenger win on rows that neither model has seen, and accuracy recover. It takes about two minutes."
        )
        if ui.button(ctx, "Create the sample project", type="primary", icon=":material/play_circle:"):
            _create_sample(ctx)
    ui.empty(
        "Or start with your own data.", "A CSV or Parquet file, or the generator.", page="data", action="Open Data"
    )


def _create_sample(ctx: ui.Context) -> None:
    """Make the sample project, start its live run, and go and watch it."""
    with ui.at_work("Creating the sample project", expanded=True) as status:
        try:
            # Nothing is drawn in between: another run, started by the browser meanwhile, would end this one half-way.
            project = streams.create_sample_project(ctx.ws, by=ctx.actor, now=ctx.now)
            live.start_live(ctx.ws, project, by=ctx.actor, now=ctx.now)
        except ContinualError as error:
            status.update(label="The sample project could not be created", state="error")
            ui.error_box(error)
            return
        workers.ensure_worker_runs(ctx.ws, ctx.now)
        ui.choose_project(project.slug)
        st.session_state[WATCH] = True
        status.update(label="Ready", state="complete")
    go_and_watch()


def go_and_watch() -> None:
    """Go to the page Live, where the sample has just been made: in this run, or in the one that took its place."""
    if st.session_state.pop(WATCH, False):
        st.switch_page(ui.page_path("live"))
