"""The person's own account: name, password, second factor, signing out, and the proof that some changes require.

A dialog lives across runs: `_ask` writes its name down, and every page opens it from `DIALOGS` until it is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.errors import ContinualError, ProofNeeded
from core.services.access import second_factor, verifying
from core.services.access.accounts import UserInfo
from core.services.access.actors import require_proof
from core.services.access.passwords import HELP
from core.storage.workspace import Workspace
from core.ui import session
from core.ui.components.feedback import error_box, toast_next
from core.ui.components.presses import pressed, submitted
from core.ui.context import Context, client_address
from core.words import plain


def show_account(ws: Workspace, user: UserInfo) -> None:
    """The person's name in the sidebar; behind it, what they may do for themselves."""
    with st.popover(f"{user.name}", icon=":material/account_circle:", width="stretch"):
        st.caption(f"Signed in as {plain(user.name)}, role {user.role}.")
        st.button("Change password", icon=":material/password:", on_click=_ask, args=("password",), width="stretch")
        st.button("Second factor", icon=":material/phonelink_lock:", on_click=_ask, args=("factor",), width="stretch")
        st.button(
            "Sign out",
            icon=":material/logout:",
            on_click=session.sign_out,
            args=(ws, user.name),
            width="stretch",
            help="Ends all your sessions, in all browsers.",
        )


def note_password(ctx: Context) -> None:
    """Warn that somebody else set the password, or that it is too weak."""
    user = ctx.user
    if user.password_set_by is not None and user.password_set_at is not None:
        at = user.password_set_at.astimezone(ctx.zone)
        st.warning(
            f"Your password was changed on {at:%Y-%m-%d at %H:%M} by {plain(user.password_set_by)}, who knows it. "
            "Change it (your name on the left, Change password). If you did not request this, tell an admin.",
            icon=":material/password:",
        )
        st.button("Dismiss", key="know-password", on_click=verifying.confirm_password_notice, args=(ctx.ws, ctx.actor))
    elif user.weak_password:
        st.warning(
            "Your password is too short or too common. Change it: your name on the left, Change password.",
            icon=":material/password:",
        )


def _ask(dialog: str | None = None) -> None:
    """Have one of `DIALOGS` open from the next run on; None: none of them."""
    st.session_state["account dialog"] = dialog


def show_dialog(ctx: Context) -> None:
    """The requested dialog, in every run until it is closed."""
    if (asked := st.session_state.get("account dialog")) is not None:
        DIALOGS[asked](ctx)


def ask_proof() -> None:
    """Rerun with the question for the password; the person then repeats the action."""
    _ask("proof")
    st.rerun()


@st.dialog("Confirm your password", icon=":material/lock:", on_dismiss=_ask)
def _proof_dialog(ctx: Context) -> None:
    st.markdown(
        "Changes of people, roles, tokens and imported models require your password. It stays confirmed for ten "
        "minutes. Nothing has been changed yet."
    )
    with st.form("proof", border=False):
        password = st.text_input(
            "Your password", type="password", key="proof-password", autocomplete="current-password"
        )
        sent = submitted("Continue", type="primary")
    if not sent:
        return
    try:
        verifying.prove(ctx.ws, ctx.actor, password, client_address(ctx.ws), ctx.now)
    except ContinualError as error:
        error_box(error)
        return
    _ask(None)
    toast_next("Password confirmed. Press the button again.", icon=":material/lock_open:")
    st.rerun()


@st.dialog("Change your password", icon=":material/password:", on_dismiss=_ask)
def _password_dialog(ctx: Context) -> None:
    st.markdown("You stay signed in here; all your other sessions end.")
    with st.form("own-password", border=False):
        old = st.text_input("Old password", type="password", key="own-old", autocomplete="current-password")
        new = st.text_input("New password", type="password", key="own-new", autocomplete="new-password", help=HELP)
        again = st.text_input("New password again", type="password", key="own-again", autocomplete="new-password")
        sent = submitted("Change it", type="primary")
    if not sent:
        return
    if new != again:
        st.error("The two new passwords differ. Enter the same one twice.", icon=":material/error:")
        return
    try:
        changed = verifying.change_own_password(ctx.ws, ctx.actor, old, new, client_address(ctx.ws), ctx.now)
    except ContinualError as error:
        error_box(error)
        return
    session.begin(ctx.ws, changed)
    _ask(None)
    toast_next("Your password is changed; your other sessions ended.", icon=":material/check_circle:")
    st.rerun()


def _factor(ctx: Context) -> None:
    """The second factor's dialog; before it the question for the password, unless that was given just now."""
    try:
        if "recovery codes" not in st.session_state:
            require_proof(ctx.ws, ctx.actor, "viewer", ctx.now)
    except ProofNeeded:
        _ask("proof")
        _proof_dialog(ctx)
        return
    _factor_dialog(ctx)


def _close_factor() -> None:
    for key in ("recovery codes", "proposed factor"):
        st.session_state.pop(key, None)
    _ask(None)


@st.dialog("Second factor", icon=":material/phonelink_lock:", on_dismiss=_close_factor)
def _factor_dialog(ctx: Context) -> None:
    state = st.session_state
    if (codes := state.get("recovery codes")) is not None:
        st.markdown(
            "**Your second factor is set up.** These recovery codes are shown only once; each signs you in once if you "
            "lose the app. Store them away from your phone."
        )
        st.code("\n".join(codes), language=None)
        if pressed("I have saved them", type="primary"):
            _close_factor()
            st.rerun()
        return
    try:
        if ctx.user.second_factor:
            st.markdown("Each sign-in asks for a code after the password.")
            if pressed("Turn it off", icon=":material/lock_open:"):
                second_factor.disable(ctx.ws, ctx.user.name, by=ctx.actor, now=ctx.now)
                _close_factor()
                toast_next("The second factor is off: the password alone signs you in.", icon=":material/lock_open:")
                st.rerun()
            return
        if "proposed factor" not in state:
            state["proposed factor"] = second_factor.propose(ctx.user.name)
        secret, address = state["proposed factor"]
        st.markdown(
            "Add this secret to an authenticator app (manually, or with the address), then enter the code it shows."
        )
        st.code(secret, language=None)
        st.code(address, language=None, wrap_lines=True)
        with st.form("factor", border=False):
            code = st.text_input("Code from the app", key="factor-code", autocomplete="one-time-code")
            sent = submitted("Turn it on", type="primary")
        if sent:
            state["recovery codes"] = second_factor.enable(ctx.ws, secret, code, by=ctx.actor, now=ctx.now)
            st.rerun()
    except ProofNeeded:
        ask_proof()
    except ContinualError as error:
        error_box(error)


DIALOGS: dict[str, Callable[[Context], Any]] = {
    "proof": _proof_dialog,
    "password": _password_dialog,
    "factor": _factor,
}
