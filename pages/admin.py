"""Who may do what, who changed what? People, tokens, settings in force, the audit, the health of the installation."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st
from pydantic import SecretStr

from core import ui, words
from core.errors import ContinualError, ProofNeeded
from core.services.access import auth
from core.services.access.passwords import HELP
from core.services.incidents import notify
from core.services.operations import doctor
from core.services.projects import inventory

TABS = ("People", "Tokens", "Settings", "Audit", "Health")
ROLES = {
    "viewer": "looks",
    "operator": "stores rows, starts checks, promotes",
    "admin": "everything, people and tokens too",
}
SCOPES = {
    "predict": "ask for predictions",
    "ingest": "send rows and labels",
    "read": "read predictions and metrics",
    "admin": "everything",
}
AUDIT_ROWS = 50
WHOLE = "every project"


# --- people -----------------------------------------------------------------------------------------------------


def show_people(ctx: ui.Context) -> None:
    """Who may sign in, and what each may do."""
    people = auth.list_users(ctx.ws)
    admins = [p for p in people if p.role == "admin"]
    with ui.card(
        f"{ui.counted(len(people), 'person', 'people')}, {ui.counted(len(admins), 'admin')}",
        "A change of password or role ends the person's open sessions or counts at once · select one to act",
    ):
        chosen = st.dataframe(
            [
                {
                    "Name": p.name,
                    "Role": p.role,
                    "May": ROLES.get(p.role, ""),
                    "Second factor": "✓" if p.second_factor else None,
                    "Since": words.wall(p.created_at, ctx.zone),
                    "Last seen": words.wall(p.last_seen_at, ctx.zone),
                }
                for p in people
            ],
            hide_index=True,
            row_height=32,
            height="content" if len(people) <= 10 else 360,
            placeholder="–",
            on_select="rerun",
            selection_mode="single-row-required",
            selection_default={"selection": {"rows": [0]}},
            key="people",
            alt=f"{len(people)} people with their role",
            column_config={
                name: st.column_config.DatetimeColumn(format="D MMM, HH:mm") for name in ("Since", "Last seen")
            },
        )
        at = chosen.selection.rows[0] if chosen.selection.rows else 0
        person = people[at] if at < len(people) else people[0]
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{ui.plain(person.name)}**", width="content")
            if st.button("Change role", icon=":material/badge:", key="change-role"):
                role_dialog(ctx, person)
            if st.button("Set password", icon=":material/password:", key="set-password"):
                password_dialog(ctx, person)
            if st.button(
                "Remove",
                icon=":material/person_remove:",
                key="remove",
                disabled=person.name == ctx.user.name,
                help="You cannot remove yourself." if person.name == ctx.user.name else None,
            ):
                remove_dialog(ctx, person)
    with (
        ui.card("Add a person", "They sign in with this name and password and can be given another one here"),
        st.form("add", border=False, clear_on_submit=False),
    ):
        with ui.grid(columns=3):
            name = st.text_input("Name", max_chars=64, key="add-name")
            password = st.text_input("Password", type="password", key="add-password", help=HELP)
            role = st.selectbox("Role", list(ROLES), format_func=lambda r: f"{r}: {ROLES[r]}", key="add-role")
        if st.form_submit_button("Add", type="primary", icon=":material/person_add:"):
            act(
                lambda: auth.create_user(ctx.ws, name, password, role, by=ctx.actor, now=ctx.now),
                f"{name} may sign in as {role}.",
            )


@st.dialog("Change the role", icon=":material/badge:")
def role_dialog(ctx: ui.Context, person: Any) -> None:
    """Another role, from the next click of that person on."""
    roles = list(ROLES)
    role = st.selectbox(
        "Role", roles, index=roles.index(person.role), format_func=lambda r: f"{r}: {ROLES[r]}", key="new-role"
    )
    st.markdown(f"It counts from the next click of **{ui.plain(person.name)}** on, in every open tab.")
    if st.button(f"Make {person.name} {role}", type="primary", key="role-yes", disabled=role == person.role):
        act(
            lambda: auth.set_role(ctx.ws, person.name, role, by=ctx.actor, now=ctx.now),
            f"{person.name} is {role} now, was {person.role}.",
        )


@st.dialog("Set a password", icon=":material/password:")
def password_dialog(ctx: ui.Context, person: Any) -> None:
    """A new password; open sessions end."""
    st.markdown(f"Every open session of **{ui.plain(person.name)}** ends; they sign in again with the new password.")
    password = st.text_input("New password", type="password", key="new-password", help=HELP)
    if st.button("Set password", type="primary", key="password-yes"):
        act(
            lambda: auth.set_password(ctx.ws, person.name, password, by=ctx.actor, now=ctx.now),
            f"{person.name} has a new password; their sessions ended.",
        )


@st.dialog("Remove this person?", icon=":material/person_remove:")
def remove_dialog(ctx: ui.Context, person: Any) -> None:
    """Removal, with its effect."""
    st.markdown(
        f"**{ui.plain(person.name)}** cannot sign in any more, and every open session ends. What they did stays in the audit. They can be added anew."
    )
    made = auth.tokens_made_by(ctx.ws, person.uid, ctx.now)
    revoke = True
    if made:
        st.markdown(
            f"They made {ui.counted(len(made), 'token')} that still {'works' if len(made) == 1 else 'work'} and may know the secret: "
            + ", ".join(f"**{ui.plain(t.name)}** ({ui.plain(t.prefix)}…, {', '.join(t.scopes)})" for t in made)
            + "."
        )
        revoke = st.checkbox(
            "Revoke these tokens too", value=True, key="remove-tokens", help="Programs that send them are answered 401."
        )
    if st.button(f"Remove {person.name}", type="primary", key="remove-yes"):
        act(
            lambda: auth.remove_user(ctx.ws, person.name, keep_tokens=not revoke, by=ctx.actor, now=ctx.now),
            f"{person.name} is removed.",
        )


def act(change: Any, told: str) -> None:
    """Make a change and say so after the rerun; an error stays where it happened."""
    try:
        change()
    except ProofNeeded:
        ui.ask_proof()
        return
    except ContinualError as error:
        ui.error_box(error)
        return
    ui.toast_next(told, icon=":material/check_circle:")
    st.rerun()


# --- tokens -----------------------------------------------------------------------------------------------------


def show_tokens(ctx: ui.Context) -> None:
    """Bearer tokens of the API: only their beginnings are known here."""
    tokens = auth.list_tokens(ctx.ws)
    names = inventory.project_names(ctx.ws)
    here = {p.uid for p in auth.list_users(ctx.ws)}
    live = [t for t in tokens if token_state(t, ctx.now).startswith("✓")]
    if (made := st.session_state.pop("made-token", None)) is not None:
        with st.container(border=True):
            st.markdown(f"**Token “{ui.plain(made[0])}” is shown this once.** Copy it now; only its hash is stored.")
            st.code(made[1], language=None)
            st.caption(f"Use it as `Authorization: Bearer …` at {ui.plain(ctx.ws.settings.api_url)}")
    with ui.card(
        f"{ui.counted(len(live), 'token')} in force" if live else "No token in force",
        "Stored as hashes · a revoked token is refused within 2 seconds",
    ):
        if not tokens:
            st.markdown("No token yet. Programs that send rows or ask for predictions need one: create it below.")
        else:
            chosen = st.dataframe(
                [
                    {
                        "Name": t.name,
                        "State": token_state(t, ctx.now),
                        "Begins": t.prefix + "…",
                        "Scopes": ", ".join(t.scopes),
                        "Project": names.get(t.project_id, "deleted") if t.project_id else WHOLE,
                        "A minute": t.rate_limit,
                        "Made by": f"{t.created_by} (removed)"
                        if t.created_uid is not None and t.created_uid not in here
                        else t.created_by,
                        "Expires": words.wall(t.expires_at, ctx.zone),
                        "Last used": words.wall(t.last_used_at, ctx.zone),
                    }
                    for t in tokens
                ],
                hide_index=True,
                row_height=32,
                height="content" if len(tokens) <= 10 else 360,
                placeholder="–",
                on_select="rerun",
                selection_mode="single-row-required",
                selection_default={"selection": {"rows": [0]}},
                key="tokens",
                alt=f"{len(tokens)} tokens with scopes, project and expiry",
                column_config={
                    name: st.column_config.DatetimeColumn(format="D MMM, HH:mm") for name in ("Expires", "Last used")
                },
            )
            at = chosen.selection.rows[0] if chosen.selection.rows else 0
            token = tokens[min(at, len(tokens) - 1)]
            if st.button(
                f"Revoke “{ui.plain(token.name)}”",
                icon=":material/block:",
                key="revoke",
                disabled=token.revoked_at is not None,
            ):
                revoke_dialog(ctx, token)
    new_token(ctx, names)


def token_state(token: Any, now: datetime) -> str:
    """Sign and word."""
    if token.revoked_at is not None:
        return "✕ Revoked"
    if token.expires_at is not None and token.expires_at <= now:
        return "✕ Expired"
    return "✓ In force"


def new_token(ctx: ui.Context, names: dict[int, str]) -> None:
    """Create a token with just the rights it needs."""
    with (
        ui.card("Create a token", "Give it the least it needs: scope, project, expiry and pace"),
        st.form("token", border=False),
    ):
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
                help="Left empty it never expires.",
            )
            limit = st.number_input(
                "Requests a minute",
                min_value=1,
                max_value=auth.MOST_A_MINUTE,
                value=None,
                step=1,
                key="token-limit",
                placeholder="any number",
                help="Beyond it the API answers 429 and says when to come back. Left empty there is no limit.",
            )
        scopes = st.pills(
            "Scopes",
            list(SCOPES),
            selection_mode="multi",
            default=["predict"],
            key="token-scopes",
            help="; ".join(f"{s}: {w}" for s, w in SCOPES.items()),
        )
        sent = st.form_submit_button("Create the token", type="primary", icon=":material/key:")
    if not sent:
        return
    expires = (
        None
        if until is None
        else datetime.combine(until, time(23, 59, 59), tzinfo=ZoneInfo(ctx.timezone or "UTC")).astimezone(UTC)
    )
    try:
        info, secret = auth.create_token(
            ctx.ws,
            name,
            tuple(scopes),
            project_id=project,
            expires_at=expires,
            rate_limit=limit,
            by=ctx.actor,
            now=ctx.now,
        )
    except ProofNeeded:
        ui.ask_proof()
        return
    except ContinualError as error:
        ui.error_box(error)
        return
    st.session_state["made-token"] = (info.name, secret)
    ui.toast_next(f"Token “{ui.plain(info.name)}” is created.", icon=":material/key:")
    st.rerun()


@st.dialog("Revoke this token?", icon=":material/block:")
def revoke_dialog(ctx: ui.Context, token: Any) -> None:
    """Name the effect, then revoke."""
    used = f"last used {ui.when(token.last_used_at, ctx)}" if token.last_used_at else "never used"
    st.markdown(
        f"Programs that send **{ui.plain(token.name)}** ({ui.plain(token.prefix)}…, {used}) are answered 401 within 2 seconds. It cannot be brought back; a new one can be created."
    )
    if st.button("Revoke", type="primary", key="revoke-yes"):
        act(
            lambda: auth.revoke_token(ctx.ws, token.id, by=ctx.actor, now=ctx.now),
            f"Token “{ui.plain(token.name)}” is revoked.",
        )


# --- settings, audit, health --------------------------------------------------------------------------------------


def show_settings(ctx: ui.Context) -> None:
    """What is in force in this process; secrets only as set or not."""
    rows = []
    for field, info in type(ctx.ws.settings).model_fields.items():
        value = getattr(ctx.ws.settings, field)
        secret = "SecretStr" in str(info.annotation)
        default = info.get_default(call_default_factory=True)
        rows.append(
            {
                "Setting": str(info.validation_alias or field),
                "Value": ("set" if value is not None else "not set")
                if secret or isinstance(value, SecretStr)
                else "not set"
                if value in (None, ())
                else str(value),
                "From": "default" if value == default else "environment, .env or secrets.toml",
            }
        )
    changed = sum(row["From"] != "default" for row in rows)
    with ui.card(
        f"{ui.count(changed)} of {len(rows)} settings differ from their default",
        "Read at the start from environment, .env, then secrets.toml; change them there and restart. Secrets are never shown.",
    ):
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height="content",
            placeholder="–",
            alt="Settings in force, secrets masked",
        )
        ui.download_table("The settings as CSV", "settings.csv", rows)


def show_audit(ctx: ui.Context) -> None:
    """Who changed what outside the cycles, newest first."""
    page = st.session_state.get("audit-page", 1)
    entries, total = auth.audit_entries(ctx.ws, limit=AUDIT_ROWS, offset=(page - 1) * AUDIT_ROWS)
    names = inventory.project_names(ctx.ws)
    pages = max(math.ceil(total / AUDIT_ROWS), 1)
    rows = [
        {
            "When": words.wall(e.at, ctx.zone),
            "Who": e.who,
            "What": e.what,
            "Project": (names.get(e.project_id, "deleted") if e.project_id else None),
            "Before": json.dumps(e.before, ensure_ascii=False) if e.before else None,
            "After": json.dumps(e.after, ensure_ascii=False) if e.after else None,
        }
        for e in entries
    ]
    with ui.card(f"{ui.counted(total, 'change')} by hand, newest first", "Cycles have their own audit on Automation"):
        if not rows:
            st.markdown("Nothing was changed by hand yet.")
            return
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height="content" if len(rows) <= 12 else 430,
            placeholder="–",
            alt=f"{len(rows)} of {total} changes",
            column_config={
                "When": st.column_config.DatetimeColumn(format="D MMM, HH:mm:ss"),
                "Before": st.column_config.TextColumn(width="medium"),
                "After": st.column_config.TextColumn(width="medium"),
            },
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            if pages > 1:
                st.pagination(pages, key="audit-page", bind="query-params")
            st.space("stretch")
            ui.download_table("This page of the audit as CSV", f"audit-{page}.csv", rows)


TRIED = {
    "delivered": "Discord has taken it: look into the channel.",
    "later": "Discord asks to wait {wait} before the next message. The webhook works.",
    "dead": "The webhook is wrong or was deleted: {why}. Make a new one, set DISCORD_WEBHOOK_URL and restart.",
    "refused": "Discord did not take this message: {why}.",
    "unreachable": "Discord could not be reached ({why}). Messages wait and are sent later.",
    "not_set_up": "DISCORD_WEBHOOK_URL is not set.",
}


def show_channel(ctx: ui.Context) -> None:
    """Whether messages reach people, and a test of it."""
    channel = notify.state_of(ctx.ws)
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
        if st.button("Send a test", icon=":material/send:", key="send-test", disabled=not channel.set_up):
            try:
                tried = notify.send_test(ctx.ws, by=ctx.actor, now=ctx.now)
            except ContinualError as error:
                ui.error_box(error)
                return
            wait = ui.seconds(tried.wait_s) if tried.wait_s is not None else ""
            said = TRIED[tried.outcome].format(wait=wait, why=ui.plain(tried.why))
            if tried.outcome == "delivered":
                st.success(said, icon=":material/check_circle:")
            else:
                st.warning(said, icon=":material/error:")


def show_health(ctx: ui.Context) -> None:
    """Every check of the installation, and how to mend what is not well."""
    with st.spinner("Looking at the installation", show_time=False):
        checks = doctor.examine(ctx.ws, now=ctx.now)
    bad = [c for c in checks if not c.ok]
    found = (
        f"**{len(bad)} of {len(checks)} checks found something.** {ui.plain(bad[0].mend)}"
        if bad
        else f"**All {len(checks)} checks are well.**"
    )
    rows = [
        {"Check": c.name, "State": "✓ Well" if c.ok else "✕ Not well", "Found": c.detail, "To do": c.mend or None}
        for c in checks
    ]
    with ui.verdict("bad" if bad else "well", found, word="Not well" if bad else "Well"):
        ui.download_table("The checks as CSV", "health.csv", rows)
    show_channel(ctx)
    with ui.card("What was looked at", "The same checks as `python -m core.cli doctor`"):
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height="content",
            placeholder="–",
            alt=f"{len(checks)} checks, {len(bad)} not well",
        )
        if st.button(
            "Read every stored file too",
            icon=":material/fact_check:",
            key="deep",
            help="Compares each batch and model with its digest; takes long with much data.",
        ):
            with st.status("Comparing files with their digests") as status:
                deep = [
                    c for c in doctor.examine(ctx.ws, now=ctx.now, deep=True) if c.name not in {k.name for k in checks}
                ]
                for check in deep:
                    st.write(
                        f":material/{'check_circle' if check.ok else 'error'}: {ui.plain(check.name)}: {ui.plain(check.detail)} {ui.plain(check.mend)}"
                    )
                lost = any(not c.ok for c in deep)
                status.update(
                    label="Something is damaged" if lost else "Every file is as it was written",
                    state="error" if lost else "complete",
                    expanded=True,
                )


def main() -> None:
    """Draw the page."""
    ctx = ui.start_page("Admin", role="admin")
    with ui.head_row("Admin", f"signed in as {ctx.user.name}"):
        pass  # this head has no buttons
    drawn = (show_people, show_tokens, show_settings, show_audit, show_health)
    for tab, draw in zip(st.tabs(list(TABS), key="tab", bind="query-params"), drawn, strict=True):
        if tab.open:
            with tab:
                draw(ctx)


main()
