"""Who may sign in, and what each may do."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.services.access import accounts
from core.services.access.accounts import UserInfo
from core.services.access.passwords import HELP
from core.ui.views.admin import person_dialogs
from core.ui.views.admin.acting import act
from core.ui.views.admin.roles import ROLES, role_words


def show(ctx: ui.Context) -> None:
    """Everybody in a table, what can be done with the selected person, and the form for a new one."""
    people = accounts.list_users(ctx.ws)
    admins = sum(person.role == "admin" for person in people)
    with ui.card(
        f"{ui.counted(len(people), 'person', 'people')}, {ui.counted(admins, 'admin')}",
        "A new password ends the person's open sessions, a new role takes effect at once · select a person to act",
    ):
        at = ui.pick(
            [_line(ctx, person) for person in people],
            {"Since": ui.moment(), "Last seen": ui.moment()},
            key="people",
            alt=f"{len(people)} people with their role",
            height="content" if len(people) <= 10 else 360,
        )
        _offer_changes(ctx, people[at] if at < len(people) else people[0])
    _show_form(ctx)


def _line(ctx: ui.Context, person: UserInfo) -> dict[str, object]:
    """One person as a line of the table."""
    return {
        "Name": person.name,
        "Role": person.role,
        "Permissions": ROLES.get(person.role, ""),
        "Second factor": "✓" if person.second_factor else None,
        "Since": words.wall(person.created_at, ctx.zone),
        "Last seen": words.wall(person.last_seen_at, ctx.zone),
    }


def _offer_changes(ctx: ui.Context, person: UserInfo) -> None:
    """What can be done with the selected person."""
    oneself = person.name == ctx.user.name
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{ui.plain(person.name)}**", width="content")
        if ui.pressed("Change role", icon=":material/badge:", key="change-role"):
            person_dialogs.change_role(ctx, person)
        if ui.pressed("Set password", icon=":material/password:", key="set-password"):
            person_dialogs.set_password(ctx, person)
        if ui.pressed(
            "Remove",
            icon=":material/person_remove:",
            key="remove",
            disabled=oneself,
            help="You cannot remove yourself." if oneself else None,
        ):
            person_dialogs.remove(ctx, person)


def _show_form(ctx: ui.Context) -> None:
    """A new person."""
    with (
        ui.card("Add a person", "They sign in with this name and password; you can set a new password here"),
        st.form("add", border=False, clear_on_submit=False),
    ):
        with ui.grid(columns=3):
            name = st.text_input("Name", max_chars=64, key="add-name")
            password = st.text_input("Password", type="password", key="add-password", help=HELP)
            role = st.selectbox("Role", list(ROLES), format_func=role_words, key="add-role")
        if ui.submitted("Add", type="primary", icon=":material/person_add:"):
            act(
                lambda: accounts.create_user(ctx.ws, name, password, role, by=ctx.actor, now=ctx.now),
                f"{name} can sign in as {role}.",
            )
