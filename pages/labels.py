"""Which rows should be labelled next, and what do the labels say about all rows? Rows sampled with known probabilities."""

from __future__ import annotations

from core import ui
from core.records import ProjectInfo
from core.services.ingestion import label_queue
from core.ui.views.labels import head, queue, request, summary


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The parts of the page, from the measured score to requesting more labels."""
    rows, result = label_queue.open_requests(ctx.ws, project), label_queue.estimated_scores(ctx.ws, project)
    head.show(len(rows))
    summary.show(project, rows, result)
    if rows:
        queue.show(ctx, project, rows)
    elif not result.requested:
        head.nothing_requested()
    request.show(ctx, project, len(rows))


context = ui.start_page("Labels", choose_project=True)
if context.project is None:
    ui.no_project()
elif context.project.champion is None:
    head.no_champion()
else:
    show(context, context.project)
