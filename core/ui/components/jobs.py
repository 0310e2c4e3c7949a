"""Work that takes time: a page requests it, a worker does it, and the page follows it for a while."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from core.records import Policy
from core.services.automation import jobs, workers
from core.ui.context import Context
from core.words import plain, seconds

FOLLOW_S = 300.0
POLL_S = 0.3


def request_cycle(ctx: Context, *, force: bool) -> str:
    """Request a cycle of the page's project and make sure that a worker runs; returns the job."""
    assert ctx.project is not None
    job = jobs.request_cycle(ctx.ws, ctx.project.id, cause="button", force=force, by=ctx.actor, now=ctx.now)
    workers.ensure_worker_runs(ctx.ws, ctx.now)
    return job


def request_backtest(ctx: Context, policies: Sequence[Policy], *, since: datetime | None) -> str:
    """Request a backtest of policies on the page's project; returns the job."""
    assert ctx.project is not None
    job = jobs.request_backtest(ctx.ws, ctx.project.id, policies, since=since, by=ctx.actor, now=ctx.now)
    workers.ensure_worker_runs(ctx.ws, ctx.now)
    return job


def follow_job(ctx: Context, job: str) -> jobs.JobInfo:
    """Show a job until it ends, or for five minutes: it continues without the page."""
    began = time.monotonic()
    with st.status("Waiting for a worker", expanded=True) as status:
        line = st.empty()
        while True:
            info = jobs.get_job(ctx.ws, job)
            spent = time.monotonic() - began
            if info.status in ("done", "failed"):
                break
            stage = (
                "Waiting for a worker" if info.status == "queued" else (info.stage or "Measuring, racing, comparing")
            )
            line.progress(min(max(info.share or 0.0, 0.0), 1.0), text=f"{plain(stage)}, {seconds(spent)}")
            status.update(label=plain(stage))
            if spent > FOLLOW_S:
                status.update(label="Still running: follow it on the Automation page", state="running")
                return info
            time.sleep(POLL_S)
        if info.status == "failed":
            status.update(label="Failed", state="error")
            line.error(plain(info.error or "See the log."), icon=":material/error:")
        else:
            result = info.result or {}
            status.update(
                label=f"{str(result.get('outcome', 'done')).replace('_', ' ').capitalize()} after {seconds(spent)}",
                state="complete",
                expanded=False,
            )
            line.caption(plain(result.get("reason", "")))
    return info
