"""How many more labels are requested, and how many of them at random."""

from __future__ import annotations

import secrets

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.services.ingestion import label_queue

USUAL_ROWS = 50


def show(ctx: ui.Context, project: ProjectInfo, waiting: int) -> None:
    """The selection of rows, and the button to withdraw open requests."""
    with (
        ui.card(
            "Request more labels",
            "Prefers rows where the champion is least certain; the random share covers all rows, so the measured score is valid for all of them",
        ),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        n = st.number_input("Rows", 1, label_queue.MAX_REQUESTED, USUAL_ROWS, step=10, key="queue-n", width=130)
        share = st.slider("Random share", 0.1, 1.0, 0.3, 0.05, key="queue-share", width=260)
        if ui.button(ctx, "Select rows", icon=":material/casino:", key="queue-draw"):
            _select(ctx, project, int(n), share)
        if waiting and ui.button(
            ctx,
            "Withdraw open requests",
            icon=":material/undo:",
            key="queue-withdraw",
            help="Unanswered requests are withdrawn; stored labels are kept.",
        ):
            _withdraw(ctx, project)


def _select(ctx: ui.Context, project: ProjectInfo, n: int, share: float) -> None:
    seed = secrets.randbits(31)
    selected = ui.attempt(
        lambda: label_queue.request_labels(
            ctx.ws,
            project,
            label_queue.LabelRequest(n=n, random_share=share, seed=seed),
            by=ctx.actor,
            now=ctx.now,
        )
    )
    if selected is not None:
        ui.toast_next(f"{ui.counted(selected, 'row')} selected.", icon=":material/check_circle:")
        st.rerun()


def _withdraw(ctx: ui.Context, project: ProjectInfo) -> None:
    withdrawn = label_queue.withdraw_requests(ctx.ws, project, by=ctx.actor, now=ctx.now)
    ui.toast_next(f"{ui.counted(withdrawn, 'row')} withdrawn.", icon=":material/check_circle:")
    st.rerun()
