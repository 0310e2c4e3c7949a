"""Which rows should be labelled next, and what do the labels say of all? Rows drawn with known chances, answered here."""

from __future__ import annotations

from core import ui
from core.records import ProjectInfo
from core.services.ingestion import label_queue
from core.ui.views.labels import asking, desk, head, summary


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The parts of the page, from what the answers say to asking for more."""
    rows, found = label_queue.open_asks(ctx.ws, project), label_queue.measured(ctx.ws, project)
    head.show(len(rows))
    summary.show(project, rows, found)
    if rows:
        desk.show(ctx, project, rows)
    elif not found.asked:
        head.nothing_asked()
    asking.show(ctx, project, len(rows))


context = ui.start_page("Labels", choose_project=True)
if context.project is None:
    ui.no_project()
elif context.project.champion is None:
    head.no_champion()
else:
    show(context, context.project)
