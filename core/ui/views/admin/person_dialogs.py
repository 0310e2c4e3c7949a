"""Changes of a person: each names its effect before it happens."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import ui
from core.services.access import accounts, tokens
from core.services.access.accounts import UserInfo
from core.services.access.passwords import HELP
from core.services.access.tokens import TokenInfo
from core.ui.views.admin.acting import act
from core.ui.views.admin.roles import ROLES, role_words


@st.dialog("Change the role", icon=":material/badge:")
def change_role(ctx: ui.Context, person: UserInfo) -> None:
    """Another role, from the next click of that person on."""
    roles = list(ROLES)
    role = st.selectbox("Role", roles, index=roles.index(person.role), format_func=role_words, key="new-role")
    st.markdown(f"Takes effect with the next click of **{ui.plain(person.name)}**, in every open tab.")
    if ui.pressed(f"Make {person.name} {role}", type="primary", key="role-yes", disabled=role == person.role):
        act(
            lambda: accounts.set_role(ctx.ws, person.name, role, by=ctx.actor, now=ctx.now),
            f"{person.name} is now {role} (was {person.role}).",
        )


@st.dialog("Set a password", icon=":material/password:")
def set_password(ctx: ui.Context, person: UserInfo) -> None:
    """A new password; open sessions end."""
    st.markdown(f"All open sessions of **{ui.plain(person.name)}** end; they sign in again with the new password.")
    password = st.text_input("New password", type="password", key="new-password", help=HELP)
    if ui.pressed("Set password", type="primary", key="password-yes"):
        act(
            lambda: accounts.set_password(ctx.ws, person.name, password, by=ctx.actor, now=ctx.now),
            f"{person.name} has a new password; their sessions ended.",
        )


@st.dialog("Remove this person?", icon=":material/person_remove:")
def remove(ctx: ui.Context, person: UserInfo) -> None:
    """Removal, with its effect."""
    st.markdown(
        f"**{ui.plain(person.name)}** can no longer sign in, and all their open sessions end. Their actions stay in the audit. They can be added again."
    )
    revoke = _revoke_too(tokens.tokens_made_by(ctx.ws, person.uid, ctx.now))
    if ui.pressed(f"Remove {person.name}", type="primary", key="remove-yes"):
        act(
            lambda: accounts.remove_user(ctx.ws, person.name, keep_tokens=not revoke, by=ctx.actor, now=ctx.now),
            f"{person.name} is removed.",
        )


def _revoke_too(made: Sequence[TokenInfo]) -> bool:
    """Whether to revoke the tokens that the person created too: yes by default."""
    if not made:
        return True
    named = ", ".join(f"**{ui.plain(t.name)}** ({ui.plain(t.prefix)}…, {', '.join(t.scopes)})" for t in made)
    st.markdown(
        f"They created {ui.counted(len(made), 'token')} that still {'works' if len(made) == 1 else 'work'} and may know the secret: {named}."
    )
    return st.checkbox(
        "Revoke these tokens too", value=True, key="remove-tokens", help="Programs that send them are answered 401."
    )
