"""The frame of every page: sign-in, navigation, project switcher, and the few shapes that pages are made of.

The only core module that imports Streamlit. `start_page` is the first statement of every page: it draws nothing but
the sign-in until somebody is signed in, whichever address was asked for.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st
from loguru import logger

from core import words
from core.errors import BadInput, CodeNeeded, ContinualError, ProofNeeded, StorageError
from core.jobs import in_app
from core.plots import Palette, Point, palette, performance_finding, points_of
from core.plots.theme import thin
from core.records import Clause, Policy, ProjectInfo, to_document
from core.services.access import auth, second_factor, trail
from core.services.access.actors import FACTOR_FIRST, Actor, includes, require, require_proof
from core.services.access.addresses import client_of
from core.services.access.auth import UserInfo
from core.services.access.passwords import HELP
from core.services.automation import jobs
from core.services.monitoring import monitoring
from core.services.operations import hosting
from core.services.projects import projects
from core.settings import ROOT, get_settings
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace, open_workspace
from core.words import (
    count,
    counted,
    interval,
    interval_text,
    metric_label,
    plain,
    points,
    score,
    seconds,
    share,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from core.services.monitoring.monitoring import LoopEvent
    from core.services.serving.serving import Champions, Served

__all__ = [
    "count",
    "counted",
    "interval",
    "interval_text",
    "metric_label",
    "plain",
    "points",
    "score",
    "seconds",
    "share",
]

COOKIE_DAYS = 1.0
LINE_POINTS = 300  # of a line on a chart: more than two a pixel column are sent and drawn, but not seen
ICON = str(ROOT / "core" / "icon.png")
STATES = {  # icon, colour, word
    "well": (":material/check_circle:", "green", "Well"),
    "watch": (":material/warning:", "orange", "Watch"),
    "drifted": (":material/warning:", "orange", "Drifted"),
    "bad": (":material/error:", "red", "Below threshold"),
    "failed": (":material/error:", "red", "Failed"),
    "unknown": (":material/help:", "gray", "Not judged"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A page in the navigation."""

    title: str
    file: str  # below pages/; "" = Home
    icon: str
    role: str = "viewer"


PAGES: dict[str, tuple[Entry, ...]] = {
    "Watch": (
        Entry(title="Home", file="", icon=":material/home:"),
        Entry(title="Drift", file="drift", icon=":material/waves:"),
        Entry(title="Performance", file="performance", icon=":material/monitoring:"),
        Entry(title="Live", file="live", icon=":material/play_circle:"),
    ),
    "Work": (
        Entry(title="Data", file="data", icon=":material/database:"),
        Entry(title="Labels", file="labels", icon=":material/label:"),
        Entry(title="Train", file="train", icon=":material/model_training:"),
        Entry(title="Predict", file="predict", icon=":material/online_prediction:"),
    ),
    "Govern": (
        Entry(title="Models", file="models", icon=":material/deployed_code:"),
        Entry(title="Automation", file="automation", icon=":material/autorenew:"),
        Entry(title="Admin", file="admin", icon=":material/admin_panel_settings:", role="admin"),
    ),
}


@dataclass(slots=True, kw_only=True)
class Context:
    """What a page knows once somebody is signed in."""

    ws: Workspace
    user: UserInfo
    project: ProjectInfo | None
    zone: tzinfo
    colors: Palette

    @property
    def timezone(self) -> str:
        """Name of the visitor's time zone."""
        return str(self.zone)

    @property
    def now(self) -> datetime:
        """This moment: a dialog acts long after its page was drawn."""
        return datetime.now(UTC)

    @property
    def actor(self) -> Actor:
        """Who acts, for the services, which ask anew whether they may; the log then tells from where."""
        trail.address.set(_client(self.ws))
        return Actor(self.user.name, self.user.uid, self.user.epoch)

    def may(self, role: str) -> bool:
        """Whether the person's role included this one when the page was drawn: what is offered, not what is allowed."""
        return includes(self.user.role, role)

    def why_not(self, role: str) -> str | None:
        """What to say beside a control that the person may not use; None when they may."""
        return None if self.may(role) else f"Your role is {self.user.role}; this needs {role}. An admin can change it."

    def refreshed(self) -> ProjectInfo:
        """The project as it is stored now."""
        assert self.project is not None
        self.project = projects.project_by_id(self.ws, self.project.id)
        return self.project


# --- what the process shares -------------------------------------------------------------------------------------


@st.cache_resource(show_spinner=False)
def workspace() -> Workspace:
    """The open state folder, migrated once a process; the first user is made from STREAMLIT_PASSWORD."""
    from core.logs import set_up_logs

    settings = get_settings()
    set_up_logs(settings, "app")
    ws = open_workspace(settings, migrate=True)
    if settings.streamlit_password is not None:
        auth.ensure_first_user(ws, now=datetime.now(UTC))
    return ws


@st.cache_resource(show_spinner=False)
def champions() -> Champions:
    """The serving models of this process."""
    from core.services.serving.serving import Champions

    return Champions(workspace())


@st.cache_resource(show_spinner=False)
def _cookie_key(home: str) -> str:
    """Key of the sign-in cookie, read once a process."""
    return auth.cookie_key(workspace())


# --- sign-in -----------------------------------------------------------------------------------------------------


def _authenticator(ws: Workspace) -> Any:
    """streamlit-authenticator over ids that carry the person's epoch: a raised epoch ends every older cookie."""
    import streamlit_authenticator

    return streamlit_authenticator.Authenticate(
        auth.authenticator_credentials(ws),
        ws.settings.cookie_name,
        _cookie_key(str(ws.settings.home_path)),
        COOKIE_DAYS,
        auto_hash=False,
        login_sleep_time=0.0,
    )


def _from_cookie(ws: Workspace) -> tuple[UserInfo, float] | None:
    """Whom the browser's cookie signs in, and until when."""
    if st.session_state.get("logout"):
        return None
    return auth.of_cookie(ws, st.context.cookies.get(ws.settings.cookie_name), _cookie_key(str(ws.settings.home_path)))


def _connection() -> str | None:
    """What tells this browser connection from every other; None outside a browser."""
    return st.context.headers.get("Sec-Websocket-Key")


def _held(ws: Workspace) -> UserInfo | None:
    """Who signed in on this very connection, while that sign-in lasts.

    A session's id stands in addresses that proxies log, so it is no sign-in: on another connection the cookie counts.
    """
    state = st.session_state
    if state.get("connection") != _connection() or time.time() > state.get("sign-in ends", float("inf")):
        return None
    return auth.signed_in(ws, state.get("username"))


def _signed_in(ws: Workspace) -> UserInfo | None:
    state = st.session_state
    user = _held(ws)
    if user is None:
        found = _from_cookie(ws)
        if found is not None:
            user, state["sign-in ends"] = found
    if user is None or auth.is_idle(ws, user, datetime.now(UTC)):
        state["username"] = state["authentication_status"] = None
        return None
    auth.note_visit(ws, user.name, datetime.now(UTC))
    state.update(username=_mark(user), name=user.name, authentication_status=True, connection=_connection())
    return user


def _mark(user: UserInfo) -> str:
    return f"{user.uid}@{user.epoch}"


def _submit(ws: Workspace) -> None:
    """The form's callback: signs in before the page is drawn, so that the cookie's component stays on it."""
    state = st.session_state
    try:
        user = auth.verify_password(
            ws,
            state["sign-in name"],
            state["sign-in password"],
            _client(ws),
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
    _begin(user)
    auth.note_visit(ws, user.name, datetime.now(UTC))


def _begin(user: UserInfo) -> None:
    """Let this connection be signed in from now on, and have the browser keep it."""
    state = st.session_state
    state.update(
        username=_mark(user), name=user.name, authentication_status=True, logout=None, connection=_connection()
    )
    state["sign-in ends"] = state["write cookie"] = time.time() + COOKIE_DAYS * 86_400


def _client(ws: Workspace) -> str:
    """The visitor's address."""
    headers = st.context.headers.get_all("X-Forwarded-For")
    return client_of(st.context.ip_address or "127.0.0.1", headers, ws.settings.trusted_proxies) or "local"


def _write_cookie(ws: Workspace) -> None:
    """Have the browser keep the sign-in; drawn in every run until its component says that it did.

    The component's first answer starts another run. One that no longer draws it could take it away before it has set
    the cookie, and the person would be signed out by the next reload. So each run asks for the very same cookie.
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
        {"username": state["username"], "exp_date": ends}, _cookie_key(str(ws.settings.home_path)), algorithm="HS256"
    )
    _authenticator(ws).cookie_controller.cookie_model.cookie_manager.set(
        ws.settings.cookie_name, token, key=key, expires_at=datetime.fromtimestamp(ends, tz=UTC)
    )


def _show_sign_in(ws: Workspace) -> None:
    _, middle, _ = st.columns((1, 1.3, 1))
    with middle:
        st.title("Continual ML", anchor=False)
        st.caption("The whole life of a model after it ships.")
        if not auth.list_users(ws):
            st.info(
                "Nobody can sign in yet. Set STREAMLIT_PASSWORD (in the environment, `.env` or secrets.toml) and start "
                "again: it becomes the password of the user `admin`. Or run `make run`, which makes one for you.",
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
        st.caption("Password forgotten? An admin sets another one: `python -m core.cli users set-password NAME`.")


def _sign_out(ws: Workspace, name: str) -> None:
    trail.address.set(_client(ws))
    auth.sign_out_everywhere(ws, name)
    for key in ("username", "name", "authentication_status", "write cookie"):
        st.session_state[key] = None
    st.session_state["logout"] = True


# --- frame -------------------------------------------------------------------------------------------------------

_running = threading.local()  # whether Home.py drives this run


def run_app(home: Callable[[], None]) -> None:
    """Home.py's work: sign-in first, then the navigation and the page that was asked for."""
    _configure("Continual ML")
    ws = _workspace_or_stop()
    user = _signed_in(ws)
    page = navigation(home, user)
    if user is None:
        _show_sign_in(ws)
        return
    _running.driven = True
    try:
        page.run()
    except Exception as error:
        shown = as_shown(error)
        if shown is None:
            raise
        error_box(shown)
    finally:
        _running.driven = False


def as_shown(error: Exception) -> ContinualError | None:
    """An error that a person is meant to read, also where the system or a driver raised it; None for a fault of the program."""
    if isinstance(error, ContinualError):
        return error
    trouble = trouble_of(error)
    if trouble is None:
        return None
    logger.error("{kind}: {error}", kind=trouble.kind, error=type(error).__name__)
    return StorageError(trouble.text)


def navigation(home: Any, user: UserInfo | None) -> Any:
    """The ten pages; hidden and without content for a visitor who is not signed in, so that deep links live on."""
    hidden = user is None

    def nothing() -> None:
        """The sign-in stands in its place."""

    sections: dict[str, list[Any]] = {}
    registered: dict[str, Any] = {}
    for section, entries in PAGES.items():
        for entry in entries:
            if user is not None and not includes(user.role, entry.role):
                continue
            source: Any = nothing if hidden else (home if not entry.file else str(ROOT / "pages" / f"{entry.file}.py"))
            made = st.Page(source, title=entry.title, icon=entry.icon, url_path=entry.file, default=not entry.file)
            sections.setdefault(section, []).append(made)
            registered[entry.file] = made
    _running.pages = registered
    return st.navigation(sections, position="hidden" if hidden else "sidebar", expanded=True)


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


def start_page(title: str, *, choose_project: bool = False, role: str = "viewer") -> Context:
    """The gate and frame of a page; stops the run unless somebody who may see it is signed in.

    Args:
        choose_project: the page is about one project: shows the switcher and sets `Context.project`.
        role: the least that may see the page.
    """
    driven = getattr(_running, "driven", False)
    if not driven:
        _configure(title)
    ws = _workspace_or_stop()
    user = _signed_in(ws)
    if user is None:
        if not driven and _in_browser():
            navigation(str(ROOT / "Home.py"), None)  # else Streamlit lists the files of pages/ beside the form
        _show_sign_in(ws)
        st.stop()
    if (
        not driven
        and not st.session_state.get("write cookie")
        and _in_browser()
        and "handed over" not in st.session_state
    ):
        # The page's file was asked for before Home.py ever ran: once it has registered the pages, Home.py drives. Asked
        # once a session: where Home.py does not take over, the page goes on alone instead of starting anew for ever.
        st.session_state["handed over"] = True
        navigation(str(ROOT / "Home.py"), user)
        st.rerun()
    zone = _zone()
    mode = st.context.theme.type or "light"
    context = Context(ws=ws, user=user, project=None, zone=zone, colors=palette(mode))
    _running.actor = context.actor
    with st.sidebar:
        if choose_project:
            context.project = _switcher(ws)
        _account(ws, user)
    _write_cookie(ws)
    _note_password(context)
    if (asked := st.session_state.get("account dialog")) is not None:
        DIALOGS[asked](context)
    if (
        role == "admin"
        and context.may(role)
        and ws.settings.require_second_factor == "admins"
        and not user.second_factor
    ):
        st.error(FACTOR_FIRST, icon=":material/lock:")
        st.stop()
    if not context.may(role):
        st.error(
            f"{title} is for the role {role}; yours is {user.role}. An admin can change it.", icon=":material/lock:"
        )
        st.stop()
    if told := st.session_state.pop("toast", None):
        st.toast(told[0], icon=told[1], duration="long")
    return context


def gate_again(ctx: Context) -> None:
    """The gate of a fragment that draws itself anew: the page around it, and so `start_page`, does not run then."""
    if _held(ctx.ws) is None:
        st.rerun(scope="app")


def _in_browser() -> bool:
    """Whether a real browser session runs this script; page tests drive a page file alone."""
    from streamlit import runtime

    return runtime.exists()


def _zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _switcher(ws: Workspace) -> ProjectInfo | None:
    """The project the page is about: the link's, the last one chosen, else the first."""
    known = projects.list_projects(ws)
    if not known:
        return None
    slugs = [p.slug for p in known]
    names = {p.slug: p.name for p in known}
    wanted = (
        st.session_state.pop("chosen project", None)
        or st.query_params.get("project")
        or st.session_state.get("last project")
    )
    if wanted not in slugs:
        wanted = slugs[0]
    slug = st.selectbox(
        "Project", slugs, index=slugs.index(wanted), format_func=lambda s: names[s], label_visibility="collapsed"
    )
    st.session_state["last project"] = slug
    if len(slugs) > 1 and st.query_params.get("project") != slug:
        st.query_params["project"] = slug
    return next(p for p in known if p.slug == slug)


def choose_project(slug: str) -> None:
    """Make a project the one that the switcher shows from the next run on."""
    st.session_state["chosen project"] = slug
    st.session_state["last project"] = slug
    if "project" in st.query_params:
        st.query_params["project"] = slug


def _account(ws: Workspace, user: UserInfo) -> None:
    with st.popover(f"{user.name}", icon=":material/account_circle:", width="stretch"):
        st.caption(f"Signed in as {plain(user.name)}, role {user.role}.")
        st.button("Change password", icon=":material/password:", on_click=_ask, args=("password",), width="stretch")
        st.button("Second factor", icon=":material/phonelink_lock:", on_click=_ask, args=("factor",), width="stretch")
        st.button(
            "Sign out",
            icon=":material/logout:",
            on_click=_sign_out,
            args=(ws, user.name),
            width="stretch",
            help="Ends every session of yours, in all browsers.",
        )


# --- the person's own affairs -------------------------------------------------------------------------------------


def _ask(dialog: str | None = None) -> None:
    """Have one of `DIALOGS` open from the next run on; None: none of them."""
    st.session_state["account dialog"] = dialog


def ask_proof() -> None:
    """Start anew with the question for the password; the person then repeats what asked for it."""
    _ask("proof")
    st.rerun()


@st.dialog("Your password once more", icon=":material/lock:", on_dismiss=_ask)
def _proof_dialog(ctx: Context) -> None:
    st.markdown(
        "People, roles, tokens and models from elsewhere are changed only by who has just given the own password. "
        "It counts for ten minutes. Nothing was done yet."
    )
    with st.form("proof", border=False):
        password = st.text_input(
            "Your password", type="password", key="proof-password", autocomplete="current-password"
        )
        sent = st.form_submit_button("Go on", type="primary")
    if not sent:
        return
    try:
        auth.prove(ctx.ws, ctx.actor, password, _client(ctx.ws), ctx.now)
    except ContinualError as error:
        error_box(error)
        return
    _ask(None)
    toast_next("Thank you. Press the button again now.", icon=":material/lock_open:")
    st.rerun()


@st.dialog("Change your password", icon=":material/password:", on_dismiss=_ask)
def _password_dialog(ctx: Context) -> None:
    st.markdown("You stay signed in here; every other session of yours ends.")
    with st.form("own-password", border=False):
        old = st.text_input("Old password", type="password", key="own-old", autocomplete="current-password")
        new = st.text_input("New password", type="password", key="own-new", autocomplete="new-password", help=HELP)
        again = st.text_input("New password again", type="password", key="own-again", autocomplete="new-password")
        sent = st.form_submit_button("Change it", type="primary")
    if not sent:
        return
    if new != again:
        st.error("The two new passwords differ. Type the same one twice.", icon=":material/error:")
        return
    try:
        changed = auth.change_own_password(ctx.ws, ctx.actor, old, new, _client(ctx.ws), ctx.now)
    except ContinualError as error:
        error_box(error)
        return
    _begin(changed)
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
            "**Your second factor is set up.** These recovery codes are shown this once; each signs you in one time when "
            "the app is lost. Keep them where the telephone is not."
        )
        st.code("\n".join(codes), language=None)
        if st.button("I have kept them", type="primary"):
            _close_factor()
            st.rerun()
        return
    try:
        if ctx.user.second_factor:
            st.markdown("At each sign-in you are asked for a code after the password.")
            if st.button("Take it off", icon=":material/lock_open:"):
                second_factor.disable(ctx.ws, ctx.user.name, by=ctx.actor, now=ctx.now)
                _close_factor()
                toast_next("The password alone signs you in again.", icon=":material/lock_open:")
                st.rerun()
            return
        if "proposed factor" not in state:
            state["proposed factor"] = second_factor.propose(ctx.user.name)
        secret, address = state["proposed factor"]
        st.markdown(
            "Add this secret to an authenticator app (by hand, or by the address), then type the code it shows."
        )
        st.code(secret, language=None)
        st.code(address, language=None, wrap_lines=True)
        with st.form("factor", border=False):
            code = st.text_input("Code of the app", key="factor-code", autocomplete="one-time-code")
            sent = st.form_submit_button("Turn it on", type="primary")
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


def note_storage(ctx: Context) -> None:
    """Say what a restart here would lose, where the disk does not last."""
    lost = hosting.lost(ctx.ws.settings)
    if lost:
        st.warning(lost, icon=":material/hourglass_top:")


def _note_password(ctx: Context) -> None:
    """Say that somebody else set the password, or that it would not be taken today."""
    user = ctx.user
    if user.password_set_by is not None and user.password_set_at is not None:
        at = user.password_set_at.astimezone(ctx.zone)
        st.warning(
            f"Your password was changed on {at:%Y-%m-%d at %H:%M} by {plain(user.password_set_by)}, who knows it. "
            "Change it (your name at the left, Change password). If you did not ask for that, tell an admin.",
            icon=":material/password:",
        )
        st.button("I know", key="know-password", on_click=auth.know_of_password, args=(ctx.ws, ctx.actor))
    elif user.weak_password:
        st.warning(
            "Your password is shorter than is safe, or a common one. Change it: your name at the left, Change password.",
            icon=":material/password:",
        )


# --- shapes ------------------------------------------------------------------------------------------------------


@contextmanager
def head_row(title: str, caption: str = "") -> Iterator[None]:
    """Title and caption at the left; what is drawn inside stands at the right."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title(plain(title), anchor=False, width="content")
        if caption:
            st.caption(caption, width="content")
        st.space("stretch")
        yield


@contextmanager
def verdict(state: str, text: str, *, word: str | None = None) -> Iterator[None]:
    """The page's one sentence: badge (icon, word, colour), finding, and what is drawn inside at the right."""
    icon, color, usual = STATES[state]
    with (
        st.container(border=True, key=f"verdict-{state}"),
        st.container(horizontal=True, wrap=False, vertical_alignment="center"),
    ):
        st.badge(word or usual, icon=icon, color=color)  # type: ignore[arg-type]
        st.markdown(text, width="stretch")
        yield


@contextmanager
def card(finding: str, caption: str = "", *, key: str | None = None) -> Iterator[None]:
    """A bordered card: the finding as its heading, what is drawn below as its caption."""
    with st.container(border=True, height="stretch", gap="xsmall", key=key):
        st.markdown(f"**{finding}**")
        if caption:
            st.caption(caption)
        yield


def grid(columns: int = 4) -> Any:
    """Cells side by side that wrap on a phone."""
    return st.grid(columns=columns, min_column_width=150, gap="small")


def tiles() -> Any:
    """Four tiles in a row, two by two on a phone."""
    return grid(4)


def tile(
    label: str, value: str, *, note: str | None = None, help: str | None = None, color: str = "off", arrow: str = "off"
) -> None:
    """One figure with what it rests on below it; an absent value is a dash."""
    st.metric(label, value, delta=note, delta_color=color, delta_arrow=arrow, border=True, height="stretch", help=help)  # type: ignore[arg-type]


def chart(figure: go.Figure, *, key: str, alt: str) -> None:
    """A plotly figure without its toolbar; `alt` tells screen readers the figures."""
    st.plotly_chart(figure, key=key, theme=None, width="stretch", config={"displayModeBar": False}, alt=alt)


def chosen(name: str, options: dict[str, str], usual: str, *, segmented: bool, width: int = 200) -> str:
    """One of the options; the address carries its key, so a link reproduces what is seen."""
    wanted = st.query_params.get(name, usual)
    usual = wanted if wanted in options else usual

    def remember() -> None:
        st.query_params[name] = st.session_state[f"chosen-{name}"]

    shared: dict[str, Any] = {
        "key": f"chosen-{name}",
        "format_func": lambda key: options[key],
        "on_change": remember,
        "label_visibility": "collapsed",
    }
    keys = list(options)
    if segmented:
        found = st.segmented_control(name.capitalize(), keys, default=usual, required=True, **shared)
        return found or usual
    return st.selectbox(name.capitalize(), keys, index=keys.index(usual), width=width, **shared) or usual


def empty(what: str, todo: str, *, page: str | None = None, action: str | None = None) -> None:
    """What will stand here, what to do for it, and one way there."""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{what}** {todo}", width="stretch")
        if page is not None:
            st.page_link(page_path(page), label=action or "Open", icon=":material/arrow_forward:")


def page_path(page: str) -> Any:
    """A page for links, by the name of its file: "data"; "" is Home."""
    registered = getattr(_running, "pages", {})
    return registered.get(page) or (str(ROOT / "pages" / f"{page}.py") if page else str(ROOT / "Home.py"))


def no_project() -> None:
    """The empty state of every page about a project."""
    empty(
        "No project yet.",
        "Make one from the sample, a file of yours or the generator.",
        page="data",
        action="Make a project",
    )


def error_box(error: ContinualError) -> None:
    """An error in place: what was seen, what was expected, what to do."""
    lines = [plain(error)]
    if isinstance(error, BadInput):
        lines += [f"- `{p.field}`: seen {plain(p.seen)}, expected {plain(p.expected)}" for p in error.problems[:10]]
    st.error("\n".join(lines), icon=":material/error:")


def pairs(lines: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    st.markdown("\n".join(["| | |", "| --- | --- |", *(f"| {name} | **{value}** |" for name, value in lines)]))


def clauses(told: Sequence[Clause]) -> None:
    """A verdict clause by clause: those that decide, then those that are told beside them, in grey."""
    for clause in sorted(told, key=lambda c: not c.decides):
        icon = "check_circle" if clause.passed else "cancel"
        if clause.decides:
            st.markdown(f":material/{icon}: {'Pass' if clause.passed else 'Fail'} · {plain(clause.reason)}")
        else:
            note = "would pass" if clause.passed else "would fail"
            st.markdown(f":gray[:material/{icon}: Told, {note} · {plain(clause.reason)}]")


def toast_next(text: str, icon: str | None = None) -> None:
    """A message after the next run: for actions that end in a rerun."""
    st.session_state["toast"] = (text, icon)


def when(at: datetime, ctx: Context) -> str:
    """An instant for people, in their zone."""
    return words.ago(at, ctx.now, ctx.zone)


def served(ctx: Context, project: ProjectInfo) -> Served | None:
    """The project's champion in this process's memory; None while it has none."""
    return champions().get(project.id)


def charted(events: Sequence[LoopEvent]) -> list[LoopEvent]:
    """The events that belong on a chart: races whose challenger was rejected are in the lists alone."""
    return [event for event in events if event.kind != "retrain"]


@st.cache_data(ttl=3600, max_entries=64, show_spinner=False)
def _measured(home: str, project_id: int, role: str, metric: str, newest: tuple[Any, ...]) -> list[Point]:
    """Keyed by the state folder and the newest measurement: stored ones never change."""
    return points_of(monitoring.performance_history(workspace(), project_id, role=role), metric)


def measured(ctx: Context, metric: str, *, role: str = "champion") -> list[Point]:
    """The whole course of a metric of the page's project; read again only after another measurement.

    Args:
        role: champion, or never (the first champion, never retrained, on the same rows).
    """
    assert ctx.project is not None
    found = monitoring.performance_history(ctx.ws, ctx.project.id, role=role, limit=1)
    if not found:
        return []
    newest = (found[0].cycle_id, found[0].batch_id, found[0].rows_seen, found[0].n)
    return _measured(str(ctx.ws.settings.home_path), ctx.project.id, role, metric, newest)


def line(score_points: Sequence[Point]) -> list[Point]:
    """What a chart draws of a course: every dip and peak, at most LINE_POINTS. What is said about it takes them all."""
    return [score_points[i] for i in thin([p.value for p in score_points], LINE_POINTS)]


def course(score_points: Sequence[Any], events: Sequence[Any], project: ProjectInfo) -> str:
    """The heading of a performance chart."""
    metric = project.policy.metric
    return performance_finding(
        score_points,
        events,
        project.policy.threshold,
        metric_label=metric_label(metric),
        higher_is_better=metric not in words.LOWER_IS_BETTER,
    )


def course_alt(score_points: Sequence[Any], metric: str) -> str:
    """The figures of a performance chart for screen readers."""
    known = [p.value for p in score_points if p.value is not None]
    if not known:
        return f"{metric_label(metric)}: no measurement"
    return f"{metric_label(metric)} per batch: {len(known)} points, first {words.number(known[0])}, lowest {words.number(min(known))}, last {words.number(known[-1])}"


# --- downloads ---------------------------------------------------------------------------------------------------


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV, by the one writer of downloads; a row without a column leaves it empty."""
    import pandas as pd

    from core.data.files import write_csv

    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = {name: pd.Series([_cell(row.get(name)) for row in rows], dtype=object) for name in names}
    return write_csv(pd.DataFrame(cells, columns=names))


def _cell(value: Any) -> Any:
    """A value as a cell: what is no single value as JSON."""
    found = to_document(value)
    return json.dumps(found, ensure_ascii=False) if isinstance(found, (list, dict)) else found


def for_who_may(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """The same, but refused to a person who meanwhile is gone or signed out: a click comes long after the page."""
    ws, actor = workspace(), getattr(_running, "actor", None)

    def made() -> bytes:
        require(ws, actor, "viewer")
        return make()

    return made


def download_later(help: str, name: str, make: Callable[[], bytes], *, label: str = "") -> None:
    """A download that is made when it is asked for, and only for somebody who still may see the page."""
    st.download_button(
        label or " ",
        data=for_who_may(make),
        file_name=name,
        icon=":material/download:",
        help=help,
        key=f"download-{name}-{help}",
        on_click="ignore",
    )


def download_table(
    help: str,
    name: str,
    rows: Sequence[Mapping[str, Any]] | Callable[[], Sequence[Mapping[str, Any]]],
    *,
    label: str = "",
) -> None:
    """Rows as a CSV file; a function is asked for them when somebody wants the file."""
    download_later(help, name, lambda: _csv(rows() if callable(rows) else rows), label=label)


def download_json(help: str, name: str, document: Any, *, label: str = "") -> None:
    """A record or document as a JSON file."""
    made = lambda: json.dumps(to_document(document), indent=2, ensure_ascii=False).encode()  # noqa: E731
    download_later(help, name, made, label=label)


# --- work that takes time ----------------------------------------------------------------------------------------

FOLLOW_S = 300.0
POLL_S = 0.3


def request_cycle(ctx: Context, *, force: bool) -> str:
    """Ask for a cycle of the page's project and see to it that somebody does it; returns the job."""
    assert ctx.project is not None
    job = jobs.request_cycle(ctx.ws, ctx.project.id, cause="button", force=force, by=ctx.actor, now=datetime.now(UTC))
    if not jobs.scheduler_lives(ctx.ws, datetime.now(UTC)):
        jobs.start_worker(ctx.ws)
    return job


def request_backtest(ctx: Context, policies: Sequence[Policy], *, since: datetime | None) -> str:
    """Ask what policies would have done with the page's project; returns the job."""
    assert ctx.project is not None
    now = datetime.now(UTC)
    job = jobs.request_backtest(ctx.ws, ctx.project.id, policies, since=since, by=ctx.actor, now=now)
    if not jobs.scheduler_lives(ctx.ws, now):
        jobs.start_worker(ctx.ws)
    return job


def follow_job(ctx: Context, job: str) -> jobs.JobInfo:
    """Show a job until it ends, or for five minutes: it goes on without the page."""
    began = time.monotonic()
    with st.status("Waiting for a worker", expanded=True) as status:
        line = st.empty()
        while True:
            info = jobs.get_job(ctx.ws, job)
            spent = time.monotonic() - began
            if info.status in ("done", "failed"):
                break
            said = "Waiting for a worker" if info.status == "queued" else (info.stage or "Measuring, racing, judging")
            line.progress(min(max(info.share or 0.0, 0.0), 1.0), text=f"{plain(said)}, {seconds(spent)}")
            status.update(label=plain(said))
            if spent > FOLLOW_S:
                status.update(label="Still under way; the Automation page shows it", state="running")
                return info
            time.sleep(POLL_S)
        if info.status == "failed":
            status.update(label="It failed", state="error")
            line.error(plain(info.error or "The log tells more."), icon=":material/error:")
        else:
            result = info.result or {}
            status.update(
                label=f"{str(result.get('outcome', 'done')).replace('_', ' ').capitalize()} after {seconds(spent)}",
                state="complete",
                expanded=False,
            )
            line.caption(plain(result.get("reason", "")))
    return info
