"""What would another policy have done? Policies side by side over the stored history, replayed by a worker."""

from __future__ import annotations

from datetime import datetime, timedelta

import streamlit as st

from core import plots, ui
from core.learning.policy import POLICIES
from core.records import ProjectInfo
from core.services.automation import backtest_results, jobs
from core.services.automation.backtest_results import Backtest, Replayed
from core.services.automation.jobs import JobInfo

SPANS = {"whole history": None, "last 90 days": 90, "last 60 days": 60, "last 30 days": 30, "last 7 days": 7}


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The newest backtest, and the form for another one."""
    job = jobs.newest_backtest(ctx.ws, project.id)
    backtest = backtest_results.read(job.result) if job is not None and job.result else None
    with ui.card(
        ui.plain(_finding(backtest, project.policy.name)) if backtest else "What would another policy have done?",
        _caption(ctx, job, backtest)
        if job is not None and backtest
        else "Replays the stored history through the code of the live loop, one policy after another; nothing is changed",
    ):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            _offer_run(ctx, project)
        if backtest:
            left, right = st.columns([1.2, 1])
            with left:
                _show_chart(ctx, backtest)
            with right:
                _show_table(project, backtest)


def _offer_run(ctx: ui.Context, project: ProjectInfo) -> None:
    """The choice of policies and of a span, and the button."""
    others = [name for name in POLICIES if name not in (project.policy.name, "never")]
    chosen = st.multiselect(
        "This project's policy against",
        others,
        default=others[:1],
        key="b-policies",
        placeholder="never retraining only",
    )
    span = st.selectbox("Span", list(SPANS), key="b-span", width=150)
    if ui.button(ctx, "Run the backtest", icon=":material/history:", key="b-run"):
        policies = [project.policy, *(POLICIES[name] for name in chosen)]
        ui.follow_job(ctx, ui.request_backtest(ctx, policies, since=_since(project, SPANS[span])))
        st.rerun()


def _since(project: ProjectInfo, days: int | None) -> datetime | None:
    """The instant at which a span begins, counted back from the last check."""
    return None if days is None or project.checked_at is None else project.checked_at - timedelta(days=days)


def _finding(backtest: Backtest, name: str) -> str:
    """Which policy did best, and at what cost, in a sentence with its figures."""
    best = backtest.against_best(name)
    if best is None:
        return "No labelled rows to score a policy on"
    own, rival = best
    return f"{ui.metric_label(backtest.metric)} {_cost(own)}, {_cost(rival)}"


def _cost(p: Replayed) -> str:
    return f"{p.score:.3f} with “{p.name}” ({ui.counted(p.races, 'race')}, {ui.counted(p.fits, 'fit')})"


def _caption(ctx: ui.Context, job: JobInfo, backtest: Backtest) -> str:
    """What it covers, and when it was run."""
    when = f", run {ui.when(job.finished_at, ctx)}" if job.finished_at else ""
    return f"Over {ui.counted(backtest.turns, 'check')} with {ui.counted(backtest.rows, 'new row')}{when} · each row is scored with the prediction made before its label was known"


def _show_chart(ctx: ui.Context, backtest: Backtest) -> None:
    if not backtest.has_scored_turns():
        st.caption("No check of this history has labels to score.")
        return
    ui.chart(
        plots.policies_over_time(backtest.document["policies"], backtest.metric, colors=ctx.colors),
        key="backtest-chart",
        alt=f"{ui.metric_label(backtest.metric)} of {len(backtest.policies)} policies, check by check",
    )


def _show_table(project: ProjectInfo, backtest: Backtest) -> None:
    ui.table(
        [
            {
                "Policy": p.name,
                "Score": p.score,
                "Races": p.races,
                "Fits": p.fits,
                "Promoted": p.promotions,
                "Refreshed": p.refreshes,
                "Rolled back": p.rollbacks,
                "Seconds": p.seconds,
            }
            for p in backtest.policies
        ],
        {
            "Policy": st.column_config.TextColumn(width=90),
            "Score": st.column_config.NumberColumn(format="%.3f", width=60),
            "Races": st.column_config.NumberColumn(width=55),
            "Fits": st.column_config.NumberColumn(width=50),
            "Promoted": st.column_config.NumberColumn(width=75),
            "Refreshed": st.column_config.NumberColumn(width=75),
            "Rolled back": st.column_config.NumberColumn(width=85),
            "Seconds": st.column_config.NumberColumn(format="%.1f", width=70),
        },
        alt="Policies with score, races, fits and seconds",
    )
    ui.download_json("This backtest as JSON", f"{project.slug}-backtest.json", backtest.document, label="JSON")
