"""Watch it learn: a sample played batch by batch through the real loop, by a worker, whoever looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import streamlit as st

from core import plots, ui, words
from core.data.synthetic import DRIFT_KINDS, DRIFT_SHAPES
from core.errors import ContinualError
from core.learning.policy import POLICIES
from core.records import RACED, SERVING, CycleReport, ProjectInfo
from core.services.automation import jobs, live
from core.services.automation.live import SPEEDS, LiveInfo
from core.services.monitoring import monitoring
from core.services.projects import streams
from core.text import vocabulary

SHOWN = {"playing": "Playing", "paused": "Paused", "stopped": "Stopped", "done": "All rows played", "failed": "Failed"}
FEED = 40
TASKS = {"classes": "binary", "values": "regression"}
STREAMS = {
    "insects": "Insects, six kinds (real)",
    "classes": "Generated, two classes",
    "values": "Generated, a value to predict",
}
DRIFTS = {
    "none": "No drift",
    "mean_shift": "Features move",
    "scale": "Features spread",
    "label_flip": "Labels turn round",
    "concept_rotation": "The rule turns",
}


def controls(ctx: ui.Context, project: ProjectInfo, run: LiveInfo | None) -> None:
    """Speed, play, pause, stop: they change the stored run, in every tab alike."""
    closed = not ctx.may("operator")
    ended = run is None or run.status in ("stopped", "done", "failed")
    names = list(SPEEDS)
    current = next((n for n in names if run is not None and SPEEDS[n] == run.seconds_per_batch), "normal")
    speed = st.segmented_control(
        "Speed",
        names,
        default=current,
        required=True,
        key="speed",
        format_func=str.capitalize,
        label_visibility="collapsed",
        disabled=closed,
    )
    if run is not None and not ended and speed != current:
        live.set_live_speed(ctx.ws, run.id, SPEEDS[speed], now=datetime.now(UTC))
        wake(ctx)
    help = ctx.why_not("operator")
    if ended:
        if st.button(
            "Play",
            type="primary",
            icon=":material/play_arrow:",
            disabled=closed or (run is not None and run.status == "done"),
            help=help,
        ):
            live.start_live(ctx.ws, project, by=ctx.actor, now=datetime.now(UTC), seconds_per_batch=SPEEDS[speed])
            wake(ctx)
            st.rerun()
        return
    assert run is not None
    playing = run.status == "playing"
    if st.button(
        "Pause" if playing else "Play",
        type="primary",
        icon=":material/pause:" if playing else ":material/play_arrow:",
        disabled=closed,
        help=help,
    ):
        live.set_live_status(ctx.ws, run.id, "paused" if playing else "playing", by=ctx.actor, now=datetime.now(UTC))
        wake(ctx)
        st.rerun()
    if st.button("Stop", icon=":material/stop:", disabled=closed, help=help or "The rows that are stored stay."):
        live.set_live_status(ctx.ws, run.id, "stopped", by=ctx.actor, now=datetime.now(UTC))
        st.rerun()


def another(ctx: ui.Context) -> None:
    """Another stream, drift and policy: a project of its own, playing at once."""
    with st.form("another", border=False), ui.grid(columns=3):
        stream = st.selectbox("Stream", list(STREAMS), format_func=lambda k: STREAMS[k], key="n-stream")
        drift = st.selectbox(
            "Drift", ["none", *DRIFT_KINDS], index=4, format_func=lambda k: DRIFTS[k], key="n-drift",
            help="Of generated rows only: what happens in the samples is what happened.",
        )  # fmt: skip
        shape = st.selectbox("How it comes", list(DRIFT_SHAPES), format_func=str.capitalize, key="n-shape")
        size = st.slider(
            "Size", 0.1, 3.0, 1.0, 0.1, key="n-size",
            help="Standard deviations, or right angles that the rule turns; at most 1 counts for turned labels.",
        )  # fmt: skip
        policy = st.selectbox("Policy", list(POLICIES), index=list(POLICIES).index("balanced"), key="n-policy")
        sent = st.form_submit_button(
            "Create and play", type="primary", icon=":material/play_circle:", disabled=not ctx.may("operator"),
            help=ctx.why_not("operator"),
        )  # fmt: skip
    if not sent:
        return
    described = described_stream(stream, drift, shape, size)
    label = DRIFTS[drift] if stream in TASKS else STREAMS[stream]
    now = datetime.now(UTC)
    try:
        with st.status("Creating the project") as status:
            name = (
                f"{label}, {shape}, {policy} {now:%d %b %H%M%S}"
                if stream in TASKS
                else f"{label}, {policy} {now:%d %b %H%M%S}"
            )
            project = streams.create_stream_project(ctx.ws, described, name=name, policy=policy, by=ctx.actor, now=now)
            live.start_live(ctx.ws, project, by=ctx.actor, now=now)
            status.update(label="Ready", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        return
    wake(ctx)
    ui.choose_project(project.slug)
    st.rerun()


def described_stream(stream: str, drift: str, shape: str, size: float) -> dict[str, Any]:
    """The choices as a project remembers them."""
    if stream not in TASKS:
        return {"sample": stream}
    change = None
    if drift != "none":
        change = {"kind": drift, "shape": shape, "size": min(size, 1.0) if drift == "label_flip" else size, "at": 0.35}
    return {"sample": streams.GENERATED, "stream": {"task": TASKS[stream], "seed": 7, "drift": change}}


def wake(ctx: ui.Context) -> None:
    """Without a scheduler somebody else has to start the worker."""
    if not jobs.scheduler_lives(ctx.ws, datetime.now(UTC)):
        jobs.start_worker(ctx.ws)


@st.fragment(run_every="2s")
def stage(ctx: ui.Context, project_id: int) -> None:
    """The part that changes: drawn anew every two seconds while a browser looks."""
    ui.gate_again(ctx)
    run = live.latest_live(ctx.ws, project_id)
    if run is None:
        return
    project = ctx.refreshed()
    metric = project.policy.metric
    reports, _ = monitoring.cycles(ctx.ws, project.id, limit=FEED)
    points = ui.measured(ctx, metric)
    never = ui.measured(ctx, metric, role="never")
    events = monitoring.events(ctx.ws, project.id)
    races = sum(e.kind in RACED for e in events)
    events = ui.charted(events)
    state = {"playing": "well", "paused": "unknown", "failed": "failed"}.get(run.status, "unknown")
    with ui.verdict(state, told(project, run, reports), word=SHOWN[run.status]):
        pass  # this verdict has no buttons
    st.progress(min(run.position / run.total, 1.0))
    figures(project, run, points, never, reports, events, races)
    left, right = st.columns((2.1, 1))
    with (
        left,
        ui.card(
            ui.course(points, events, project) if points else "The first champion is being trained",
            f"{words.metric_label(metric)} per batch of {run.batch_rows} rows, each predicted before its labels were used · dots: the first model, never retrained",
        ),
    ):
        if points:
            figure = plots.performance_over_time(
                ui.line(points),
                colors=ctx.colors,
                threshold=project.policy.threshold,
                events=events,
                never=ui.line(never),
                metric_label=words.metric_label(metric),
                zone=ctx.timezone,
                height=286,
                x="rows",
            )
            ui.chart(figure, key="live-chart", alt=ui.course_alt(points, metric))
        else:
            st.caption("The chart begins with the first batch after it.")
    with right, ui.card("What happens", "newest first"), st.container(height=286, border=False):
        feed(reports)


def told(project: ProjectInfo, run: LiveInfo, reports: list[CycleReport]) -> str:
    """The newest turn in a sentence."""
    if run.error:
        return f"**{'It waits' if run.status == 'playing' else 'It stopped'}: {words.plain(run.error)}**"
    place = f"{run.position:,} of {run.total:,} rows have arrived."
    if not reports or reports[0].evidence is None or reports[0].evidence.score is None:
        return f"{place} The loop trains the first champion on the first {project.rows:,}."
    newest = reports[0]
    evidence = newest.evidence
    assert evidence is not None
    _, sentence = ui.standing(
        _score_of(newest), project.policy.threshold, evidence.metric, least=project.policy.min_rows
    )
    after = vocabulary.outcome(newest.outcome).live.format(v=newest.champion_after)
    return " ".join(filter(None, (sentence, after, place)))


def _score_of(report: CycleReport) -> Any:
    from core.records import Score

    e = report.evidence
    assert e is not None
    return Score(metric=e.metric, value=e.score, low=e.score_low, high=e.score_high, n=e.score_n)


def figures(
    project: ProjectInfo, run: LiveInfo, points: Any, never: Any, reports: list[CycleReport], events: Any, races: int
) -> None:
    """Four tiles."""
    metric = project.policy.metric
    batches = -(-max(run.position - 1000, 0) // run.batch_rows)
    total = -(-(run.total - 1000) // run.batch_rows)
    with ui.tiles():
        ui.tile("Batch", f"{batches} of {total}", note=f"{run.position:,} rows")
        value = points[-1].value if points else None
        alone = never[-1].value if never else None
        gap = (
            f"{words.points(value - alone, metric)} by retraining"
            if value is not None and alone is not None
            else "not measured yet"
        )
        ui.tile(
            f"{words.metric_label(metric)} now",
            words.number(value),
            note=gap,
            help="Beside the first champion on the same rows; a class that its own rows did not hold it can never name.",
        )
        newest = next((r.evidence for r in reports if r.evidence and r.evidence.share_drifted is not None), None)
        ui.tile(
            "Features drifted",
            words.share(newest.share_drifted) if newest else words.ABSENT,
            note=f"{len(newest.drifted)} of {len(project.schema.names) if project.schema else 0}"
            if newest
            else "no check yet",
        )
        kinds = [e.kind for e in events]
        ui.tile(
            "Races",
            str(races),
            note=f"{max(kinds.count('promoted') - 1, 0)} promoted · {kinds.count('refreshed')} refreshed",
            help=f"{kinds.count('rolled_back')} rolled back; the first model is not counted as a promotion.",
        )


def feed(reports: list[CycleReport]) -> None:
    """One line a turn."""
    lines = []
    for r in reports:
        score = r.evidence.score if r.evidence else None
        figure = f"{words.number(score)}" if score is not None else "first race"
        said = vocabulary.outcome(r.outcome)
        version = f" v{r.champion_after}" if r.outcome in SERVING else ""
        why = words.plain(ui.sentence(r.verdict.reason) if r.verdict else r.reason)
        lines.append(f"{said.sign} **{figure} · {said.spoken}{version}**  \n:small[:gray[{why}]]")
    st.markdown("\n\n".join(lines) if lines else "Waiting for the first turn.")


def show(ctx: ui.Context) -> None:
    """The page itself."""
    if ctx.project is None:
        with ui.head_row("Live", "watch it learn"):
            pass  # this head has no buttons
        ui.empty(
            "Nothing to play yet.",
            "Choose a stream, what shall happen to it, and the policy that has to cope; it takes about two minutes.",
        )
        another(ctx)
        return
    project = ctx.project
    run = live.latest_live(ctx.ws, project.id)
    with ui.head_row("Live", words.plain(project.name)):
        if project.source == "sample":
            try:
                controls(ctx, project, run)
            except ContinualError as error:
                ui.error_box(error)
    if project.source != "sample":
        ui.empty(
            "This project was not made from a stream.",
            "Its own rows come by Data, API or command line; Home shows their course.",
            page="",
            action="Open Home",
        )
    elif run is None:
        ui.empty("Ready to play.", "Press Play: the rest of the sample arrives batch by batch through the real loop.")
    else:
        stage(ctx, project.id)
    with st.expander("Another stream, drift or policy", icon=":material/tune:"):
        another(ctx)


show(ui.start_page("Live", choose_project=True))
