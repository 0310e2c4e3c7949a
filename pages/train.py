"""Which candidate wins, and how? The newest race, its candidates on the same unseen rows, and the button that starts another."""

from __future__ import annotations

from core import ui
from core.ui.views.train import head, picker, race, under_way

ctx = ui.start_page("Train", choose_project=True)
project = ctx.project
if project is None:
    ui.no_project()
else:
    head.show(ctx, project)
    project = head.follow(ctx, project)
    under_way.show(ctx, project)
    shown = picker.show(ctx, project)
    if shown is None:
        head.nothing_yet(project)
    else:
        race.show(ctx, shown)
