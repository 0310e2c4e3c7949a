"""The app's entry: sign-in, navigation, and the overview. Is it well? What happened? What needs me?"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from core import plots, ui, words
from core.errors import ContinualError
from core.records import ProjectInfo
from core.services.automation import jobs, live
from core.services.incidents import status
from core.services.monitoring import monitoring
from core.services.monitoring.monitoring import Overview
from core.services.projects import streams
from core.text import vocabulary

SHOWN_EVENTS = 12
CHART_FIRST_S = 0.8


def home() -> None:
    """The page itself."""
    ctx = ui.start_page("Home", choose_project=True)
    ui.note_storage(ctx)
    if ctx.project is None:
        welcome(ctx)
        return
    project = ctx.project
    seen = monitoring.overview(ctx.ws, project, ctx.now)
    with ui.head_row(project.name, checked_line(ctx, seen)):
        asked = st.button(
            "Check now",
            type="primary",
            icon=":material/autorenew:",
            disabled=not ctx.may("operator"),
            help=ctx.why_not("operator"),
        )
    if asked:
        ui.follow_job(ctx, ui.request_cycle(ctx, force=False))
        project = ctx.refreshed()
        seen = monitoring.overview(ctx.ws, project, datetime.now(UTC))
    above = st.container()
    left, right = st.columns((2.1, 1))
    with left:  # first of all: its script is the largest
        show_chart(ctx, project, seen)
    with above:
        show_verdict(project, seen)
        show_tiles(project, seen)
    with right:
        show_needs(seen)
    show_visit(ctx, project)


def welcome(ctx: ui.Context) -> None:
    """Nothing is stored yet: one button to the demonstration."""
    with ui.head_row("Welcome", "no project yet"):
        pass  # this head has no buttons
    with st.container(border=True):
        st.markdown(
            "**See it work on real data.** 24,150 flying insects of six kinds, told apart by an optical sensor while the temperature and the mix of kinds change."
        )
        st.markdown(
            "The first 1,000 rows train a champion; the others arrive batch by batch through the real loop. You will see accuracy fall, "
            "a retrain fire, a challenger win on rows that neither model has seen, and accuracy recover. It takes about two minutes."
        )
        pressed = st.button(
            "Create the sample project",
            type="primary",
            icon=":material/play_circle:",
            disabled=not ctx.may("operator"),
            help=ctx.why_not("operator"),
        )
        if pressed:
            create_sample(ctx)
    ui.empty(
        "Or begin with rows of your own.", "A CSV or Parquet file, or the generator.", page="data", action="Open Data"
    )


def create_sample(ctx: ui.Context) -> None:
    """Make the sample project, start its live run, and go and watch it."""
    with st.status("Creating the sample project", expanded=True) as status:
        try:
            project = streams.create_sample_project(ctx.ws, by=ctx.actor, now=datetime.now(UTC))
            st.caption(f"{project.rows:,} rows stored; starting the live run")
            live.start_live(ctx.ws, project, by=ctx.actor, now=datetime.now(UTC))
        except ContinualError as error:
            status.update(label="It could not be created", state="error")
            ui.error_box(error)
            return
        if not jobs.scheduler_lives(ctx.ws, datetime.now(UTC)):
            jobs.start_worker(ctx.ws)
        status.update(label="Ready", state="complete")
    ui.choose_project(project.slug)
    st.switch_page(ui.page_path("live"))


def checked_line(ctx: ui.Context, seen: Overview) -> str:
    """When it was last looked at, and when next."""
    age = seen.scheduler_age_s
    interval = ctx.ws.settings.check_interval_s
    if age is None:
        return "no scheduler has run here yet"
    if age < 0:
        return f"the scheduler's last heartbeat lies {words.seconds(-age)} in the future: check the clock"
    if status.is_late(age, interval):
        return f"the scheduler is silent for {words.seconds(age)}"
    return f"checked {words.seconds(age)} ago · next check in {words.seconds(max(interval - age, 0.0))}"


def show_verdict(project: ProjectInfo, seen: Overview) -> None:
    """One sentence: state, figure, what it rests on."""
    state, sentence = ui.standing(
        seen.score, project.policy.threshold, project.policy.metric, least=project.policy.min_rows
    )
    drift = seen.drift
    if drift is not None and drift.drifted:
        n = len(drift.drifted)
        sentence += f" {words.counted(n, 'feature')} of {len(drift.scores)} {'has' if n == 1 else 'have'} drifted against what v{project.champion} learnt from."
    if seen.last_cycle is not None and (done := vocabulary.outcome(seen.last_cycle.outcome).champion):
        sentence += f" v{seen.last_cycle.champion_after} {done} by the last check."
    if seen.champion is None:
        sentence = "**No model serves yet.** " + (
            "The first race starts with the next check." if project.labelled else "Store labelled rows first."
        )
    with ui.verdict(state, sentence):
        st.page_link(ui.page_path("performance"), label="Details", icon=":material/arrow_forward:")


def show_tiles(project: ProjectInfo, seen: Overview) -> None:
    """Four figures, each with what it rests on."""
    metric = project.policy.metric
    label = words.metric_label(metric)
    with ui.tiles():
        moved = None
        if seen.score and seen.before and seen.score.value is not None and seen.before.value is not None:
            moved = f"{words.points(seen.score.value - seen.before.value, metric)} since last batch"
        ui.tile(
            f"{label}, measured",
            words.score(seen.score),
            note=moved or "no labelled batch yet",
            help=f"On the newest labelled rows: {ui.interval_text(seen.score)}.",
        )
        gap = None
        if seen.score and seen.never and seen.score.value is not None and seen.never.value is not None:
            gap = f"{words.points(seen.score.value - seen.never.value, metric)} by retraining"
        ui.tile(
            f"{label}, never retrained",
            words.score(seen.never),
            note=gap or "no labelled batch yet",
            help="The first champion on the same rows. A class that its own rows did not hold it can never name.",
        )
        drift = seen.drift
        n = len(drift.drifted) if drift else None
        ui.tile(
            "Features drifted",
            f"{n} of {len(drift.scores)}" if drift else words.ABSENT,
            note="in the newest batch" if drift else "no drift check yet",
        )
        ui.tile("Labels still due", words.count(seen.labels_due), note=f"of {words.counted(project.rows, 'row')}")


def show_chart(ctx: ui.Context, project: ProjectInfo, seen: Overview) -> None:
    """Score per batch with threshold, events and the first model left to itself."""
    metric = project.policy.metric
    points = ui.measured(ctx, metric)
    if not points:
        ui.empty(
            "No measurement yet.",
            "The course of the score appears with the first labelled batch after the first model.",
            page="live" if project.source == "sample" else "data",
            action="Bring rows",
        )
        return
    never = ui.measured(ctx, metric, role="never")
    events = ui.charted(monitoring.events(ctx.ws, project.id))
    with ui.card(
        ui.course(points, events, project),
        f"{words.metric_label(metric)} per labelled batch · band: 95 % interval · ▲ promoted · ◆ drift found · green ticks: refreshed",
    ):
        figure = plots.performance_over_time(
            ui.line(points),
            colors=ctx.colors,
            threshold=project.policy.threshold,
            events=events,
            never=ui.line(never),
            metric_label=words.metric_label(metric),
            zone=ctx.timezone,
            height=250,
        )
        ui.chart(figure, key="home-chart", alt=ui.course_alt(points, metric))


def show_needs(seen: Overview) -> None:
    """What waits for a person."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"**Needs you** :gray-badge[{len(seen.needs)}]")
        if not seen.needs:
            st.caption("Nothing. It looks after itself.")
        for i, need in enumerate(seen.needs):
            with st.container(horizontal=True, vertical_alignment="center", key=f"need-{i}"):
                st.markdown(f"**{words.plain(need.text)}**  \n{words.plain(need.detail)}", width="stretch")
                st.page_link(ui.page_path(need.page), label="Open", icon=":material/arrow_forward:")


def show_visit(ctx: ui.Context, project: ProjectInfo) -> None:
    """What the loop did since the person was here last."""
    reports, total = monitoring.cycles(ctx.ws, project.id, limit=SHOWN_EVENTS)
    since = ctx.user.previous_visit_at
    new = [r for r in reports if since is None or r.started_at > since]
    with ui.card(
        "Since your last visit" if since else "What the loop did", f"{ui.when(since, ctx)}" if since else "newest first"
    ):
        if not new:
            st.caption(f"Nothing happened since. {words.counted(total, 'check')} with an audit row in all.")
            return
        if not st.session_state.get("tables known"):
            # A table's script is a quarter of a megabyte: fetched at the same time it would hold up the chart.
            st.session_state["tables known"] = True
            time.sleep(CHART_FIRST_S)
        rows: list[dict[str, Any]] = [
            {
                "When": words.wall(r.started_at, ctx.zone),
                "What": vocabulary.outcome(r.outcome).line,
                "Detail": (ui.sentence(r.verdict.reason) if r.verdict else r.reason) or r.error,
                "Champion": f"v{r.champion_after}" if r.champion_after else None,
                "By": r.by or r.cause,
                "": f"/automation?project={project.slug}&cycle={r.id}",
            }
            for r in new
        ]
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            placeholder=words.ABSENT,
            column_config={
                "When": st.column_config.DatetimeColumn(format="D MMM, HH:mm", width=110),
                "What": st.column_config.TextColumn(width=150),
                "Detail": st.column_config.TextColumn(width="large"),
                "Champion": st.column_config.TextColumn(width=70),
                "By": st.column_config.TextColumn(width=80),
                "": st.column_config.LinkColumn(display_text="open", width=50),
            },
        )


if __name__ == "__main__":
    ui.run_app(home)
