"""Speed, play, pause, stop: they change the stored run, in every tab alike."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.services.automation import live, workers
from core.services.automation.live import SPEEDS, LiveInfo

NORMAL = "normal"


def show(ctx: ui.Context, project: ProjectInfo, run: LiveInfo | None) -> None:
    """The controls of the newest run; an error is shown in place."""
    ui.attempt(lambda: _show(ctx, project, run))


def _show(ctx: ui.Context, project: ProjectInfo, run: LiveInfo | None) -> None:
    speed = _show_speed(ctx, run)
    if run is None or run.ended:
        _offer_start(ctx, project, run, speed)
    else:
        _offer_pause(ctx, run)
        _offer_stop(ctx, run)


def _show_speed(ctx: ui.Context, run: LiveInfo | None) -> str:
    """The chosen speed, stored where it differs from the run's."""
    names = list(SPEEDS)
    current = next((n for n in names if run is not None and SPEEDS[n] == run.seconds_per_batch), NORMAL)
    speed = st.segmented_control(
        "Speed",
        names,
        default=current,
        required=True,
        key="speed",
        format_func=str.capitalize,
        label_visibility="collapsed",
        disabled=not ctx.may("operator"),
    )
    if run is not None and not run.ended and speed != current:
        live.set_live_speed(ctx.ws, run.id, SPEEDS[speed], now=ctx.now)
        workers.ensure_worker_runs(ctx.ws, ctx.now)
    return speed


def _offer_start(ctx: ui.Context, project: ProjectInfo, run: LiveInfo | None, speed: str) -> None:
    """Play from where the rows end; disabled once all of them were played."""
    over = run is not None and run.status == "done"
    if ui.button(ctx, "Play", type="primary", icon=":material/play_arrow:", closed=over):
        live.start_live(ctx.ws, project, by=ctx.actor, now=ctx.now, seconds_per_batch=SPEEDS[speed])
        workers.ensure_worker_runs(ctx.ws, ctx.now)
        st.rerun()


def _offer_pause(ctx: ui.Context, run: LiveInfo) -> None:
    playing = run.status == "playing"
    label, icon = ("Pause", ":material/pause:") if playing else ("Play", ":material/play_arrow:")
    if ui.button(ctx, label, type="primary", icon=icon):
        live.set_live_status(ctx.ws, run.id, "paused" if playing else "playing", by=ctx.actor, now=ctx.now)
        workers.ensure_worker_runs(ctx.ws, ctx.now)
        st.rerun()


def _offer_stop(ctx: ui.Context, run: LiveInfo) -> None:
    if ui.button(ctx, "Stop", icon=":material/stop:", help="Stored rows are kept."):
        live.set_live_status(ctx.ws, run.id, "stopped", by=ctx.actor, now=ctx.now)
        st.rerun()
