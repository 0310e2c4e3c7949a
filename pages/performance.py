"""How good is it, how sure are we, and where is it bad?"""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.ui.views.performance import details, head, history, labels, measurements, reading, summary


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The parts of the page, from the summary to the figures."""
    measured = reading.history(ctx, project)
    choice = head.show(project, measured=bool(measured.points))
    arrival = reading.arrival(ctx, project, measured.due)
    if not measured.points:
        head.nothing_yet(project, choice.metric)
        if arrival.due:
            labels.show(ctx, arrival, measured.due)
        return
    seen = reading.window(ctx, project, measured, choice)
    summary.show(project, seen)
    history.show(ctx, project, seen)
    if seen.window_report is not None:
        details.show(ctx, project, seen.window_report)
    if not arrival.takes_time:
        measurements.show(ctx, project, seen)
        return
    left, right = st.columns((1, 1.6))
    with left:
        labels.show(ctx, arrival, measured.due)
    with right:
        measurements.show(ctx, project, seen)


context = ui.start_page("Performance", choose_project=True)
if context.project is None:
    head.no_project()
else:
    show(context, context.project)
