"""How far each feature is from its reference, batch by batch, and the evidence that the batches add up to."""

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


def show(ctx: Context, project: ProjectInfo, course: windows.DriftCourse) -> None:
    """Effects over the batches, against the reference and against the batch before, and the evidence that they add up to."""
    events = charted(monitoring.events(ctx.ws, project.id))
    left, right = st.columns(2)
    with left:
        n = sum(bool(c.alarms and c.alarms[-1]) for c in course.courses)
        finding = (
            f"{words.counted(n, 'feature')} above the gate in the newest batch"
            if n
            else "Every feature is steady in the newest batch"
        )
        caption = f"Effect a batch against {words.plain(course.reference.description)}; it moves with each champion"
        with card(finding, caption):
            _draw(ctx, project, course, "against_reference", events)
    with right, card("Against the batch before", "A step shows as a peak, a slow drift hardly at all"):
        _draw(ctx, project, course, "against_previous", events)
    moved = [c.name for c in course.courses if c.moved]
    finding = (
        f"{words.counted(len(moved), 'feature')} moved away from the reference, all batches taken together"
        if moved
        else "No feature has moved, all batches taken together"
    )
    with card(finding, words.plain(reports.evidence_in_words())):
        _draw(ctx, project, course, "evidence", events)


def _draw(ctx: Context, project: ProjectInfo, course: windows.DriftCourse, shown: Shown, events: Any) -> None:
    """One line a feature over the batches."""
    series = plots.course_series([b.at for b in course.batches], course.courses, shown)
    if not any(v is not None for s in series for v in s.effects):
        single = "One batch is not enough to compare."
        st.caption(single if shown == "against_previous" else "No batch after the reference could be judged yet.")
        return
    if shown == "evidence":
        figure = plots.evidence_over_time(series, reports.NEEDED, events, colors=ctx.colors, zone=ctx.timezone)
    else:
        gate = project.policy.drift_gate
        figure = plots.effect_over_time(series, gate, events, colors=ctx.colors, zone=ctx.timezone)
    chart(figure, key=f"course-{shown}", alt=f"{len(course.batches)} batches, {shown.replace('_', ' ')}")
