"""Who changed what outside the cycles, newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping

import streamlit as st

from core import ui, words
from core.services.access import audit_log
from core.services.access.audit_log import AuditInfo
from core.services.projects import inventory

PAGE_ROWS = 50


def show(ctx: ui.Context) -> None:
    """One page of the audit."""
    _, total = audit_log.audit_entries(ctx.ws, limit=0)
    with ui.card(f"{ui.counted(total, 'manual change')}, newest first", "Cycles have their own audit on Automation"):
        if not total:
            st.markdown("No manual changes yet.")
            return
        above = st.container()
        with st.container(horizontal=True, vertical_alignment="center"):
            page = ui.page_of(total, PAGE_ROWS, key="audit-page")
            st.space("stretch")
            entries, _ = audit_log.audit_entries(ctx.ws, limit=PAGE_ROWS, offset=(page - 1) * PAGE_ROWS)
            names = inventory.project_names(ctx.ws)
            rows = [_line(ctx, entry, names) for entry in entries]
            ui.download_table("This page of the audit as CSV", f"audit-{page}.csv", rows)
        with above:
            ui.table(
                rows,
                {
                    "When": st.column_config.DatetimeColumn(format="D MMM, HH:mm:ss"),
                    "Before": st.column_config.TextColumn(width="medium"),
                    "After": st.column_config.TextColumn(width="medium"),
                },
                alt=f"{len(rows)} of {total} changes",
                height="content" if len(rows) <= 12 else 430,
            )


def _line(ctx: ui.Context, entry: AuditInfo, names: Mapping[int, str]) -> dict[str, object]:
    """One change as a line of the table."""
    return {
        "When": words.wall(entry.at, ctx.zone),
        "Who": entry.who,
        "What": entry.what,
        "Project": (names.get(entry.project_id, "deleted") if entry.project_id else None),
        "Before": json.dumps(entry.before, ensure_ascii=False) if entry.before else None,
        "After": json.dumps(entry.after, ensure_ascii=False) if entry.after else None,
    }
