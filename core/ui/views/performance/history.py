"""The score over time with the events of the loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core import plots, ui, words
from core.plots import Point
from core.records import ProjectInfo
from core.services.monitoring import monitoring
from core.text import vocabulary
from core.text.reasons import sentence
from core.ui.views.performance.reading import Seen


def show(ctx: ui.Context, project: ProjectInfo, seen: Seen) -> None:
    """The chart; a sentence where the metric was never measured."""
    metric = seen.metric
    label = words.metric_label(metric)
    points = plots.points_of(seen.history, metric)
    if all(p.value is None for p in points):
        last = seen.history[-1].scores.get(metric)
        ui.empty(
            f"No history of {label} yet.",
            words.plain(sentence(last.reason)) if last else "It is measured with the next labelled batch.",
        )
        return
    events = monitoring.events(ctx.ws, project.id)
    threshold = project.policy.threshold if metric == project.policy.metric else None
    guessed = plots.estimated_points(seen.guesses, metric)
    first = _enough_for_a_line(plots.points_of(seen.never, metric))
    finding = plots.performance_finding(points, events, threshold, metric=metric)
    with ui.card(finding, _caption(label, guessed, first, kinds={event.kind for event in events})):
        figure = plots.performance_over_time(
            plots.ScoreHistory(
                measured=plots.light(ui.line(points)),
                estimated=plots.light(ui.line(guessed)),
                never=plots.light(ui.line(first)),
                metric_label=label,
            ),
            colors=ctx.colors,
            threshold=threshold,
            events=events,
            axes=plots.Axes(height=286, zone=ctx.timezone),
        )
        ui.chart(figure, key=f"history-{metric}", alt=ui.score_alt(points, metric))


def _enough_for_a_line(points: Sequence[Point]) -> Sequence[Point]:
    """The points, unless labels that arrived in parts left too few of them for a line."""
    return [] if 2 * sum(p.value is not None for p in points) < len(points) else points


def _caption(label: str, guessed: Sequence[Point], first: Sequence[Point], *, kinds: Iterable[str]) -> str:
    """What each line and sign of the chart means."""
    parts = [f"{label} per labelled batch", "band: 95 % interval"]
    if any(p.value is not None for p in guessed):
        parts.append(":violet[dashed: estimated without labels]")
    if first:
        parts.append("dots: the first model, never retrained")
    return " · ".join(parts + vocabulary.legend(kinds))
