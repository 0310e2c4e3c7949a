"""One turn of the loop, step by step: evidence, decision, and the race where there was one."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import CycleReport
from core.text.reasons import sentence
from core.ui.views.automation import evidence, race, replay
from core.ui.views.automation.vocabulary import CAUSES, trigger_words


def show(ctx: ui.Context, cycle: CycleReport) -> None:
    """Evidence and decision side by side; below them race and verdict."""
    if cycle.status == "failed":
        st.error(
            f"Cycle {cycle.id} failed: {ui.plain(cycle.error or 'no reason was stored')} Nothing was changed; the next check tries again.",
            icon=":material/error:",
        )
    left, right = st.columns(2)
    with left:
        _show_evidence(ctx, cycle)
    with right:
        _show_decision(ctx, cycle)
    if cycle.candidates:
        race.show(ctx, cycle)


def _show_evidence(ctx: ui.Context, cycle: CycleReport) -> None:
    requested_by = f", requested by {ui.plain(cycle.by)}" if cycle.by else ""
    with ui.card(
        f"Evidence of cycle {cycle.id}",
        f"{ui.when(cycle.started_at, ctx)}, triggered by {CAUSES.get(cycle.cause, cycle.cause)}{requested_by}",
    ):
        if cycle.evidence is None:
            st.markdown("It ended before there was any evidence.")
        else:
            ui.pairs(evidence.lines(cycle.evidence))


def _show_decision(ctx: ui.Context, cycle: CycleReport) -> None:
    with ui.card(
        f"Decision: {cycle.decision or 'none'}",
        f"{ui.counted(len(cycle.firings), 'trigger')} fired" if cycle.firings else "No trigger fired",
    ):
        for firing in cycle.firings:
            st.markdown(f":material/bolt: **{trigger_words(firing.trigger)}**: {ui.plain(sentence(firing.reason))}")
        if not cycle.firings:
            st.markdown(ui.plain(ui.sentence(cycle.reason)) or "No decision was made.")
        replay.show(ctx, cycle)
