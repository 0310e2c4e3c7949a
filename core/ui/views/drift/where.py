"""Where performance is weak: the segment that changed most, and the weakest segments of the newest labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import ui, words
from core.performance.segments import Slice
from core.records import DriftReport, ProjectInfo
from core.services.monitoring import window_report


def show(ctx: ui.Context, project: ProjectInfo, report: DriftReport) -> None:
    """The segments with the weakest score, below the one that changed."""
    slices = window_report.weakest(ctx.ws, project)
    with ui.card(
        words.plain(_finding(report)), "Below: segments with the weakest score among the newest labelled rows"
    ):
        if slices is None:
            st.caption("No labelled rows with predictions yet.")
            return
        if not slices:
            st.caption("No segment of 50 rows or more stands out.")
            return
        _show_table(slices, points=project.task != "regression")
        st.page_link(ui.page_path("train"), label="Start a race on the newest rows", icon=":material/model_training:")


def _finding(report: DriftReport) -> str:
    segment = report.segment
    if segment is None:
        return "Weakest segments"
    return f"{segment.rule}: {words.share(segment.before)} → {words.share(segment.after)} of rows"


def _show_table(slices: Sequence[Slice], *, points: bool) -> None:
    """One line per segment.

    Args:
        points: the difference in percentage points.
    """
    ui.table(
        [
            {
                "Segment": s.name,
                "Rows": s.n,
                "Score": s.score,
                "vs. all rows": s.difference * (100 if points else 1),
            }
            for s in slices
        ],
        {
            "Segment": st.column_config.TextColumn(width=250),
            "Score": st.column_config.NumberColumn(format="%.3f", width=58),
            "Rows": ui.whole(width=50),
            "vs. all rows": st.column_config.NumberColumn(
                format="%+.1f", width=70, help="Percentage points; for regression, difference of the mean error"
            ),
        },
        alt="The weakest segments with rows, score and difference",
    )
