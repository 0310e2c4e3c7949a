"""Which feature changed, how, since when, and does it matter?"""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.services.monitoring import monitoring
from core.ui.views.drift import feature, features, head, over_time, reading, summary, together, where


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The parts of the page, from the summary to the weakest segments."""
    newest = monitoring.latest_drift(ctx.ws, project.id)
    choice = head.show(ctx, project, newest[0] if newest else None)
    if newest is None:
        head.nothing_yet(project)
        return
    seen = reading.seen(ctx, project, newest[1], choice)
    summary.show(ctx, project, seen)
    left, right = st.columns((1.5, 1))
    with left:
        score = features.show(ctx, project, seen)
    with right:
        feature.show(ctx, seen, score)
    if seen.history is not None:
        over_time.show(ctx, project, seen.history)
    left, right = st.columns(2)
    with left:
        together.show(seen.report)
    with right:
        where.show(ctx, project, seen.report)


context = ui.start_page("Drift", choose_project=True)
if context.project is None:
    head.no_project()
else:
    show(context, context.project)
