"""The dialog in which a policy is changed, and tried on the stored history before it is saved."""

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

AS_IT_IS = "as it is"
EDITABLE = {  # what is asked about most, in this order; the limits stand with the policy's fields
    "threshold": ui.Field(label="Threshold", key="threshold", step=0.01, format="%.3f"),
    "drift_share": ui.Field(
        label="Drift share",
        key="share",
        step=0.05,
        help="Share of the features that drifted from which a race starts.",
    ),
    "new_labels": ui.Field(
        label="New labels", key="labels", step=50, help="A race starts after this many newly labelled rows."
    ),
    "min_rows": ui.Field(
        label="Rows for a score",
        key="rows",
        step=10,
        help="Labelled rows that a measurement needs before a score may start a race.",
    ),
    "drift_gate": ui.Field(
        label="Drift gate",
        key="gate",
        step=0.01,
        format="%.3f",
        help="Size from which a significant change of a feature counts: KS distance or total variation.",
    ),
    "false_alarms_per_month": ui.Field(
        label="False drift alarms a month",
        key="budget",
        help="Above 0, each feature's gate is raised until the reference's own ups and downs would pass it only so often.",
    ),
    "gate": ui.Field(
        label="Gate",
        key="gate-of",
        words=GATE_WORDS,
        help="What a challenger has to pass before it serves; every clause is told in any case.",
    ),
    "shadow_rows": ui.Field(
        label="Rows in the shadow",
        key="shadow",
        step=100,
        help="Labelled rows that a challenger answers beside the champion before it may serve; 0 = none.",
    ),
    "races_per_day": ui.Field(
        label="Races a day", key="races", help="Budget of 24 hours, races by hand aside; 0 = no limit."
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
    """Start from a ready-made policy or the present one, then change what is asked about most."""
    wanted = ui.attempt(lambda: _edited(*_chosen_base(project.policy)))
    if wanted is None:
        return
    _show_changes(project.policy, wanted)
    if wanted != project.policy:
        _offer_try(ctx, project, wanted)
    if st.button("Save the policy", type="primary", key="p-save", disabled=wanted == project.policy):
        ui.change(
            lambda: projects.set_policy(ctx.ws, project, wanted, by=ctx.actor, now=ctx.now),
            done="The policy counts from the next cycle on. The audit holds the one before.",
        )


def _chosen_base(policy: Policy) -> tuple[Policy, str]:
    """What the fields begin with, and what it was called in the choice."""
    name = st.selectbox(
        "Start from",
        [AS_IT_IS, *POLICIES],
        key="p-name",
        help="A ready-made policy sets everything; the fields below then change it. The threshold stays yours.",
    )
    if name == AS_IT_IS:
        return policy, name
    return dataclasses.replace(POLICIES[name], threshold=policy.threshold, metric=policy.metric), name


def _edited(base: Policy, name: str) -> Policy:
    """The policy that the widgets describe.

    Raises:
        BadInput: a field that cannot be taken.
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
    """The sentences that are new, and those that go."""
    before, after = describe(policy), describe(wanted)
    new = [line for line in after if line not in before]
    st.markdown("**What changes**" if new or len(after) != len(set(before)) else "Nothing changes yet.")
    for line in new:
        st.markdown(f"- {ui.plain(line)}")
    for line in before:
        if line not in after:
            st.markdown(f"- ~~{ui.plain(line)}~~")


def _offer_try(ctx: ui.Context, project: ProjectInfo, wanted: Policy) -> None:
    """The edited policy over the stored history, beside the present one, before it is saved."""
    edited = dataclasses.replace(wanted, name="edited")
    document = policy_to_document(edited)
    if st.button(
        "Try it on the stored history", icon=":material/history:", key="p-try", disabled=project.checked_at is None
    ):
        job = ui.follow_job(ctx, ui.request_backtest(ctx, [project.policy, edited], since=None))
        st.session_state["tried"] = (document, job.result if job.status == "done" else None)
    kept = st.session_state.get("tried")
    if kept is not None and kept[0] == document and kept[1]:
        said = _told(backtest_results.read(kept[1]), project.policy.name, edited.name)
        st.markdown(f":material/history: {ui.plain(said)}")


def _told(found: backtest_results.Backtest, own_name: str, edited_name: str) -> str:
    """What the edited policy would have done otherwise."""
    own, other = found.policy(own_name), found.policy(edited_name)
    if own.score is None or other.score is None:
        return "The stored history has no labels to score a policy on."
    return (
        f"On the stored history: {ui.counted(other.races, 'race')} instead of {own.races}, "
        f"{ui.metric_label(found.metric)} {other.score:.3f} instead of {own.score:.3f}, {ui.counted(other.fits, 'fit')} instead of {own.fits}."
    )
