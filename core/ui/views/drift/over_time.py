"""How far each feature is from its reference, batch by batch, and the evidence accumulated over the batches."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import plots, words
from core.plots.timeline import Shown
from core.records import ProjectInfo
from core.services.monitoring import monitoring, reports, windows
from core.ui.components.cards import card
from core.ui.components.charts import chart, charted
from core.ui.context import Context


def show(ctx: Context, project: ProjectInfo, history: windows.DriftHistory) -> None:
    """Effects over the batches, against the reference and against the batch before, and the accumulated evidence."""
    events = charted(monitoring.events(ctx.ws, project.id))
    left, right = st.columns(2)
    with left:
        n = sum(bool(c.alarms and c.alarms[-1]) for c in history.trends)
        finding = (
            f"{words.counted(n, 'feature')} drifted in the newest batch"
            if n
            else "All features are steady in the newest batch"
        )
        caption = f"Effect per batch against {words.plain(history.reference.description)}; the reference changes with each champion"
        with card(finding, caption):
            _draw(ctx, project, history, "against_reference", events)
    with right, card("Against the batch before", "A sudden change shows as a peak; gradual drift hardly shows"):
        _draw(ctx, project, history, "against_previous", events)
    moved = [c.name for c in history.trends if c.moved]
    finding = (
        f"{words.counted(len(moved), 'feature')} drifted from the reference over all batches together"
        if moved
        else "No feature has drifted over all batches together"
    )
    with card(finding, words.plain(reports.evidence_in_words())):
        _draw(ctx, project, history, "evidence", events)


def _draw(ctx: Context, project: ProjectInfo, history: windows.DriftHistory, shown: Shown, events: Any) -> None:
    """One line per feature over the batches."""
    series = plots.trend_series([b.at for b in history.batches], history.trends, shown)
    if not any(v is not None for s in series for v in s.effects):
        single = "One batch is not enough to compare."
        st.caption(single if shown == "against_previous" else "No batch after the reference could be tested yet.")
        return
    if shown == "evidence":
        figure = plots.evidence_over_time(series, reports.NEEDED, events, colors=ctx.colors, zone=ctx.timezone)
    else:
        gate = project.policy.drift_gate
        figure = plots.effect_over_time(series, gate, events, colors=ctx.colors, zone=ctx.timezone)
    chart(figure, key=f"trend-{shown}", alt=f"{len(history.batches)} batches, {shown.replace('_', ' ')}")
