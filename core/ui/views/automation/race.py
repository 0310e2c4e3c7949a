"""The candidates of a cycle's race, and whether the winner was accepted."""

from __future__ import annotations

import streamlit as st

from core import plots, ui
from core.records import CycleReport
from core.text import vocabulary
from core.text.reasons import sentence


def show(ctx: ui.Context, cycle: CycleReport) -> None:
    """Race and verdict side by side."""
    left, right = st.columns(2)
    with left:
        _show_race(ctx, cycle)
    with right:
        _show_verdict(ctx, cycle)


def _show_race(ctx: ui.Context, cycle: CycleReport) -> None:
    members = sum(1 for candidate in cycle.candidates if candidate.weight)
    with ui.card(
        f"Race: {members} of {ui.counted(len(cycle.candidates), 'candidate')} vote",
        f"{ui.metric_label(cycle.candidates[0].score.metric)} on the same newest rows · line: 95 % interval",
    ):
        ui.chart(
            plots.race(cycle.candidates, colors=ctx.colors),
            key=f"race-{cycle.id}",
            alt=f"Scores of {len(cycle.candidates)} candidates",
        )
        st.page_link(
            ui.page_path("train"),
            label="Open on Train",
            icon=":material/open_in_new:",
            query_params={"cycle": str(cycle.id)},
        )


def _show_verdict(ctx: ui.Context, cycle: CycleReport) -> None:
    comparison, verdict = cycle.comparison, cycle.verdict
    rows = comparison.rows_from if comparison is not None else None
    with ui.card(_finding(cycle), rows or "Clause by clause"):
        if comparison is not None and comparison.difference is not None:
            ui.chart(
                plots.comparison(comparison, colors=ctx.colors),
                key=f"comparison-{cycle.id}",
                alt=ui.interval_text(comparison.difference),
            )
        if verdict is not None:
            ui.clauses(verdict.clauses)
            if not verdict.clauses:
                st.markdown(ui.plain(sentence(verdict.reason)))


def _finding(cycle: CycleReport) -> str:
    """The outcome of the race."""
    if cycle.verdict is None:
        return "No verdict"
    serves = f", v{cycle.champion_after} serves" if cycle.champion_after else ""
    return f"Verdict: {vocabulary.outcome(cycle.outcome).short or 'nothing changed'}{serves}"
