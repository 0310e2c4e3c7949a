"""Bearer tokens of the API: only their prefixes are known here."""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime

import streamlit as st

from core import ui, words
from core.services.access import accounts, tokens
from core.services.access.tokens import TokenInfo
from core.services.projects import inventory
from core.ui.views.admin import new_token
from core.ui.views.admin.acting import act
from core.ui.views.admin.new_token import WHOLE

STATES = {"revoked": "✕ Revoked", "expired": "✕ Expired", "in_force": "✓ Active"}


def show(ctx: ui.Context) -> None:
    """Every token in a table, the button to revoke the selected one, and the form for a new one."""
    all_tokens = tokens.list_tokens(ctx.ws)
    names = inventory.project_names(ctx.ws)
    live = sum(token.state(ctx.now) == "in_force" for token in all_tokens)
    new_token.show_made(ctx)
    with ui.card(
        ui.counted(live, "active token") if live else "No active tokens",
        "Stored as hashes · a revoked token is refused within 2 seconds",
    ):
        if all_tokens:
            _offer_revoke(ctx, _pick(ctx, all_tokens, names))
        else:
            st.markdown("No tokens yet. Programs that send rows or request predictions need one: create it below.")
    new_token.show(ctx, names)


def _pick(ctx: ui.Context, all_tokens: list[TokenInfo], names: Mapping[int, str]) -> TokenInfo:
    """The table; returns the selected token."""
    here = {person.uid for person in accounts.list_users(ctx.ws)}
    at = ui.pick(
        [_line(ctx, token, names, here, ctx.now) for token in all_tokens],
        {"Expires": ui.moment(), "Last used": ui.moment()},
        key="tokens",
        alt=f"{len(all_tokens)} tokens with scopes, project and expiry",
        height="content" if len(all_tokens) <= 10 else 360,
    )
    return all_tokens[min(at, len(all_tokens) - 1)]


def _line(
    ctx: ui.Context, token: TokenInfo, names: Mapping[int, str], here: Set[str], now: datetime
) -> dict[str, object]:
    """One token as a line of the table."""
    gone = token.created_uid is not None and token.created_uid not in here
    return {
        "Name": token.name,
        "State": STATES[token.state(now)],
        "Prefix": token.prefix + "…",
        "Scopes": ", ".join(token.scopes),
        "Project": names.get(token.project_id, "deleted") if token.project_id else WHOLE,
        "Per minute": token.rate_limit,
        "Created by": f"{token.created_by} (removed)" if gone else token.created_by,
        "Expires": words.wall(token.expires_at, ctx.zone),
        "Last used": words.wall(token.last_used_at, ctx.zone),
    }


def _offer_revoke(ctx: ui.Context, token: TokenInfo) -> None:
    if ui.pressed(
        f"Revoke “{ui.plain(token.name)}”",
        icon=":material/block:",
        key="revoke",
        disabled=token.revoked_at is not None,
    ):
        _revoke(ctx, token)


@st.dialog("Revoke this token?", icon=":material/block:")
def _revoke(ctx: ui.Context, token: TokenInfo) -> None:
    """Name the effect, then revoke."""
    token_id = token.id
    if token_id is None:
        return  # the setting API_KEY is no token that is listed
    used = f"last used {ui.when(token.last_used_at, ctx)}" if token.last_used_at else "never used"
    st.markdown(
        f"Programs that send **{ui.plain(token.name)}** ({ui.plain(token.prefix)}…, {used}) are answered 401 within 2 seconds. This cannot be undone; a new one can be created."
    )
    if ui.pressed("Revoke", type="primary", key="revoke-yes"):
        act(
            lambda: tokens.revoke_token(ctx.ws, token_id, by=ctx.actor, now=ctx.now),
            f"Token “{ui.plain(token.name)}” is revoked.",
        )
