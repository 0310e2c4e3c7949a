"""Who is signed in on this browser connection: by the connection itself, else by a cookie that the browser keeps.

What the password and the code prove is `core.services.access.verifying`'s; the form that asks for them is `core.ui.sign_in`'s.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from core.services.access import sessions, trail
from core.services.access.accounts import UserInfo
from core.storage.workspace import Workspace
from core.ui.context import client_address
from core.ui.shared import workspace

COOKIE_DAYS = 1.0


@st.cache_resource(show_spinner=False)
def cookie_key(home: str) -> str:
    """Key of the sign-in cookie, read once a process."""
    return sessions.cookie_key(workspace())


def _authenticator(ws: Workspace) -> Any:
    """streamlit-authenticator over ids that carry the person's epoch: a raised epoch ends every older cookie."""
    import streamlit_authenticator

    return streamlit_authenticator.Authenticate(
        sessions.authenticator_credentials(ws),
        ws.settings.cookie_name,
        cookie_key(str(ws.settings.home_path)),
        COOKIE_DAYS,
        auto_hash=False,
        login_sleep_time=0.0,
    )


def _from_cookie(ws: Workspace) -> tuple[UserInfo, float] | None:
    """Whom the browser's cookie signs in, and until when."""
    if st.session_state.get("logout"):
        return None
    return sessions.of_cookie(
        ws, st.context.cookies.get(ws.settings.cookie_name), cookie_key(str(ws.settings.home_path))
    )


def _connection() -> str | None:
    """Identifies this browser connection; None outside a browser."""
    return st.context.headers.get("Sec-Websocket-Key")


def user_of_connection(ws: Workspace) -> UserInfo | None:
    """Who signed in on this very connection, while that sign-in lasts.

    A session's id is part of addresses that proxies log, so it is no sign-in: on another connection the cookie counts.
    """
    state = st.session_state
    if state.get("connection") != _connection() or time.time() > state.get("sign-in ends", float("inf")):
        return None
    return sessions.signed_in(ws, state.get("username"))


def current_user(ws: Workspace) -> UserInfo | None:
    """Who is signed in; that they were here just now is noted. None where nobody is, or somebody was away for too long."""
    state = st.session_state
    user = user_of_connection(ws)
    if user is None:
        signed_in = _from_cookie(ws)
        if signed_in is not None:
            user, state["sign-in ends"] = signed_in
    if user is None or sessions.is_idle(ws, user, datetime.now(UTC)):
        state["username"] = state["authentication_status"] = None
        return None
    sessions.note_visit(ws, user.name, datetime.now(UTC))
    state.update(username=_identity(user), name=user.name, authentication_status=True, connection=_connection())
    return user


def _identity(user: UserInfo) -> str:
    """What connection and cookie carry: the person, as long as their epoch is not raised."""
    return f"{user.uid}@{user.epoch}"


def begin(user: UserInfo) -> None:
    """Let this connection be signed in from now on, and have the browser keep it."""
    state = st.session_state
    state.update(
        username=_identity(user), name=user.name, authentication_status=True, logout=None, connection=_connection()
    )
    state["sign-in ends"] = state["write cookie"] = time.time() + COOKIE_DAYS * 86_400


@st.fragment
def write_cookie(ws: Workspace) -> None:
    """Have the browser keep the sign-in; drawn in every run until its component says that it did.

    The component's answers run this fragment alone: another run of the whole page could cut short the one in which the
    person has already pressed something. A page drawn without the component could take it away before it has set the
    cookie, and the person would be signed out by the next reload. So each run asks for the very same cookie.
    """
    import jwt

    state = st.session_state
    ends = state.get("write cookie")
    if not ends:
        return
    key = f"set cookie {state['username']}"  # each sign-in has one of its own
    if state.get(key) is True:
        state["write cookie"] = None
        return
    token = jwt.encode(
        {"username": state["username"], "exp_date": ends}, cookie_key(str(ws.settings.home_path)), algorithm="HS256"
    )
    with st.container(
        key="cookie"
    ):  # outside of the page's flow: what a person aims at does not move as it comes and goes
        _authenticator(ws).cookie_controller.cookie_model.cookie_manager.set(
            ws.settings.cookie_name, token, key=key, expires_at=datetime.fromtimestamp(ends, tz=UTC)
        )


def sign_out(ws: Workspace, name: str) -> None:
    """End every session of the person's, this one among them."""
    trail.address.set(client_address(ws))
    sessions.sign_out_everywhere(ws, name)
    for key in ("username", "name", "authentication_status", "write cookie"):
        st.session_state[key] = None
    st.session_state["logout"] = True
