"""Every cycle in a table, page by page; the address carries the selected one."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import SERVING, CycleReport, ProjectInfo
from core.services.monitoring import monitoring
from core.services.projects import inventory
from core.text import vocabulary
from core.ui.views.automation.vocabulary import DECISIONS

PAGE_ROWS = 20


def show_nothing_yet() -> None:
    """The empty state."""
    ui.empty(
        "No cycle yet.",
        "Each check that finds new rows or labels adds a row here: evidence, decision and outcome.",
    )


def show(ctx: ui.Context, project: ProjectInfo, total: int) -> CycleReport | None:
    """One page of the audit; returns the selected cycle, by default the newest one."""
    asked = st.query_params.get("cycle", "")
    named = int(asked) if asked.isdecimal() else None
    at_page = inventory.cycle_page(ctx.ws, project.id, named, PAGE_ROWS) if named is not None else 1
    if at_page is None:
        st.warning(f"This project has no cycle {named}; the newest is shown.", icon=":material/help:")
    metric = ui.metric_label(project.policy.metric)
    with ui.card(
        f"{ui.counted(total, 'cycle')}, newest first",
        f"A check that finds nothing new adds no row · score: {metric} on the newly labelled rows · select a row for the reasons",
    ):
        above = st.container()
        with st.container(horizontal=True, vertical_alignment="center"):
            page = ui.page_of(total, PAGE_ROWS, key="page", first=at_page or 1)
            st.space("stretch")
            cycles, _ = monitoring.cycles(ctx.ws, project.id, limit=PAGE_ROWS, offset=(page - 1) * PAGE_ROWS)
            lines = [_line(ctx, cycle) for cycle in cycles]
            ui.download_table("This page of cycles as CSV", f"{project.slug}-cycles-{page}.csv", lines)
        ids = [cycle.id for cycle in cycles]
        at = ids.index(named) if named in ids else 0
        with above:
            _show_table(lines, ids, at, key=f"cycles-{project.id}-{page}", total=total)
    return cycles[at] if cycles else None


def _show_table(lines: list[dict[str, object]], ids: list[int], at: int, *, key: str, total: int) -> None:
    ui.pick(
        lines,
        {
            "Cycle": st.column_config.NumberColumn(width=60),
            "When": ui.moment(width=110),
            "Cause": st.column_config.TextColumn(width=80),
            "Rows": ui.whole(width=65),
            "Score": st.column_config.NumberColumn(format="%.3f", width=65),
            "Drifted": st.column_config.NumberColumn(format="%d %%", width=75, help="Share of the features"),
            "Decision": st.column_config.TextColumn(width=100),
            "Outcome": st.column_config.TextColumn(width=150),
            "Seconds": st.column_config.NumberColumn(format="%.1f", width=75),
        },
        key=key,
        alt=f"{len(lines)} of {total} cycles with cause, evidence, decision and outcome",
        height="content" if len(lines) <= 8 else 294,
        start=ui.Start(at, lambda chosen: _name_in_address(ids[chosen])),
    )


def _name_in_address(cycle_id: int) -> None:
    """So that a link shows the selected cycle again."""
    st.query_params["cycle"] = str(cycle_id)


def _line(ctx: ui.Context, cycle: CycleReport) -> dict[str, object]:
    """One cycle as a line of the table."""
    evidence = cycle.evidence
    version = f" v{cycle.champion_after}" if cycle.outcome in SERVING else ""
    outcome = vocabulary.outcome(cycle.outcome).short
    return {
        "Cycle": cycle.id,
        "When": words.wall(cycle.started_at, ctx.zone),
        "Cause": cycle.cause,
        "Rows": evidence.n_rows if evidence else None,
        "Score": evidence.score if evidence else None,
        "Drifted": None if evidence is None or evidence.share_drifted is None else round(100 * evidence.share_drifted),
        "Decision": "… Running" if cycle.status == "running" else DECISIONS.get(cycle.decision, cycle.decision) or None,
        "Outcome": outcome + version if outcome else None,
        "Seconds": cycle.seconds,
    }
