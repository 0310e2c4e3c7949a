"""The gate and frame of a page: `start_page` is its first statement, `run_app` is Home.py's work.

Whichever address was requested, nothing but the sign-in is drawn until somebody is signed in.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException

from core.jobs import in_app
from core.plots import palette
from core.services.access.accounts import UserInfo
from core.services.access.actors import FACTOR_FIRST
from core.settings import ROOT
from core.storage.workspace import Workspace
from core.ui import account, session
from core.ui.components.choices import switcher
from core.ui.components.feedback import as_shown, error_box, show_toast
from core.ui.components.presses import presses
from core.ui.context import Context, running, visitor_zone
from core.ui.navigation import navigation
from core.ui.shared import workspace
from core.ui.sign_in import show_sign_in

ICON = str(ROOT / "core" / "icon.png")


def run_app(home: Callable[[], None]) -> None:
    """Home.py's work: sign-in first, then the navigation and the requested page."""
    _configure("Continual ML")
    ws = _workspace_or_stop()
    user = session.current_user(ws)
    page = navigation(home, user)
    if user is None:
        show_sign_in(ws)
        return
    running.driven, cut_short, noted = True, False, presses()
    try:
        page.run()
    except RerunException:
        cut_short = True
        raise
    except Exception as error:
        shown = as_shown(error)
        if shown is None:
            raise
        error_box(shown)
    finally:
        running.driven = False
        if not cut_short:  # no button of the page is left to act on them
            noted.clear()


def start_page(title: str, *, choose_project: bool = False, role: str = "viewer") -> Context:
    """The gate and frame of a page; stops the run unless somebody who may see it is signed in.

    Args:
        choose_project: the page is about one project: shows the switcher and sets `Context.project`.
        role: the least that may see the page.
    """
    driven = getattr(running, "driven", False)
    if not driven:
        _configure(title)
    ws = _workspace_or_stop()
    user = session.current_user(ws)
    if user is None:
        if not driven and _in_browser():
            navigation(str(ROOT / "Home.py"), None)  # else Streamlit lists the files of pages/ beside the form
        show_sign_in(ws)
        st.stop()
    if not driven:
        _hand_over(user)
    colors = palette(st.context.theme.type or "light")
    context = Context(ws=ws, user=user, project=None, zone=visitor_zone(), colors=colors)
    running.actor = context.actor
    with st.sidebar:
        if choose_project:
            context.project = switcher(ws)
        account.show_account(ws, user)
    session.write_cookie()
    account.note_password(context)
    account.show_dialog(context)
    _stop_unless_allowed(context, title, role)
    show_toast()
    return context


def recheck_access(ctx: Context) -> None:
    """The gate of a fragment that reruns by itself: the page around it, and so `start_page`, does not run then."""
    if session.user_of_connection(ctx.ws) is None:
        st.rerun(scope="app")


def _hand_over(user: UserInfo) -> None:
    """Let Home.py drive, where the page's file was requested before Home.py ever ran: once the pages are registered, it does.

    Asked once a session: where Home.py does not take over, the page goes on alone instead of restarting for ever.
    """
    state = st.session_state
    if not _in_browser() or "handed over" in state:
        return
    state["handed over"] = True
    navigation(str(ROOT / "Home.py"), user)
    st.rerun()


def _stop_unless_allowed(ctx: Context, title: str, role: str) -> None:
    """End the run where the person's role does not reach, or reaches only with a second factor that is not set up."""
    if not ctx.may(role):
        st.error(
            f"{title} is for the role {role}; yours is {ctx.user.role}. An admin can change it.",
            icon=":material/lock:",
        )
        st.stop()
    if role == "admin" and ctx.ws.settings.require_second_factor == "admins" and not ctx.user.second_factor:
        st.error(FACTOR_FIRST, icon=":material/lock:")
        st.stop()


def _configure(title: str) -> None:
    # Before sign-in no file of the program is served but the framework's own: the icon is one of a font, then.
    icon = ICON if any(name.startswith("continual_") for name in st.context.cookies) else "📈"
    st.set_page_config(
        page_title=f"{title} · Continual ML" if title != "Continual ML" else title, page_icon=icon, layout="wide"
    )
    st.html(ROOT / "core" / "style.css")


def _workspace_or_stop() -> Workspace:
    try:
        ws = workspace()
    except Exception as error:
        shown = as_shown(error)
        if shown is None:
            raise
        error_box(shown)
        st.stop()
    if _in_browser():
        in_app.start(ws)
    return ws


def _in_browser() -> bool:
    """Whether a real browser session runs this script; page tests drive a page file alone."""
    from streamlit import runtime

    return runtime.exists()
