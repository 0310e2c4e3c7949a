"""What the champion remembers: the matrix of forgetting of the newest cycle that looked."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.plots.memory import memory_alt, memory_finding, memory_matrix
from core.records import ProjectInfo
from core.services.models import lineage
from core.services.models.lineage import Remembered


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The matrix, or why there is none yet."""
    found = lineage.newest_memory(ctx.ws, project)
    if found is None:
        _show_nothing_yet(project)
        return
    memory = found.memory
    with ui.card(memory_finding(memory), _about(found)):
        ui.chart(memory_matrix(memory, colors=ctx.colors), key="memory", alt=memory_alt(memory))
        sign = "error then minus now" if memory.metric == "mae" else "now minus then"
        st.caption(
            f"Backward transfer (BWT) is the mean of {sign} over the past regimes: below 0 something was forgotten. "
            "That is no fault as long as the past does not come back."
        )


def _show_nothing_yet(project: ProjectInfo) -> None:
    with ui.card(
        "What it remembers: nothing to show yet",
        "Scores on a few rows of every regime that nothing ever learns from",
    ):
        st.markdown(
            "The policy's gate is none: it holds no rows back, so none are set aside for this either."
            if project.policy.gate == "none"
            else "Rows are set aside from the batches after the first model; the matrix comes with the next race."
        )


def _about(found: Remembered) -> str:
    """What is measured, on which rows, by whom."""
    error = found.memory.metric == "mae"
    what = "Mean absolute error in spreads of the target (lower is better)" if error else "Accuracy"
    now = f"v{found.version}" if found.version else "the champion"
    return (
        f"What it remembers: {what} on {ui.counted(found.rows, 'frozen row')} of "
        f"{ui.counted(len(found.memory.regimes), 'regime')}, from which nothing ever learns · cycle {found.cycle_id}, "
        f"{now} as now · framed: when that regime ended"
    )
