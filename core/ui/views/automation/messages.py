"""Which messages people get, and where they go."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo
from core.services.incidents import channels, message_switches
from core.services.incidents.messages import KINDS


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """A switch for each kind of message."""
    switches = message_switches.switches(ctx.ws, project)
    on = [name for name, sent in switches.items() if sent]
    with ui.card(
        f"Messages · {len(on)} of {ui.counted(len(switches), 'kind')} sent",
        f"They go {_where(ctx)} · each state is reported once, when it begins",
    ):
        wanted = st.pills(
            "Send messages about",
            list(switches),
            selection_mode="multi",
            default=on,
            format_func=lambda name: KINDS[name].label,
            key=f"messages-{project.id}-{'-'.join(on)}",
            disabled=not ctx.may("operator"),
            help=ctx.why_not("operator"),
        )
        if set(wanted) != set(on) and ui.pressed(
            "Save the messages", type="primary", icon=":material/notifications:", key="messages-save"
        ):
            asked = {name: name in wanted for name in switches}
            ui.change(
                lambda: message_switches.set_switches(ctx.ws, project, asked, by=ctx.actor, now=ctx.now),
                done="Takes effect with the next message.",
            )


def _where(ctx: ui.Context) -> str:
    channel = channels.state_of(ctx.ws)
    if channel.dead_since is not None:
        return "to Discord, which rejects them: see Admin, Health"
    return "to Discord" if channel.set_up else "nowhere yet: DISCORD_WEBHOOK_URL is not set"
