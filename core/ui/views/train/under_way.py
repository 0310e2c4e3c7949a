"""A race that somebody else started, as it runs."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.services.automation import jobs


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """Its progress, where there is one."""
    if (job := jobs.running_cycle(ctx.ws, project.id)) is not None:
        _show_progress(ctx, job.id)


@st.fragment(run_every="1s")
def _show_progress(ctx: ui.Context, job_id: str) -> None:
    """How far it is; the page is rerun when it has ended."""
    ui.recheck_access(ctx)
    info = jobs.get_job(ctx.ws, job_id)
    if info.status not in ("queued", "running"):
        st.rerun()
    stage = "Waiting for a worker" if info.status == "queued" else (info.stage or "Measuring")
    requested = f", requested by {ui.plain(info.requested_by)}" if info.requested_by else ""
    st.progress(min(max(info.share or 0.0, 0.0), 1.0), text=f"**Running{requested}**: {ui.plain(stage)}")
