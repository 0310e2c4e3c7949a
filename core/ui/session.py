"""Who is signed in on this browser connection: by the connection itself, else by a cookie that the browser keeps.

What the password and the code prove is `core.services.access.verifying`'s; the form that asks for them is `core.ui.sign_in`'s.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import streamlit as st

from core.services.access import sessions, trail
from core.services.access.accounts import UserInfo
from core.storage.workspace import Workspace
from core.ui.context import client_address
from core.ui.shared import workspace

COOKIE_DAYS = 1.0
WRITING_S = 60.0  # after a sign-in


@st.cache_resource(show_spinner=False)
def cookie_key(home: str) -> str:
    """Key of the sign-in cookie, read once a process."""
    return sessions.cookie_key(workspace())


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


def begin(ws: Workspace, user: UserInfo) -> None:
    """Let this connection be signed in from now on, and have the browser keep it."""
    from core.ui.cookie import SignInCookie  # its library is large, and of use at a sign-in only

    state = st.session_state
    state.update(
        username=_identity(user), name=user.name, authentication_status=True, logout=None, connection=_connection()
    )
    cookie = SignInCookie(ws.settings.cookie_name, cookie_key(str(ws.settings.home_path)), COOKIE_DAYS)
    html, state["sign-in ends"] = cookie.written()
    state["write cookie"] = html, time.time() + WRITING_S


def write_cookie() -> None:
    """Have the browser keep a sign-in of the last minute, in each run: one alone may be cut short before it is shown.

    Its container is always there, outside of the page's flow: nothing that a person aims at moves as the cookie is written.
    """
    html, until = st.session_state.get("write cookie") or ("", 0.0)
    with st.container(key="cookie"):
        if time.time() < until:
            st.html(html, unsafe_allow_javascript=True)


def sign_out(ws: Workspace, name: str) -> None:
    """End every session of the person's, this one among them."""
    trail.address.set(client_address(ws))
    sessions.sign_out_everywhere(ws, name)
    for key in ("username", "name", "authentication_status", "write cookie"):
        st.session_state[key] = None
    st.session_state["logout"] = True
