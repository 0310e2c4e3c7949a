"""The policy in sentences, the rest of its budget, and the buttons to change or pause it."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.learning.policy import describe, next_scheduled
from core.records import Policy, ProjectInfo
from core.services.projects import inventory, projects
from core.ui.views.automation import policy_editor
from core.ui.views.automation.vocabulary import GATE_WORDS


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """Every rule in a sentence with its value."""
    policy = project.policy
    with ui.card(
        f"The policy “{policy.name}”: {ui.counted(len(policy.triggers), 'trigger')}, {GATE_WORDS.get(policy.gate, policy.gate)}",
        "Takes effect with the next cycle; every cycle stores the policy that it used",
    ):
        _show_rules(policy)
        if line := _budget_line(ctx, project):
            st.markdown(line)
        with st.container(horizontal=True):
            if ui.button(ctx, "Edit", icon=":material/edit:", key="edit"):
                policy_editor.show(ctx, project)
            _offer_pause(ctx, project)


def _show_rules(policy: Policy) -> None:
    """The triggers at the left, the rest at the right."""
    lines, n = describe(policy), len(policy.triggers)
    for column, part in zip(st.columns(2), (lines[:n], lines[n:]), strict=True):
        column.markdown("\n".join(f"- {ui.plain(line)}" for line in part))


def _budget_line(ctx: ui.Context, project: ProjectInfo) -> str:
    """What is left of the day's races, and when the next race is scheduled; empty without either."""
    policy, parts = project.policy, []
    left = inventory.races_left(ctx.ws, project, ctx.now)
    if left is not None:
        parts.append(f"**{left} of {ui.counted(policy.races_per_day, 'race')} left** in the current 24 hours")
    if (at := next_scheduled(policy.schedule, ctx.now)) is not None:
        parts.append(f"next scheduled race: {words.wall(at, ctx.zone):%d %b, %H:%M}")
    line = "; ".join(parts)
    return f"{line[:1].upper()}{line[1:]}." if line else ""


def _offer_pause(ctx: ui.Context, project: ProjectInfo) -> None:
    label, icon = ("Resume checks", ":material/play_arrow:") if project.paused else ("Pause checks", ":material/pause:")
    if ui.button(ctx, label, icon=icon, key="pause", help="Cycles requested manually still run."):
        projects.set_paused(ctx.ws, project, not project.paused, by=ctx.actor, now=ctx.now)
        ui.toast_next("Checks run again." if project.paused else "Checks are paused; resume them here.", icon=icon)
        st.rerun()
