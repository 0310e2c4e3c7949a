"""Replays the stored evidence through the stored policy: the same decision, or not."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import CycleReport
from core.services.monitoring import monitoring


def show(ctx: ui.Context, cycle: CycleReport) -> None:
    """The button for it, and the result; nothing where there is no evidence."""
    if cycle.evidence is None:
        return
    if not ui.pressed(
        "Replay this decision",
        icon=":material/replay:",
        key=f"replay-{cycle.id}",
        help="Runs the stored evidence through the stored policy again.",
    ):
        return
    replayed = ui.attempt(lambda: monitoring.replay_decision(ctx.ws, cycle.id))
    if replayed is None:
        return
    stored, again, same = replayed
    if same:
        st.success(
            f"Same: {ui.counted(len(again.firings), 'trigger')} fired, decision “{again.action}”.",
            icon=":material/check_circle:",
        )
    else:
        st.error(
            f"Not the same: stored “{stored.action}” with {len(stored.firings)} triggers, replayed “{again.action}” with {len(again.firings)}. The rules have changed since.",
            icon=":material/error:",
        )
