"""Whether messages reach people, and a test of it."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.services.incidents import channels

TRIED = {
    "delivered": "Discord accepted it: check the channel.",
    "later": "Discord asks to wait {wait} before the next message. The webhook works.",
    "dead": "The webhook is wrong or was deleted: {why}. Create a new one, set DISCORD_WEBHOOK_URL and restart.",
    "refused": "Discord rejected this message: {why}.",
    "unreachable": "Discord could not be reached ({why}). Messages wait and are sent later.",
    "not_set_up": "DISCORD_WEBHOOK_URL is not set.",
}


def show(ctx: ui.Context) -> None:
    """The state of the channel, and the button that sends a test."""
    channel = channels.state_of(ctx.ws)
    if not channel.set_up:
        state, sub = "off", "Set DISCORD_WEBHOOK_URL and restart; which messages are sent is set on Automation"
    elif channel.dead_since is not None:
        state = "stopped"
        sub = (
            f"Since {ui.when(channel.dead_since, ctx)}: {channel.why}. Set DISCORD_WEBHOOK_URL to a new one and restart"
        )
    else:
        state, sub = "on", "Which ones are sent is set for each project on Automation"
    with ui.card(f"Messages to Discord · {state}", sub):
        if ui.pressed("Send a test", icon=":material/send:", key="send-test", disabled=not channel.set_up):
            _send_test(ctx)


def _send_test(ctx: ui.Context) -> None:
    tried = ui.attempt(lambda: channels.send_test(ctx.ws, by=ctx.actor, now=ctx.now))
    if tried is None:
        return
    wait = ui.seconds(tried.wait_s) if tried.wait_s is not None else ""
    result = TRIED[tried.outcome].format(wait=wait, why=ui.plain(tried.why))
    if tried.outcome == "delivered":
        st.success(result, icon=":material/check_circle:")
    else:
        st.warning(result, icon=":material/error:")
