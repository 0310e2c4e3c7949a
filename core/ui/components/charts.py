"""Charts on a page, and a metric's history: read, thinned for drawing, and summarised in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from core import words
from core.plots import Point, performance_finding, points_of
from core.plots.theme import thin
from core.records import EventKind, ProjectInfo
from core.services.monitoring import monitoring
from core.ui.context import Context
from core.ui.shared import workspace
from core.words import metric_label

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from core.services.monitoring.monitoring import LoopEvent


LINE_POINTS = 300  # of a line on a chart: more than two a pixel column are sent and drawn, but not seen


def chart(figure: go.Figure, *, key: str, alt: str) -> None:
    """A plotly figure without its toolbar; `alt` gives screen readers the figures."""
    st.plotly_chart(figure, key=key, theme=None, width="stretch", config={"displayModeBar": False}, alt=alt)


@st.cache_data(ttl=3600, max_entries=64, show_spinner=False)
def _measured(home: str, project_id: int, role: str, metric: str, newest: tuple[Any, ...]) -> list[Point]:
    """Keyed by the state folder and the newest measurement: stored ones never change."""
    return points_of(monitoring.performance_history(workspace(), project_id, role=role), metric)


def measured(ctx: Context, metric: str, *, role: str = "champion") -> list[Point]:
    """The whole history of a metric of the page's project; read again only after another measurement.

    Args:
        role: champion, or never (the first champion, never retrained, on the same rows).
    """
    assert ctx.project is not None
    last = monitoring.performance_history(ctx.ws, ctx.project.id, role=role, limit=1)
    if not last:
        return []
    newest = (last[0].cycle_id, last[0].batch_id, last[0].rows_seen, last[0].n)
    return _measured(str(ctx.ws.settings.home_path), ctx.project.id, role, metric, newest)


def line(score_points: Sequence[Point]) -> list[Point]:
    """What a chart draws of a history: every dip and peak, at most LINE_POINTS. Findings use all points."""
    return [score_points[i] for i in thin([p.value for p in score_points], LINE_POINTS)]


def score_finding(score_points: Sequence[Any], events: Sequence[Any], project: ProjectInfo) -> str:
    """The heading of a performance chart."""
    metric = project.policy.metric
    return performance_finding(
        score_points,
        events,
        project.policy.threshold,
        metric=metric,
    )


def score_alt(score_points: Sequence[Any], metric: str) -> str:
    """The figures of a performance chart for screen readers."""
    known = [p.value for p in score_points if p.value is not None]
    if not known:
        return f"{metric_label(metric)}: no measurements"
    return f"{metric_label(metric)} per batch: {len(known)} points, first {words.number(known[0])}, lowest {words.number(min(known))}, last {words.number(known[-1])}"


def charted(events: Sequence[LoopEvent]) -> list[LoopEvent]:
    """The events that belong on a chart: races whose challenger was rejected are in the lists alone."""
    return [event for event in events if event.kind != EventKind.RETRAIN]
