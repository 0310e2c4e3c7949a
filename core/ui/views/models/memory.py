"""How well the champion remembers past regimes: the newest matrix of forgetting."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.plots.memory import memory_alt, memory_finding, memory_matrix
from core.records import ProjectInfo
from core.services.models import lineage
from core.services.models.lineage import Remembered


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The matrix, or why there is none yet."""
    snapshot = lineage.newest_memory(ctx.ws, project)
    if snapshot is None:
        _show_nothing_yet(project)
        return
    memory = snapshot.memory
    with ui.card(memory_finding(memory), _about(snapshot)):
        ui.chart(memory_matrix(memory, colors=ctx.colors), key="memory", alt=memory_alt(memory))
        sign = "error then minus now" if memory.metric == "mae" else "now minus then"
        st.caption(
            f"Backward transfer (BWT) is the mean of {sign} over the past regimes: below 0 means forgetting. "
            "That is no problem unless an old regime returns."
        )


def _show_nothing_yet(project: ProjectInfo) -> None:
    with ui.card(
        "Memory of past regimes: nothing to show yet",
        "Scores on a few rows of every regime that are never used for training",
    ):
        st.markdown(
            "The policy has no gate: it holds out no rows, so there are none for this either."
            if project.policy.gate == "none"
            else "Rows are held out from the batches after the first model; the matrix appears with the next race."
        )


def _about(snapshot: Remembered) -> str:
    """What is measured, on which rows, for which version."""
    error = snapshot.memory.metric == "mae"
    what = "Mean absolute error in units of the target's spread (lower is better)" if error else "Accuracy"
    now = f"v{snapshot.version}" if snapshot.version else "the champion"
    return (
        f"Memory of past regimes: {what} on {ui.counted(snapshot.rows, 'frozen row')} of "
        f"{ui.counted(len(snapshot.memory.regimes), 'regime')}, never used for training · cycle {snapshot.cycle_id}, "
        f"now: {now} · framed: at the end of that regime"
    )
