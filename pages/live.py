"""Watch it learn: a sample played batch by batch through the real loop, by a worker, whether or not a page is open."""

from __future__ import annotations

from core import ui
from core.services.automation import live
from core.ui.views.live import another, head, stage

ctx = ui.start_page("Live", choose_project=True)
project = ctx.project
if project is None:
    head.no_project()
    another.show(ctx)
else:
    run = live.latest_live(ctx.ws, project.id)
    head.show(ctx, project, run)
    if project.source != head.SAMPLE or run is None:
        head.nothing_plays(project)
    else:
        stage.show(ctx, project.id)
    another.show_folded(ctx)
