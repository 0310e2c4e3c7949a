"""What happened? What the loop did since the person's last visit."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st

from core import ui, words
from core.records import CycleReport, ProjectInfo
from core.services.monitoring import monitoring
from core.text import vocabulary

SHOWN_CYCLES = 12
CHART_FIRST_S = 0.8


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The newest cycles, each with a link to its evidence."""
    reports, total = monitoring.cycles(ctx.ws, project.id, limit=SHOWN_CYCLES)
    since = ctx.user.previous_visit_at
    new = [r for r in reports if since is None or r.started_at > since]
    with ui.card(
        "Since your last visit" if since else "What the loop did", f"{ui.when(since, ctx)}" if since else "newest first"
    ):
        if new:
            _let_chart_go_first()
            _show_table(ctx, project, new)
        else:
            st.caption(f"Nothing new. {words.counted(total, 'check')} in total.")


def _let_chart_go_first() -> None:
    """A table's script is a quarter of a megabyte: fetched at the same time it would delay the chart."""
    if not st.session_state.get("tables known"):
        st.session_state["tables known"] = True
        time.sleep(CHART_FIRST_S)


def _show_table(ctx: ui.Context, project: ProjectInfo, reports: Sequence[CycleReport]) -> None:
    ui.table(
        [_line(ctx, project, report) for report in reports],
        {
            "When": ui.moment(width=110),
            "What": st.column_config.TextColumn(width=150),
            "Detail": st.column_config.TextColumn(width="large"),
            "Champion": st.column_config.TextColumn(width=70),
            "By": st.column_config.TextColumn(width=80),
            "": st.column_config.LinkColumn(display_text="open", width=50),
        },
        alt=f"{len(reports)} checks with their outcomes",
    )


def _line(ctx: ui.Context, project: ProjectInfo, report: CycleReport) -> dict[str, object]:
    return {
        "When": words.wall(report.started_at, ctx.zone),
        "What": vocabulary.outcome(report.outcome).line,
        "Detail": ui.sentence(report.verdict.reason if report.verdict else report.reason) or report.error,
        "Champion": f"v{report.champion_after}" if report.champion_after else None,
        "By": report.by or report.cause,
        "": f"/automation?project={project.slug}&cycle={report.id}",
    }
