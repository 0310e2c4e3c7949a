"""A token with just the rights it needs: the form, and the token itself, shown once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import streamlit as st

from core import ui
from core.services.access import tokens
from core.ui.views.admin.acting import act
from core.ui.views.admin.roles import SCOPES

WHOLE = "every project"
MADE = "made-token"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """The values of the form."""

    name: str
    scopes: Sequence[str]
    project_id: int | None  # None = every project
    until: date | None  # its last day
    limit: int | None  # requests a minute


def show_made(ctx: ui.Context) -> None:
    """The token that was created in the last run; shown once."""
    if (made := st.session_state.pop(MADE, None)) is None:
        return
    with st.container(border=True):
        st.markdown(f"**Token “{ui.plain(made[0])}” is shown only once.** Copy it now; only its hash is stored.")
        st.code(made[1], language=None)
        st.caption(f"Use it as `Authorization: Bearer …` at {ui.plain(ctx.ws.settings.api_url)}")


def show(ctx: ui.Context, names: Mapping[int, str]) -> None:
    """The form, and what is made from it.

    Args:
        names: of the projects, by id.
    """
    with (
        ui.card("Create a token", "Grant only what it needs: scope, project, expiry and rate limit"),
        st.form("token", border=False),
    ):
        new = _form(ctx, names)
        sent = ui.submitted("Create the token", type="primary", icon=":material/key:")
    if sent:
        act(
            lambda: _make(ctx, new),
            f"Token “{ui.plain(new.name.strip())}” is created.",
            icon=":material/key:",
        )


def _form(ctx: ui.Context, names: Mapping[int, str]) -> NewToken:
    with ui.grid(columns=4):
        name = st.text_input("Name", max_chars=100, key="token-name", placeholder="sensor gateway")
        project = st.selectbox(
            "Project", [None, *names], format_func=lambda i: WHOLE if i is None else names[i], key="token-project"
        )
        until = st.date_input(
            "Valid through",
            value=None,
            min_value=ctx.now.date(),
            key="token-until",
            format="YYYY-MM-DD",
            help="If empty, it never expires.",
        )
        limit = st.number_input(
            "Requests per minute",
            min_value=1,
            max_value=tokens.MOST_A_MINUTE,
            value=None,
            step=1,
            key="token-limit",
            placeholder="no limit",
            help="Above it, the API answers 429 with the time to wait. If empty, there is no limit.",
        )
    scopes = st.pills(
        "Scopes",
        list(SCOPES),
        selection_mode="multi",
        default=["predict"],
        key="token-scopes",
        help="; ".join(f"{scope}: {right}" for scope, right in SCOPES.items()),
    )
    return NewToken(name=name, scopes=tuple(scopes), project_id=project, until=until, limit=limit)


def _make(ctx: ui.Context, new: NewToken) -> None:
    """Make the token, and keep it for the next run alone."""
    info, secret = tokens.create_token(
        ctx.ws,
        new.name,
        tokens.TokenRights(
            scopes=new.scopes,
            project_id=new.project_id,
            expires_at=None if new.until is None else tokens.end_of_day(new.until, ctx.zone),
            rate_limit=new.limit,
        ),
        by=ctx.actor,
        now=ctx.now,
    )
    st.session_state[MADE] = (info.name, secret)
