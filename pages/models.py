"""Which version serves, which served then, where does it come from, what does it remember, is another one better?

Promotions, rollbacks and shadow runs by hand, with a reason.
"""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.services.models import versions
from core.ui.views.models import compare, import_model, memory, serving, shadow, shelf, verdict, version


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The parts of the page, from the serving version to an imported one."""
    held = versions.registered(ctx.ws, project)
    with ui.head_row("Models", ui.counted(len(held.versions), "version") if held.versions else "none yet"):
        pass  # this head has no buttons
    if not held.versions:
        serving.show_nothing_yet()
        import_model.show(ctx, project)
        return
    serving.show(ctx, project, held)
    shadow.show(ctx, project, held)
    serving.show_timeline(ctx, held)
    left, right = st.columns([1.5, 1])
    with left:
        chosen = shelf.show(ctx, project, held.versions)
    with right:
        if chosen is not None:
            version.show(ctx, project, held, chosen)
    left, right = st.columns(2)
    with left:
        if chosen is not None:
            verdict.show(ctx, project, chosen)
    with right:
        memory.show(ctx, project)
    compare.show(ctx, project, held)
    import_model.show(ctx, project)


context = ui.start_page("Models", choose_project=True)
if context.project is None:
    ui.no_project()
else:
    show(context, context.project)
