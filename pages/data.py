"""What data is there, and is it all right? Rows, batches and their warnings; new rows, labels and projects are added here."""

from __future__ import annotations

from core import ui
from core.ui.views.data import batches, label_changes, labels, new, rows, schema, stored, way

ctx = ui.start_page("Data", choose_project=True)
project = ctx.project
seen = way.head(project)
if project is None:
    way.no_project()
    new.show(ctx)
elif seen == "new":
    new.show(ctx)
elif seen == "rows":
    rows.show(ctx, project)
elif project.schema is None:
    way.no_rows()
    rows.show(ctx, project)
elif seen == "labels":
    labels.show(ctx, project)
    label_changes.show(ctx, project)
else:
    stored.show(ctx, project)
    batches.show(ctx, project)
    schema.show(project)
