"""How many more rows are asked for, and how many of them by chance alone."""

from __future__ import annotations

import secrets

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.services.ingestion import label_queue

USUAL_ROWS = 50


def show(ctx: ui.Context, project: ProjectInfo, waiting: int) -> None:
    """The draw, and the way to take back what waits."""
    with (
        ui.card(
            "Ask for more labels",
            "Rows on which the champion is least sure are preferred; the random share reaches every row, so that what is measured stands for all",
        ),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        n = st.number_input("Rows", 1, label_queue.MOST_ASKED, USUAL_ROWS, step=10, key="desk-n", width=130)
        share = st.slider("Random share", 0.1, 1.0, 0.3, 0.05, key="desk-share", width=260)
        if ui.button(ctx, "Draw", icon=":material/casino:", key="desk-draw"):
            _draw(ctx, project, int(n), share)
        if waiting and ui.button(
            ctx,
            "Withdraw those that wait",
            icon=":material/undo:",
            key="desk-withdraw",
            help="Their draws are taken back; labels that were given stay stored.",
        ):
            _withdraw(ctx, project)


def _draw(ctx: ui.Context, project: ProjectInfo, n: int, share: float) -> None:
    seed = secrets.randbits(31)
    drawn = ui.attempt(
        lambda: label_queue.ask(
            ctx.ws,
            project,
            label_queue.Asking(n=n, random_share=share, seed=seed),
            by=ctx.actor,
            now=ctx.now,
        )
    )
    if drawn is not None:
        ui.toast_next(f"{ui.counted(drawn, 'row')} drawn.", icon=":material/check_circle:")
        st.rerun()


def _withdraw(ctx: ui.Context, project: ProjectInfo) -> None:
    gone = label_queue.withdraw(ctx.ws, project, by=ctx.actor, now=ctx.now)
    ui.toast_next(f"{ui.counted(gone, 'row')} no longer asked for.", icon=":material/check_circle:")
    st.rerun()
