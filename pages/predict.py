"""What does the model predict for this row, for this file? Every prediction comes from the champion and is logged with its version."""

from __future__ import annotations

from core import ui
from core.ui.views.predict import file, head, row

ctx = ui.start_page("Predict", choose_project=True)
project = ctx.project
if project is None:
    ui.no_project()
else:
    way = head.show(project)
    if project.champion is None or project.schema is None:
        head.no_champion()
    elif way == head.ROW:
        row.show(ctx, project, project.schema)
    else:
        file.show(ctx, project, project.schema)
