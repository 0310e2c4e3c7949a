"""The app's entry: sign-in, navigation, and the overview. Is all well? What happened? What needs attention?"""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.ui.views.home import head, history, needs, summary, tiles, visit, welcome


def home() -> None:
    """The page itself."""
    ctx = ui.start_page("Home", choose_project=True)
    ui.note_storage(ctx)
    if ctx.project is None:
        welcome.show(ctx)
    else:
        welcome.go_and_watch()
        overview(ctx, ctx.project)


def overview(ctx: ui.Context, project: ProjectInfo) -> None:
    """The parts of the page; the chart is drawn first of all: its script is the largest."""
    project, seen = head.show(ctx, project)
    above = st.container()
    left, right = st.columns((2.1, 1))
    with left:
        history.show(ctx, project)
    with above:
        summary.show(project, seen)
        tiles.show(project, seen)
    with right:
        needs.show(seen)
    visit.show(ctx, project)


if __name__ == "__main__":
    ui.run_app(home)
