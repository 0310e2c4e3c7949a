"""Score per batch with threshold, events and the first model, never retrained."""

from __future__ import annotations

from core import plots, ui, words
from core.records import ProjectInfo
from core.services.monitoring import monitoring


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The chart; before the first measurement, what to do for it."""
    policy = project.policy
    points = ui.measured(ctx, policy.metric)
    if not points:
        _nothing_yet(project)
        return
    never = ui.measured(ctx, policy.metric, role="never")
    events = ui.charted(monitoring.events(ctx.ws, project.id))
    label = words.metric_label(policy.metric)
    with ui.card(
        ui.score_finding(points, events, project),
        f"{label} per labelled batch · band: 95 % interval · ▲ promoted · ◆ drift detected · green ticks: refreshed",
    ):
        figure = plots.performance_over_time(
            plots.ScoreHistory(measured=ui.line(points), never=ui.line(never), metric_label=label),
            colors=ctx.colors,
            threshold=policy.threshold,
            events=events,
            axes=plots.Axes(zone=ctx.timezone, height=250),
        )
        ui.chart(figure, key="home-chart", alt=ui.score_alt(points, policy.metric))


def _nothing_yet(project: ProjectInfo) -> None:
    ui.empty(
        "No measurements yet.",
        "The score over time appears with the first labelled batch after the first model.",
        page="live" if project.source == "sample" else "data",
        action="Add rows",
    )
