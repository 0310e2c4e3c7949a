"""Which candidate wins, and how? The newest race, its entrants on the same unseen rows, and the button that starts another."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import plots, ui
from core.records import LET_IN, Candidate, CycleReport, ProjectInfo
from core.services.automation import jobs
from core.services.projects import inventory
from core.text import vocabulary

RACES = 100  # how many earlier races the picker offers


def start_race(ctx: ui.Context, project: ProjectInfo) -> None:
    """The one action: ask for a cycle that races whatever the policy says."""
    ready = project.labelled > 0
    if st.button(
        "Start a race",
        type="primary",
        icon=":material/flag:",
        key="race",
        disabled=not (ready and ctx.may("operator")),
        help=ctx.why_not("operator"),
    ):
        st.session_state["job"] = ui.request_cycle(ctx, force=True)


@st.fragment(run_every="1s")
def running(ctx: ui.Context, job_id: str) -> None:
    """A race that somebody else started, as it runs; the page is drawn anew when it has ended."""
    ui.gate_again(ctx)
    info = jobs.get_job(ctx.ws, job_id)
    if info.status not in ("queued", "running"):
        st.rerun()
    said = "Waiting for a worker" if info.status == "queued" else (info.stage or "Measuring")
    asked = f", asked by {ui.plain(info.requested_by)}" if info.requested_by else ""
    st.progress(min(max(info.share or 0.0, 0.0), 1.0), text=f"**Under way{asked}**: {ui.plain(said)}")


def headline(race: CycleReport) -> tuple[str, str, str]:
    """State, its word and finding of a race, with the numbers that it rests on."""
    ran = [c for c in race.candidates if c.error is None]
    members = [c for c in ran if c.weight]
    best = best_of(race.candidates)
    metric = ui.metric_label(race.candidates[0].score.metric)
    alone = (
        f" Best alone: {ui.plain(best.name)}, {metric} {ui.score(best.score)}."
        if best
        else " No candidate could be scored."
    )
    made = (
        f"a committee of {len(members)}" if len(members) > 1 else (ui.plain(members[0].name) if members else "nothing")
    )
    if race.status == "failed":
        return "failed", "Failed", f"**The race of cycle {race.id} failed.** {ui.plain(race.error or '')}"
    if race.outcome in LET_IN:
        return "well", "Let in", f"**v{race.champion_after} won and was let in: {made}.**{alone}"
    why = ui.plain(ui.sentence(race.verdict.reason) if race.verdict else race.reason)
    if race.outcome == "rolled_back":
        return "watch", "Rolled back", f"**v{race.champion_after} serves again.** {why}"
    return "unknown", "Not let in", f"**{made[:1].upper() + made[1:]} did not beat the champion.** {why}{alone}"


def best_of(candidates: tuple[Candidate, ...]) -> Candidate | None:
    """The entrant with the lowest loss on the shared rows."""
    scored = [c for c in candidates if c.error is None and c.loss is not None]
    return min(scored, key=lambda c: c.loss if c.loss is not None else 0.0, default=None)


def candidate_line(candidate: Candidate) -> dict[str, Any]:
    """One entrant as a line of the table."""
    if candidate.error is not None:
        state = f"✕ {candidate.error}"
    elif candidate.fitted:
        state = "↻ Fitted now"
    else:
        state = "✓ Kept from before"
    s = candidate.score
    return {
        "Candidate": candidate.name,
        "Score": s.value,
        "95 % interval": ui.interval(s),
        "n": s.n or None,
        "Loss": candidate.loss,
        "Vote": None if candidate.weight is None else round(100 * candidate.weight),
        "Rows": candidate.n_rows,
        "Seconds": candidate.seconds,
        "State": state,
    }


def show_race(ctx: ui.Context, race: CycleReport) -> None:
    """Chart and table of one race."""
    ordered = sorted(
        race.candidates,
        key=lambda c: (c.error is not None, -(c.weight or 0.0), c.loss if c.loss is not None else float("inf")),
    )
    rows = [candidate_line(c) for c in ordered]
    state, word, found = headline(race)
    with ui.verdict(state, found, word=word):
        ui.download_table("The candidates as CSV", f"race-{race.id}.csv", rows)
    metric = ui.metric_label(race.candidates[0].score.metric)
    fitted = [c for c in ordered if c.fitted]
    members = [c for c in ordered if c.weight]
    left, right = st.columns([1, 1.05])
    with (
        left,
        ui.card(
            f"{ui.counted(len(members), 'member')} of {len(ordered)} carry weight in the vote",
            f"{metric} of each on the same newest rows · line: 95 % interval",
        ),
    ):
        figure = plots.race(tuple(ordered), colors=ctx.colors)
        ui.chart(figure, key="race-chart", alt=f"{metric} of {len(ordered)} candidates with intervals")
    with (
        right,
        ui.card(
            f"{ui.counted(len(fitted), 'candidate')} fitted in {ui.seconds(sum(c.seconds or 0.0 for c in fitted))}",
            "What each learnt from and what its vote counts",
        ),
    ):
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height="content" if len(rows) <= 12 else 430,
            placeholder="–",
            alt="Candidates with score, interval, rows, seconds and weight",
            column_order=["Candidate", "Score", "Vote", "Rows", "Seconds"],
            column_config={
                "Candidate": st.column_config.TextColumn(width=175),
                "Score": st.column_config.NumberColumn(format="%.3f", width=55),
                "Vote": st.column_config.ProgressColumn(
                    format="%d %%",
                    min_value=0,
                    max_value=100,
                    color="blue",
                    width=85,
                    help="Share of the committee's vote",
                ),
                "Rows": st.column_config.NumberColumn(format="localized", width=60, help="Rows of its training window"),
                "Seconds": st.column_config.NumberColumn(
                    format="%.1f", width=62, help="Time of the fit; a dash: kept from before"
                ),
            },
        )
    for candidate in ordered:
        if candidate.error is not None:
            st.warning(
                f"{ui.plain(candidate.name)} dropped out: {ui.plain(candidate.error)}", icon=":material/warning:"
            )
    why = " ".join(ui.sentence(f.reason) for f in race.firings) or race.reason
    st.caption(
        f"Cycle {race.id}, {ui.when(race.started_at, ctx)}, {race.cause}{f' by {ui.plain(race.by)}' if race.by else ''}. Why it raced: {ui.plain(why)}"
    )


def main() -> None:
    """Draw the page."""
    ctx = ui.start_page("Train", choose_project=True)
    project = ctx.project
    if project is None:
        ui.no_project()
        return
    with ui.head_row("Train", f"{ui.count(project.labelled)} labelled rows to learn from"):
        start_race(ctx, project)
    if (job := st.session_state.pop("job", None)) is not None:
        ui.follow_job(ctx, job)
        st.query_params.pop("cycle", None)  # the race that has just ended is what was asked for
        project = ctx.refreshed()
    if (under_way := jobs.running_cycle(ctx.ws, project.id)) is not None:
        running(ctx, under_way.id)
    races = inventory.races(ctx.ws, project.id, limit=RACES)
    if not races:
        if project.labelled:
            ui.empty(
                "No race yet.",
                f"{ui.counted(project.labelled, 'labelled row')} wait. A race fits each family on its best windows and scores all of them on the same rows, which none has seen.",
            )
        else:
            ui.empty(
                "Nothing to learn from yet.",
                "A race needs rows with their label.",
                page="data",
                action="Add rows",
            )
        return
    by_id = {race.id: race for race in races}
    asked = st.query_params.get("cycle", "")
    cycle_id = int(asked) if asked.isdecimal() and int(asked) in by_id else races[0].id
    if len(races) > 1:
        ids = list(by_id)
        cycle_id = st.selectbox(
            "Race",
            ids,
            index=ids.index(cycle_id),
            format_func=lambda i: race_name(ctx, by_id[i]),
            key=f"race-{races[0].id}",  # a new race is shown as soon as it is there
            label_visibility="collapsed",
        )
        st.query_params["cycle"] = str(cycle_id)
    show_race(ctx, by_id[cycle_id])


def race_name(ctx: ui.Context, race: CycleReport) -> str:
    """A race in the picker."""
    result = vocabulary.outcome(race.outcome).race.format(v=race.champion_after)
    return f"Cycle {race.id} · {ui.when(race.started_at, ctx)} · {ui.counted(len(race.candidates), 'candidate')} · {result}"


main()
