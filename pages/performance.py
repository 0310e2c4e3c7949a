"""How good is it, how sure are we, and where is it bad?"""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.ui.views.performance import course, details, head, labels, measurements, reading, verdict


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The parts of the page, from the sentence to the figures."""
    told = reading.course(ctx, project)
    choice = head.show(project, measured=bool(told.history))
    arrival = reading.arrival(ctx, project, told.due)
    if not told.history:
        head.nothing_yet(project, choice.metric)
        if arrival.due:
            labels.show(ctx, arrival, told.due)
        return
    seen = reading.window(ctx, project, told, choice)
    verdict.show(project, seen)
    course.show(ctx, project, seen)
    if seen.found is not None:
        details.show(ctx, project, seen.found)
    if not arrival.takes_time:
        measurements.show(ctx, project, seen)
        return
    left, right = st.columns((1, 1.6))
    with left:
        labels.show(ctx, arrival, told.due)
    with right:
        measurements.show(ctx, project, seen)


context = ui.start_page("Performance", choose_project=True)
if context.project is None:
    head.no_project()
else:
    show(context, context.project)
