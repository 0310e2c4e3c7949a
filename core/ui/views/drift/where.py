"""Where it hurts: the segment that changed most, and where the newest labelled rows go wrong."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import ui, words
from core.performance.segments import Slice
from core.records import DriftReport, ProjectInfo
from core.services.monitoring import window_report


def show(ctx: ui.Context, project: ProjectInfo, report: DriftReport) -> None:
    """The segments with the weakest score, below the one that changed."""
    found = window_report.weakest(ctx.ws, project)
    with ui.card(
        words.plain(_finding(report)), "Below: segments with the weakest score among the newest labelled rows"
    ):
        if found is None:
            st.caption("No labelled row with a prediction yet.")
            return
        if not found:
            st.caption("No segment of 50 rows or more stands out.")
            return
        _show_table(found, points=project.task != "regression")
        st.page_link(ui.page_path("train"), label="Race on the newest rows", icon=":material/model_training:")


def _finding(report: DriftReport) -> str:
    segment = report.segment
    if segment is None:
        return "Where it hurts"
    return f"{segment.rule}: {words.share(segment.before)} → {words.share(segment.after)} of rows"


def _show_table(found: Sequence[Slice], *, points: bool) -> None:
    """One line a segment.

    Args:
        points: the difference in points of a hundred.
    """
    ui.table(
        [
            {
                "Segment": s.name,
                "Rows": s.n,
                "Score": s.score,
                "Against all": s.difference * (100 if points else 1),
            }
            for s in found
        ],
        {
            "Segment": st.column_config.TextColumn(width=250),
            "Score": st.column_config.NumberColumn(format="%.3f", width=58),
            "Rows": ui.whole(width=50),
            "Against all": st.column_config.NumberColumn(
                format="%+.1f", width=70, help="Points of a hundred; for regression the mean error"
            ),
        },
        alt="The weakest segments with rows, score and difference",
    )
