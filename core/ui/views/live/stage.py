"""The part that changes: redrawn every two seconds while the page is open."""

from __future__ import annotations

import streamlit as st

from core import plots, ui, words
from core.services.automation import live
from core.ui.views.live import feed, figures, reading, summary
from core.ui.views.live.reading import Seen

HEIGHT = 286  # of chart and feed, side by side


@st.fragment(run_every="2s")
def show(ctx: ui.Context, project_id: int) -> None:
    """The newest run: summary, progress, figures, score over time and feed."""
    ui.recheck_access(ctx)
    run = live.latest_live(ctx.ws, project_id)
    if run is None:
        return
    seen = reading.seen(ctx, run)
    summary.show(seen)
    st.progress(run.share)
    figures.show(seen)
    left, right = st.columns((2.1, 1))
    with left:
        _show_score(ctx, seen)
    with right, ui.card("Events", "newest first"), st.container(height=HEIGHT, border=False):
        feed.show(seen.reports)


def _show_score(ctx: ui.Context, seen: Seen) -> None:
    """The score over the rows, with the first model, never retrained."""
    policy, points, events = seen.project.policy, seen.points, ui.charted(seen.events)
    label = words.metric_label(policy.metric)
    with ui.card(
        ui.score_finding(points, events, seen.project) if points else "The first champion is being trained",
        f"{label} per batch of {seen.run.batch_rows} rows, each predicted before its labels were used · dots: the first model, never retrained",
    ):
        if not points:
            st.caption("The chart starts with the first batch after that.")
            return
        figure = plots.performance_over_time(
            plots.ScoreHistory(measured=ui.line(points), never=ui.line(seen.never), metric_label=label),
            colors=ctx.colors,
            threshold=policy.threshold,
            events=events,
            axes=plots.Axes(zone=ctx.timezone, height=HEIGHT, x="rows"),
        )
        ui.chart(figure, key="live-chart", alt=ui.score_alt(points, policy.metric))
