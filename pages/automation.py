"""What will it do next, why did it do that? The policy in sentences, every cycle with its evidence, and the replay of a decision."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from core import plots, ui, words
from core.errors import ContinualError
from core.learning.policy import (
    AND,
    GATES,
    POLICIES,
    TRIGGERS,
    describe,
    next_scheduled,
    policy_from_document,
    policy_to_document,
)
from core.records import SERVING, CycleReport, FeatureSchema, Policy, ProjectInfo, higher_is_better
from core.services.automation import jobs
from core.services.incidents import notify, status
from core.services.incidents.messages import KINDS as MESSAGES
from core.services.monitoring import monitoring
from core.services.projects import inventory, projects
from core.services.serving import guarding
from core.services.serving.guards import ACTIONS, KINDS, Guards
from core.text import vocabulary
from core.ui.views.automation import evidence

PAGE_ROWS = 20
CAUSES = {
    "schedule": "the clock",
    "button": "a button",
    "api": "the API",
    "cli": "the command line",
    "live": "the live run",
}
DECISIONS = {"nothing": "✓ Nothing", "alert": "⚠ Alert", "retrain": "↻ Retrain"}
TRIGGER_WORDS = {
    "no_champion": "first race",
    "by_hand": "by hand",
    "below_threshold": "below the threshold",
    "below_recent_mean": "below its recent mean",
    "estimated_below": "estimate below the threshold",
    "change_found": "errors changed",
    "error_alarm": "ADWIN or Page-Hinkley",
    "drift_share": "share of drifted features",
    "new_labels": "new labels",
    "age": "age of the last race",
    "schedule": "on a schedule",
}
HIT_DAYS = 30
SPANS = {"all of it": None, "90 days": 90, "60 days": 60, "30 days": 30, "7 days": 7}


# --- what it will do ------------------------------------------------------------------------------------------------


def show_verdict(ctx: ui.Context, project: ProjectInfo, last: CycleReport | None) -> None:
    """Next check, the policy in a sentence, the last decision."""
    with ctx.ws.database.read() as session:
        age = status.scheduler_age(session, ctx.now)
    interval = ctx.ws.settings.check_interval_s
    if project.paused:
        state, word, next_check = "watch", "Paused", "**Checks are paused: nothing happens by itself.**"
    elif age is None:
        state, word = "unknown", "By hand"
        next_check = "**No scheduler has run here yet: checks happen when somebody asks.**"
    elif age < 0:
        state, word = "bad", "Clock"
        next_check = (
            f"**The scheduler's last heartbeat lies {ui.seconds(-age)} in the future.** Check this machine's clock."
        )
    elif status.is_late(age, interval):
        state, word = "bad", "Silent"
        next_check = f"**The scheduler has been silent for {ui.seconds(age)}.** Start it: `make run`."
    else:
        state, word = "well", "Runs"
        next_check = f"**Next check in {ui.seconds(max(interval - age, 0.0))}**, then every {ui.seconds(interval)}."
    if last is not None and last.status == "failed":
        state, word = "failed", "Failed"
    by_trigger = dict(zip(project.policy.triggers, describe(project.policy), strict=False))
    rule = by_trigger.get("below_threshold", "No score threshold starts a race.")
    text = f"{next_check} Policy {ui.plain(project.policy.name)}: {ui.plain(rule)} {last_words(ctx, last)}"
    with ui.verdict(state, text, word=word):
        ui.download_json("This policy as JSON", f"{project.slug}-policy.json", policy_to_document(project.policy))


def last_words(ctx: ui.Context, last: CycleReport | None) -> str:
    """The last decision in a sentence."""
    if last is None:
        return "No check has found anything new yet."
    if last.status == "failed":
        return (
            f"The last check failed {ui.when(last.started_at, ctx)}: {ui.plain(last.error or 'no reason was stored')}"
        )
    aside = "".join(f" {ui.plain(text)}" for text in words.set_aside(last.evidence))
    decided = f"**{last.decision or 'none yet'}**. {ui.plain(last.reason)}"
    return f"Last decision, {ui.when(last.started_at, ctx)}: {decided}{aside}"


def show_policy(ctx: ui.Context, project: ProjectInfo) -> None:
    """Every rule in a sentence with its value."""
    policy = project.policy
    with ui.card(
        f"The policy “{policy.name}”: {ui.counted(len(policy.triggers), 'trigger')}, {gate_words(policy)}",
        "It counts from the next cycle on; every cycle keeps the policy it was decided by",
    ):
        lines = describe(policy)
        columns = st.columns(2)
        for column, part in zip(columns, (lines[: len(policy.triggers)], lines[len(policy.triggers) :]), strict=True):
            column.markdown("\n".join(f"- {ui.plain(line)}" for line in part))
        if line := budget_line(ctx, project):
            st.markdown(line)
        with st.container(horizontal=True):
            closed = not ctx.may("operator")
            if st.button("Edit", icon=":material/edit:", key="edit", disabled=closed, help=ctx.why_not("operator")):
                edit_dialog(ctx, project)
            label, icon = (
                ("Resume checks", ":material/play_arrow:") if project.paused else ("Pause checks", ":material/pause:")
            )
            if st.button(
                label,
                icon=icon,
                key="pause",
                disabled=closed,
                help=ctx.why_not("operator") or "A cycle asked for by hand still runs.",
            ):
                projects.set_paused(ctx.ws, project, not project.paused, by=ctx.actor, now=ctx.now)
                ui.toast_next(
                    "Checks run again." if project.paused else "Checks are paused; resume them here.", icon=icon
                )
                st.rerun()


GATE_WORDS = {"none": "no gate", "held_back": "a held-back gate", "superior": "a strict gate"}


def gate_words(policy: Policy) -> str:
    """The gate in three words."""
    return GATE_WORDS.get(policy.gate, policy.gate)


def budget_line(ctx: ui.Context, project: ProjectInfo) -> str:
    """What is left of the day's races, and when the schedule asks next; empty without either."""
    policy, parts = project.policy, []
    if policy.races_per_day:
        spent = inventory.races_since(ctx.ws, project.id, ctx.now - timedelta(days=1))
        left = max(policy.races_per_day - spent, 0)
        parts.append(f"**{left} of {ui.counted(policy.races_per_day, 'race')} left** in these 24 hours")
    if policy.schedule and (at := next_scheduled(policy.schedule, ctx.now)) is not None:
        parts.append(f"the schedule asks next at {words.wall(at, ctx.zone):%d %b, %H:%M}")
    line = "; ".join(parts)
    return f"{line[:1].upper()}{line[1:]}." if line else ""


@st.dialog("Edit the policy", icon=":material/edit:", width="medium")
def edit_dialog(ctx: ui.Context, project: ProjectInfo) -> None:
    """Start from a ready-made policy or the present one, then change what is asked about most."""
    policy = project.policy
    name = st.selectbox(
        "Start from",
        ["as it is", *POLICIES],
        key="p-name",
        help="A ready-made policy sets everything; the fields below then change it. The threshold stays yours.",
    )
    base = (
        policy
        if name == "as it is"
        else dataclasses.replace(POLICIES[name], threshold=policy.threshold, metric=policy.metric)
    )
    tag = f"{base.name}-{name}"
    triggers = st.pills(
        "Triggers",
        list(dict.fromkeys([*TRIGGERS, *base.triggers])),  # a policy may join several: they are shown as they are
        selection_mode="multi",
        default=list(base.triggers),
        format_func=trigger_words,
        key=f"p-triggers-{tag}",
    )
    with ui.grid(columns=2):
        threshold = st.number_input(
            f"Threshold of {ui.metric_label(base.metric)}",
            value=float(base.threshold),
            step=0.01,
            format="%.3f",
            key=f"p-threshold-{tag}",
        )
        share = st.number_input(
            "Drift share",
            min_value=0.0,
            max_value=1.0,
            value=float(base.drift_share),
            step=0.05,
            key=f"p-share-{tag}",
            help="Share of the features that drifted from which a race starts.",
        )
        labels = st.number_input(
            "New labels",
            min_value=1,
            value=int(base.new_labels),
            step=50,
            key=f"p-labels-{tag}",
            help="A race starts after this many newly labelled rows.",
        )
        rows = st.number_input(
            "Rows for a score",
            min_value=1,
            value=int(base.min_rows),
            step=10,
            key=f"p-rows-{tag}",
            help="Labelled rows that a measurement needs before a score may start a race.",
        )
        gate = st.number_input(
            "Drift gate",
            min_value=0.0,
            max_value=1.0,
            value=float(base.drift_gate),
            step=0.01,
            format="%.3f",
            key=f"p-gate-{tag}",
            help="Size from which a significant change of a feature counts: KS distance or total variation.",
        )
        budget = st.number_input(
            "False drift alarms a month",
            min_value=0.0,
            value=float(base.false_alarms_per_month),
            step=1.0,
            key=f"p-budget-{tag}",
            help="Above 0, each feature's gate is raised until the reference's own ups and downs would pass it only so often.",
        )
        verdict = st.selectbox(
            "Gate",
            list(GATES),
            index=list(GATES).index(base.gate),
            format_func=lambda g: GATE_WORDS[g],
            key=f"p-gate-of-{tag}",
            help="What a challenger has to pass before it serves; every clause is told in any case.",
        )
        shadow = st.number_input(
            "Rows in the shadow",
            min_value=0,
            value=int(base.shadow_rows),
            step=100,
            key=f"p-shadow-{tag}",
            help="Labelled rows that a challenger answers beside the champion before it may serve; 0 = none.",
        )
        races = st.number_input(
            "Races a day",
            min_value=0,
            value=int(base.races_per_day),
            step=1,
            key=f"p-races-{tag}",
            help="Budget of 24 hours, races by hand aside; 0 = no limit.",
        )
        schedule = st.text_input(
            "Schedule, UTC",
            value=base.schedule,
            max_chars=60,
            key=f"p-schedule-{tag}",
            placeholder="0 3 * * *",
            help="Crontab line (minute, hour, day, month, weekday) for the trigger “on a schedule”; empty = none.",
        )
    try:
        changed = {
            **policy_to_document(base),
            "triggers": list(triggers),
            "threshold": threshold,
            "drift_share": share,
            "new_labels": labels,
            "min_rows": rows,
            "drift_gate": gate,
            "false_alarms_per_month": budget,
            "gate": verdict,
            "shadow_rows": shadow,
            "races_per_day": races,
            "schedule": schedule,
        }
        wanted = policy_from_document(changed)
    except ContinualError as error:
        ui.error_box(error)
        return
    before, after = set(describe(policy)), describe(wanted)
    new = [line for line in after if line not in before]
    st.markdown("**What changes**" if new or len(after) != len(before) else "Nothing changes yet.")
    for line in new:
        st.markdown(f"- {ui.plain(line)}")
    for line in describe(policy):
        if line not in after:
            st.markdown(f"- ~~{ui.plain(line)}~~")
    tried = try_edited(ctx, project, wanted) if wanted != policy else None
    if tried:
        st.markdown(f":material/history: {ui.plain(tried)}")
    if st.button("Save the policy", type="primary", key="p-save", disabled=wanted == policy):
        try:
            projects.set_policy(ctx.ws, project, wanted, by=ctx.actor, now=ctx.now)
        except ContinualError as error:
            ui.error_box(error)
            return
        ui.toast_next(
            "The policy counts from the next cycle on. The audit holds the one before.", icon=":material/check_circle:"
        )
        st.rerun()


def try_edited(ctx: ui.Context, project: ProjectInfo, wanted: Policy) -> str | None:
    """The edited policy over the stored history, beside the present one, before it is saved."""
    edited = dataclasses.replace(wanted, name="edited")
    document = policy_to_document(edited)
    if st.button(
        "Try it on the stored history", icon=":material/history:", key="p-try", disabled=project.checked_at is None
    ):
        job = ui.follow_job(ctx, ui.request_backtest(ctx, [project.policy, edited], since=None))
        st.session_state["tried"] = (document, job.result if job.status == "done" else None)
    kept = st.session_state.get("tried")
    if kept is None or kept[0] != document or not kept[1]:
        return None
    by_name = {p["name"]: p for p in kept[1]["policies"]}
    own, other = by_name[project.policy.name], by_name["edited"]
    if own["score"] is None or other["score"] is None:
        return "The stored history has no labels to score a policy on."
    label = ui.metric_label(kept[1]["metric"])
    return (
        f"On the stored history: {ui.counted(other['races'], 'race')} instead of {own['races']}, "
        f"{label} {other['score']:.3f} instead of {own['score']:.3f}, {ui.counted(other['fits'], 'fit')} instead of {own['fits']}."
    )


# --- messages -------------------------------------------------------------------------------------------------------


def show_messages(ctx: ui.Context, project: ProjectInfo) -> None:
    """Which messages people get."""
    switches = notify.switches(ctx.ws, project)
    on = [name for name, sent in switches.items() if sent]
    channel = notify.state_of(ctx.ws)
    where = "to Discord" if channel.set_up else "nowhere yet: DISCORD_WEBHOOK_URL is not set"
    if channel.dead_since is not None:
        where = "to Discord, which refuses them: see Admin, Health"
    with ui.card(
        f"Messages · {len(on)} of {ui.counted(len(switches), 'kind')} sent",
        f"They go {where} · each state is told when it begins, not again while it lasts",
    ):
        wanted = st.pills(
            "Tell people of",
            list(switches),
            selection_mode="multi",
            default=on,
            format_func=lambda name: MESSAGES[name].label,
            key=f"messages-{project.id}-{'-'.join(on)}",
            disabled=not ctx.may("operator"),
            help=ctx.why_not("operator"),
        )
        if set(wanted) != set(on) and st.button(
            "Save the messages", type="primary", icon=":material/notifications:", key="messages-save"
        ):
            try:
                notify.set_switches(
                    ctx.ws, project, {name: name in wanted for name in switches}, by=ctx.actor, now=ctx.now
                )
            except ContinualError as error:
                ui.error_box(error)
                return
            ui.toast_next("It counts from the next message on.", icon=":material/check_circle:")
            st.rerun()


# --- guards ---------------------------------------------------------------------------------------------------------


def show_guards(ctx: ui.Context, project: ProjectInfo) -> None:
    """What is done about answers that should not be trusted, and how often that was."""
    guards = guarding.guards_of(ctx.ws, project)
    since = ctx.now - timedelta(days=HIT_DAYS - 1)
    hits = guarding.guard_hits(ctx.ws, project.id, since=since.replace(hour=0, minute=0, second=0, microsecond=0))
    with ui.card(
        f"Guards · {guards_words(guards)}",
        "They stand between the model and whoever asks; the model's own word is logged and measured all the same",
    ):
        left, right = st.columns([1, 1.2])
        with left:
            st.markdown("\n".join(f"- {line}" for line in guard_lines(guards)))
            if st.button(
                "Edit the guards",
                icon=":material/shield:",
                key="guards-edit",
                disabled=not ctx.may("operator"),
                help=ctx.why_not("operator"),
            ):
                guards_dialog(ctx, project)
        with right:
            if hits:
                figure = plots.guard_hits(
                    [(h.day, h.guard, h.n) for h in hits], colors=ctx.colors, until=ctx.now.date(), days=HIT_DAYS
                )
                ui.chart(figure, key="guard-hits", alt=hits_alt(hits))
                st.caption(f"Answers of the last {HIT_DAYS} days that each guard spoke about, by day (UTC)")
            else:
                st.caption(f"No guard spoke about an answer of the last {HIT_DAYS} days.")


def guards_words(guards: Guards) -> str:
    """All of them in a few words, for the heading."""
    return " · ".join(f"{plots.GUARD_NAMES[kind]}: {getattr(guards, kind)}" for kind in KINDS)


def guard_lines(guards: Guards) -> list[str]:
    """Each guard in a sentence."""
    instead = f"answered as {ui.plain(str(guards.override))}"
    done = {"off": "let pass", "warn": "told beside the answer", "abstain": "not answered", "override": instead}
    return [
        f"A category that the model has not seen is **{done[guards.unseen_category]}**.",
        f"A number more than {guards.range_margin:.0%} of the learnt range beyond it is **{done[guards.out_of_range]}**.",
        f"A probability below {guards.least_confidence:.0%} is **{done[guards.low_confidence]}**.",
    ]


def hits_alt(hits: Sequence[guarding.GuardHits]) -> str:
    """The chart's figures in words."""
    return "; ".join(f"{h.day:%d %b}: {ui.counted(h.n, 'answer')} {plots.GUARD_NAMES[h.guard]}" for h in hits[-20:])


@st.dialog("Edit the guards", icon=":material/shield:", width="medium")
def guards_dialog(ctx: ui.Context, project: ProjectInfo) -> None:
    """What is done about each kind of odd answer."""
    guards, schema = guarding.guards_of(ctx.ws, project), project.schema
    if schema is None:
        st.info("There are no rows yet, so there is nothing to guard.")
        return
    values: dict[str, Any] = {}
    labels = {
        "unseen_category": "An unseen category",
        "out_of_range": "A number out of range",
        "low_confidence": "Low confidence",
    }
    with ui.grid(columns=3):
        for kind in KINDS:
            closed = kind == "low_confidence" and schema.task == "regression"
            values[kind] = st.selectbox(
                labels[kind],
                ["off"] if closed else list(ACTIONS),
                index=0 if closed else ACTIONS.index(getattr(guards, kind)),
                key=f"g-{kind}",
                disabled=closed,
                help="A number has no probability." if closed else None,
            )
    with ui.grid(columns=3):
        values["range_margin"] = st.number_input(
            "Margin of the range",
            min_value=0.0,
            max_value=100.0,
            value=float(guards.range_margin),
            step=0.05,
            key="g-margin",
            help="Share of the range that the model learnt from, allowed beyond either end.",
        )
        values["least_confidence"] = st.number_input(
            "Least confidence",
            min_value=0.01,
            max_value=1.0,
            value=float(guards.least_confidence),
            step=0.05,
            key="g-least",
            disabled=schema.task == "regression",
            help="Probability of the predicted class below which confidence is low.",
        )
        values["override"] = override_field(schema, guards)
    wanted = Guards(**values)
    st.caption("The strictest action counts: to abstain goes before to override, and that before to warn.")
    if st.button("Save the guards", type="primary", key="g-save", disabled=wanted == guards):
        try:
            guarding.set_guards(ctx.ws, project, wanted, by=ctx.actor, now=ctx.now)
        except ContinualError as error:
            ui.error_box(error)
            return
        ui.toast_next("Every process goes by these guards within a second.", icon=":material/check_circle:")
        st.rerun()


def override_field(schema: FeatureSchema, guards: Guards) -> Any:
    """What is answered instead: a class, or a number."""
    told = "Answered in place of the model's word where an action is override."
    if schema.task == "regression":
        usual = float(guards.override) if isinstance(guards.override, (int, float)) else None
        return st.number_input("Answer instead", value=usual, key="g-override", placeholder="none", help=told)
    classes = list(schema.classes)
    index = classes.index(guards.override) if guards.override in classes else None
    return st.selectbox("Answer instead", classes, index=index, key="g-override", placeholder="none", help=told)


# --- what another policy would have done --------------------------------------------------------------------------


def show_backtest(ctx: ui.Context, project: ProjectInfo) -> None:
    """Policies side by side over the stored history, replayed by a worker through the live loop's own code."""
    newest = jobs.newest_backtest(ctx.ws, project.id)
    found = newest.result if newest is not None else None
    with ui.card(
        ui.plain(backtest_finding(found, project.policy.name)) if found else "What would another policy have done?",
        backtest_caption(ctx, newest)
        if newest is not None and found
        else "The stored history replayed through the code of the live loop, one policy after another; nothing is changed by it",
    ):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            others = [name for name in POLICIES if name not in (project.policy.name, "never")]
            chosen = st.multiselect(
                "This project's policy against", others, default=others[:1], key="b-policies", placeholder="never retraining only"
            )  # fmt: skip
            span = st.selectbox("Over the last", list(SPANS), key="b-span", width=130)
            closed = not ctx.may("operator")
            if st.button(
                "Run the backtest",
                icon=":material/history:",
                key="b-run",
                disabled=closed,
                help=ctx.why_not("operator"),
            ):
                policies = [project.policy, *(POLICIES[name] for name in chosen)]
                job = ui.request_backtest(ctx, policies, since=since_of(project, span))
                ui.follow_job(ctx, job)
                st.rerun()
        if found:
            show_policies(ctx, project, found)


def since_of(project: ProjectInfo, span: str) -> datetime | None:
    """The instant at which a span begins, counted back from the last check."""
    days = SPANS[span]
    return None if days is None or project.checked_at is None else project.checked_at - timedelta(days=days)


def backtest_finding(found: dict[str, Any], name: str) -> str:
    """Which policy did best, and at what cost, in a sentence with its figures."""
    label = ui.metric_label(found["metric"])
    own = next((p for p in found["policies"] if p["name"] == name), found["policies"][0])
    scored = [p for p in found["policies"] if p["score"] is not None and p["name"] != own["name"]]
    if own["score"] is None or not scored:
        return "No labelled row to score a policy on"
    better = higher_is_better(found["metric"])
    rival = max(scored, key=lambda p: p["score"] if better else -p["score"])
    return (
        f"{label} {own['score']:.3f} with “{own['name']}” ({ui.counted(own['races'], 'race')}, {ui.counted(own['fits'], 'fit')}), "
        f"{rival['score']:.3f} with “{rival['name']}” ({ui.counted(rival['races'], 'race')}, {ui.counted(rival['fits'], 'fit')})"
    )


def backtest_caption(ctx: ui.Context, job: jobs.JobInfo) -> str:
    """Over what it was, and when it was run."""
    found = job.result or {}
    when = f", run {ui.when(job.finished_at, ctx)}" if job.finished_at else ""
    return f"Over {ui.counted(found['turns'], 'check')} with {ui.counted(found['rows'], 'new row')}{when} · each row counts with what was predicted before its label was known"


def show_policies(ctx: ui.Context, project: ProjectInfo, found: dict[str, Any]) -> None:
    """Chart and table of a backtest."""
    metric = found["metric"]
    rows = [
        {
            "Policy": p["name"],
            "Score": p["score"],
            "Races": p["races"],
            "Fits": p["fits"],
            "Promoted": p["promotions"],
            "Refreshed": p["refreshes"],
            "Rolled back": p["rollbacks"],
            "Seconds": p["seconds"],
        }
        for p in found["policies"]
    ]
    left, right = st.columns([1.2, 1])
    with left:
        if any(turn.get(metric) is not None for p in found["policies"] for turn in p["turns"]):
            figure = plots.policies_over_time(found["policies"], metric, colors=ctx.colors)
            ui.chart(
                figure, key="backtest-chart", alt=f"{ui.metric_label(metric)} of {len(rows)} policies, check by check"
            )
        else:
            st.caption("No check of this history has labels to score.")
    with right:
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height="content",
            placeholder="–",
            alt="Policies with score, races, fits and seconds",
            column_config={
                "Policy": st.column_config.TextColumn(width=90),
                "Score": st.column_config.NumberColumn(format="%.3f", width=60),
                "Races": st.column_config.NumberColumn(width=55),
                "Fits": st.column_config.NumberColumn(width=50),
                "Promoted": st.column_config.NumberColumn(width=75),
                "Refreshed": st.column_config.NumberColumn(width=75),
                "Rolled back": st.column_config.NumberColumn(width=85),
                "Seconds": st.column_config.NumberColumn(format="%.1f", width=70),
            },
        )
        ui.download_json("This backtest as JSON", f"{project.slug}-backtest.json", found, label="JSON")


# --- what it did -----------------------------------------------------------------------------------------------------


def cycle_line(ctx: ui.Context, cycle: CycleReport) -> dict[str, Any]:
    """One cycle as a line of the table."""
    evidence = cycle.evidence
    version = f" v{cycle.champion_after}" if cycle.outcome in SERVING else ""
    outcome = vocabulary.outcome(cycle.outcome).short
    return {
        "Cycle": cycle.id,
        "When": words.wall(cycle.started_at, ctx.zone),
        "Cause": cycle.cause,
        "Rows": evidence.n_rows if evidence else None,
        "Score": evidence.score if evidence else None,
        "Drifted": None if evidence is None or evidence.share_drifted is None else round(100 * evidence.share_drifted),
        "Decision": "… Running" if cycle.status == "running" else DECISIONS.get(cycle.decision, cycle.decision) or None,
        "Outcome": outcome + version if outcome else None,
        "Seconds": cycle.seconds,
    }


def show_cycles(ctx: ui.Context, project: ProjectInfo, total: int) -> CycleReport | None:
    """One page of the audit; returns the cycle that the address names, else the newest one."""
    asked = st.query_params.get("cycle", "")
    named = int(asked) if asked.isdecimal() else None
    at_page = inventory.cycle_page(ctx.ws, project.id, named, PAGE_ROWS) if named is not None else 1
    if at_page is None:
        st.warning(f"This project has no cycle {named}; the newest is shown.", icon=":material/help:")
    pages = max(math.ceil(total / PAGE_ROWS), 1)
    metric = ui.metric_label(project.policy.metric)
    with ui.card(
        f"{ui.counted(total, 'cycle')}, newest first",
        f"A check that finds nothing new leaves no row · score: {metric} on the newly labelled rows · select a row to read why",
    ):
        above = st.container()
        with st.container(horizontal=True, vertical_alignment="center"):
            page = (
                st.pagination(pages, default=min(at_page or 1, pages), key="page", bind="query-params")
                if pages > 1
                else 1
            )
            st.space("stretch")
            found, _ = monitoring.cycles(ctx.ws, project.id, limit=PAGE_ROWS, offset=(page - 1) * PAGE_ROWS)
            lines = [cycle_line(ctx, c) for c in found]
            ui.download_table("This page of cycles as CSV", f"{project.slug}-cycles-{page}.csv", lines)
        ids = [c.id for c in found]
        at = ids.index(named) if named in ids else 0
        key = f"cycles-{project.id}-{page}"
        above.dataframe(
            lines,
            hide_index=True,
            row_height=32,
            height="content" if len(found) <= 8 else 294,
            placeholder="–",
            on_select=lambda: name_cycle(key, ids),
            selection_mode="single-row-required",
            selection_default={"selection": {"rows": [at]}},
            key=key,
            alt=f"{len(found)} of {total} cycles with cause, evidence, decision and outcome",
            column_config={
                "Cycle": st.column_config.NumberColumn(width=60),
                "When": st.column_config.DatetimeColumn(format="D MMM, HH:mm", width=110),
                "Cause": st.column_config.TextColumn(width=80),
                "Rows": st.column_config.NumberColumn(format="localized", width=65),
                "Score": st.column_config.NumberColumn(format="%.3f", width=65),
                "Drifted": st.column_config.NumberColumn(format="%d %%", width=75, help="Share of the features"),
                "Decision": st.column_config.TextColumn(width=100),
                "Outcome": st.column_config.TextColumn(width=150),
                "Seconds": st.column_config.NumberColumn(format="%.1f", width=75),
            },
        )
    return found[at] if found else None


def name_cycle(key: str, ids: list[int]) -> None:
    """Put the selected cycle into the address, so that a link shows it again."""
    rows = st.session_state[key].selection.rows
    if rows:
        st.query_params["cycle"] = str(ids[rows[0]])


def trigger_words(entry: str) -> str:
    """A trigger in words, or several that have to fire together."""
    return " and ".join(TRIGGER_WORDS.get(name, name) for name in entry.split(AND))


def show_cycle(ctx: ui.Context, project: ProjectInfo, cycle: CycleReport) -> None:
    """One turn of the loop, step by step: evidence, decision, race, comparison, verdict."""
    if cycle.status == "failed":
        st.error(
            f"Cycle {cycle.id} failed: {ui.plain(cycle.error or 'no reason was stored')} What was there before stays as it was; the next check tries again.",
            icon=":material/error:",
        )
    left, right = st.columns(2)
    with (
        left,
        ui.card(
            f"Evidence of cycle {cycle.id}",
            f"{ui.when(cycle.started_at, ctx)}, caused by {CAUSES.get(cycle.cause, cycle.cause)}{f', asked by {ui.plain(cycle.by)}' if cycle.by else ''}",
        ),
    ):
        if cycle.evidence is None:
            st.markdown("It ended before there was evidence.")
        else:
            ui.pairs(evidence.lines(cycle.evidence))
    with (
        right,
        ui.card(
            f"Decision: {cycle.decision or 'none'}",
            f"{ui.counted(len(cycle.firings), 'trigger')} fired" if cycle.firings else "No trigger fired",
        ),
    ):
        for firing in cycle.firings:
            st.markdown(f":material/bolt: **{trigger_words(firing.trigger)}**: {ui.plain(firing.reason)}")
        if not cycle.firings:
            st.markdown(ui.plain(cycle.reason) or "No decision was made.")
        replay(ctx, cycle)
    if cycle.candidates:
        show_race_and_verdict(ctx, cycle)


def replay(ctx: ui.Context, cycle: CycleReport) -> None:
    """The stored evidence through the stored policy again: the same decision, or not."""
    if cycle.evidence is None:
        return
    if not st.button(
        "Replay this decision",
        icon=":material/replay:",
        key=f"replay-{cycle.id}",
        help="Puts the stored evidence through the stored policy once more.",
    ):
        return
    try:
        stored, again, same = monitoring.replay_decision(ctx.ws, cycle.id)
    except ContinualError as error:
        ui.error_box(error)
        return
    if same:
        st.success(
            f"Same: {ui.counted(len(again.firings), 'trigger')} fired, decision “{again.action}”.",
            icon=":material/check_circle:",
        )
    else:
        st.error(
            f"Not the same: stored “{stored.action}” with {len(stored.firings)} triggers, replayed “{again.action}” with {len(again.firings)}. The rules changed since.",
            icon=":material/error:",
        )


def show_race_and_verdict(ctx: ui.Context, cycle: CycleReport) -> None:
    """Who raced, and whether the winner was let in."""
    left, right = st.columns(2)
    members = sum(1 for c in cycle.candidates if c.weight)
    with (
        left,
        ui.card(
            f"Race: {members} of {ui.counted(len(cycle.candidates), 'candidate')} vote",
            f"{ui.metric_label(cycle.candidates[0].score.metric)} on the same newest rows · line: 95 % interval",
        ),
    ):
        ui.chart(
            plots.race(cycle.candidates, colors=ctx.colors),
            key=f"race-{cycle.id}",
            alt=f"Scores of {len(cycle.candidates)} candidates",
        )
        st.page_link(
            ui.page_path("train"),
            label="Open on Train",
            icon=":material/open_in_new:",
            query_params={"cycle": str(cycle.id)},
        )
    verdict = cycle.verdict
    found = (
        "No verdict"
        if verdict is None
        else f"Verdict: {vocabulary.outcome(cycle.outcome).short or 'nothing changed'}"
        + (f", v{cycle.champion_after} serves" if cycle.champion_after else "")
    )
    with (
        right,
        ui.card(
            found, cycle.comparison.rows_from if cycle.comparison and cycle.comparison.rows_from else "Clause by clause"
        ),
    ):
        if cycle.comparison is not None and cycle.comparison.difference is not None:
            ui.chart(
                plots.comparison(cycle.comparison, colors=ctx.colors),
                key=f"comparison-{cycle.id}",
                alt=ui.interval_text(cycle.comparison.difference),
            )
        if verdict is not None:
            ui.clauses(verdict.clauses)
            if not verdict.clauses:
                st.markdown(ui.plain(verdict.reason))


def main() -> None:
    """Draw the page."""
    ctx = ui.start_page("Automation", choose_project=True)
    project = ctx.project
    if project is None:
        ui.no_project()
        return
    checked = f"checked {ui.when(project.checked_at, ctx)}" if project.checked_at else "not checked yet"
    with ui.head_row("Automation", checked):
        if st.button(
            "Check now",
            type="primary",
            icon=":material/autorenew:",
            key="check",
            disabled=not ctx.may("operator"),
            help=ctx.why_not("operator"),
        ):
            st.session_state["job"] = ui.request_cycle(ctx, force=False)
    if (job := st.session_state.pop("job", None)) is not None:
        ui.follow_job(ctx, job)
        project = ctx.refreshed()
    newest, total = monitoring.cycles(ctx.ws, project.id, limit=1)
    show_verdict(ctx, project, newest[0] if newest else None)
    show_policy(ctx, project)
    show_messages(ctx, project)
    if project.schema is not None:
        show_guards(ctx, project)
    if total > 1:
        show_backtest(ctx, project)
    if not total:
        ui.empty(
            "No cycle yet.",
            "Each check that finds new rows or labels leaves a row here: what it saw, what it decided, what came of it.",
        )
        return
    chosen = show_cycles(ctx, project, total)
    if chosen is not None:
        show_cycle(ctx, project, chosen)


main()
