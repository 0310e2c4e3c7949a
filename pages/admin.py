"""Who may do what, who changed what? People, tokens, effective settings, the audit, the health of the installation."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.ui.views.admin import audit, health, people, settings, tokens

TABS = {"People": people, "Tokens": tokens, "Settings": settings, "Audit": audit, "Health": health}

ctx = ui.start_page("Admin", role="admin")
with ui.head_row("Admin", f"signed in as {ctx.user.name}"):
    pass  # this head has no buttons
for tab, drawn in zip(st.tabs(list(TABS), key="tab", bind="query-params"), TABS.values(), strict=True):
    if tab.open:
        with tab:
            drawn.show(ctx)
