"""The dialog that changes a policy, and tries it on the stored history before it is saved."""

from __future__ import annotations

import dataclasses

import streamlit as st

from core import ui
from core.learning.policy import (
    FIELDS,
    POLICIES,
    TRIGGERS,
    describe,
    policy_from_document,
    policy_to_document,
)
from core.records import Policy, ProjectInfo
from core.services.automation import backtest_results
from core.services.projects import projects
from core.ui.views.automation.vocabulary import GATE_WORDS, trigger_words

CURRENT = "current policy"
EDITABLE = {  # what is changed most often, in this order; the limits are part of the policy's fields
    "threshold": ui.Field(label="Threshold", key="threshold", step=0.01, format="%.3f"),
    "drift_share": ui.Field(
        label="Drift share",
        key="share",
        step=0.05,
        help="A race starts when at least this share of the features has drifted.",
    ),
    "new_labels": ui.Field(
        label="New labels", key="labels", step=50, help="A race starts after this many newly labelled rows."
    ),
    "min_rows": ui.Field(
        label="Rows for a score",
        key="rows",
        step=10,
        help="Labelled rows that a score needs before it can start a race.",
    ),
    "drift_gate": ui.Field(
        label="Minimum drift effect",
        key="gate",
        step=0.01,
        format="%.3f",
        help="Effect size above which a significant change counts as drift: KS distance or total variation.",
    ),
    "false_alarms_per_month": ui.Field(
        label="False drift alarms per month",
        key="budget",
        help="Above 0, each feature's minimum effect is raised until normal variation of the reference exceeds it only this often.",
    ),
    "gate": ui.Field(
        label="Promotion gate",
        key="gate-of",
        words=GATE_WORDS,
        help="What a challenger has to pass before it serves; all checks are always reported.",
    ),
    "shadow_rows": ui.Field(
        label="Shadow rows",
        key="shadow",
        step=100,
        help="Labelled rows that a challenger predicts in shadow mode before it may serve; 0 = none.",
    ),
    "races_per_day": ui.Field(
        label="Races per day", key="races", help="Budget per 24 hours, excluding manual races; 0 = no limit."
    ),
    "schedule": ui.Field(
        label="Schedule, UTC",
        key="schedule",
        placeholder="0 3 * * *",
        help="Crontab line (minute, hour, day, month, weekday) for the trigger “on a schedule”; empty = none.",
    ),
}


@st.dialog("Edit the policy", icon=":material/edit:", width="medium")
def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """Start from a preset or the current policy, then change the most common fields."""
    wanted = ui.attempt(lambda: _edited(*_chosen_base(project.policy)))
    if wanted is None:
        return
    _show_changes(project.policy, wanted)
    if wanted != project.policy:
        _offer_try(ctx, project, wanted)
    if ui.pressed("Save the policy", type="primary", key="p-save", disabled=wanted == project.policy):
        ui.change(
            lambda: projects.set_policy(ctx.ws, project, wanted, by=ctx.actor, now=ctx.now),
            done="The policy takes effect with the next cycle. The audit has the previous one.",
        )


def _chosen_base(policy: Policy) -> tuple[Policy, str]:
    """The policy that the fields start from, and its name in the choice."""
    name = st.selectbox(
        "Start from",
        [CURRENT, *POLICIES],
        key="p-name",
        help="A preset sets everything; the fields below then change it. Your threshold is kept.",
    )
    if name == CURRENT:
        return policy, name
    return dataclasses.replace(POLICIES[name], threshold=policy.threshold, metric=policy.metric), name


def _edited(base: Policy, name: str) -> Policy:
    """The policy that the widgets describe.

    Raises:
        BadInput: an invalid field.
    """
    tag = f"{base.name}-{name}"
    triggers = st.pills(
        "Triggers",
        list(dict.fromkeys([*TRIGGERS, *base.triggers])),  # a policy may join several: they are shown as they are
        selection_mode="multi",
        default=list(base.triggers),
        format_func=trigger_words,
        key=f"p-triggers-{tag}",
    )
    document = policy_to_document(base)
    asked = EDITABLE | {
        "threshold": dataclasses.replace(EDITABLE["threshold"], label=f"Threshold of {ui.metric_label(base.metric)}")
    }
    with ui.grid(columns=2):
        given = ui.fields(asked, FIELDS, document, key=lambda field: f"p-{field}-{tag}")
    return policy_from_document({**document, **given, "triggers": list(triggers)})


def _show_changes(policy: Policy, wanted: Policy) -> None:
    """The sentences that are new, and those that are removed."""
    before, after = describe(policy), describe(wanted)
    new = [line for line in after if line not in before]
    st.markdown("**What changes**" if new or len(after) != len(set(before)) else "Nothing changes yet.")
    for line in new:
        st.markdown(f"- {ui.plain(line)}")
    for line in before:
        if line not in after:
            st.markdown(f"- ~~{ui.plain(line)}~~")


def _offer_try(ctx: ui.Context, project: ProjectInfo, wanted: Policy) -> None:
    """The edited policy over the stored history, next to the current one, before it is saved."""
    edited = dataclasses.replace(wanted, name="edited")
    document = policy_to_document(edited)
    if ui.pressed(
        "Try it on the stored history", icon=":material/history:", key="p-try", disabled=project.checked_at is None
    ):
        job = ui.follow_job(ctx, ui.request_backtest(ctx, [project.policy, edited], since=None))
        st.session_state["tried"] = (document, job.result if job.status == "done" else None)
    tried = st.session_state.get("tried")
    if tried is not None and tried[0] == document and tried[1]:
        difference = _difference(backtest_results.read(tried[1]), project.policy.name, edited.name)
        st.markdown(f":material/history: {ui.plain(difference)}")


def _difference(backtest: backtest_results.Backtest, own_name: str, edited_name: str) -> str:
    """What the edited policy would have done differently."""
    own, other = backtest.policy(own_name), backtest.policy(edited_name)
    if own.score is None or other.score is None:
        return "The stored history has no labels to score a policy on."
    return (
        f"On the stored history: {ui.counted(other.races, 'race')} instead of {own.races}, "
        f"{ui.metric_label(backtest.metric)} {other.score:.3f} instead of {own.score:.3f}, {ui.counted(other.fits, 'fit')} instead of {own.fits}."
    )
