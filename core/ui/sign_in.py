"""The sign-in form, shown instead of every page until somebody is signed in."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from core.errors import CodeNeeded, ContinualError
from core.services.access import accounts, sessions, verifying
from core.storage.workspace import Workspace
from core.ui import session
from core.ui.context import client_address


def show_sign_in(ws: Workspace) -> None:
    """The form; where nobody can sign in yet, what to do for that."""
    _, middle, _ = st.columns((1, 1.3, 1))
    with middle:
        st.title("Continual ML", anchor=False)
        st.caption("The whole life of a model after it ships.")
        if not accounts.list_users(ws):
            st.info(
                "Nobody can sign in yet. Set STREAMLIT_PASSWORD (in the environment, `.env` or secrets.toml) and start "
                "again: it becomes the password of the user `admin`. Or run `make run`, which creates one for you.",
                icon=":material/key:",
            )
            return
        with st.form("sign-in", border=True):
            st.text_input("Username", key="sign-in name", autocomplete="username")
            st.text_input("Password", type="password", key="sign-in password", autocomplete="current-password")
            if st.session_state.get("code wanted"):
                st.text_input(
                    "Code",
                    key="sign-in code",
                    autocomplete="one-time-code",
                    help="The six digits that your authenticator app shows now, or one of your recovery codes.",
                )
            st.form_submit_button("Sign in", type="primary", width="stretch", on_click=_submit, args=(ws,))
        if error := st.session_state.pop("sign-in error", None):
            st.error(error, icon=":material/error:")
        st.caption("Forgot your password? An admin can set a new one: `python -m core.cli users set-password NAME`.")


def _submit(ws: Workspace) -> None:
    """The form's callback: signs in before the page is drawn, so that the page already shows it."""
    state = st.session_state
    try:
        user = verifying.verify_password(
            ws,
            state["sign-in name"],
            state["sign-in password"],
            client_address(ws),
            datetime.now(UTC),
            code=state.get("sign-in code", ""),
        )
    except CodeNeeded:
        state["code wanted"] = True
        return
    except ContinualError as error:
        state["sign-in error"] = str(error)
        return
    state["code wanted"] = False
    session.begin(ws, user)
    sessions.note_visit(ws, user.name, datetime.now(UTC))
