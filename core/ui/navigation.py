"""The table of pages, by section, and how one is reached: the sidebar's entries and the addresses of links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.services.access.accounts import UserInfo
from core.services.access.actors import includes
from core.settings import ROOT
from core.ui.context import running


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


def navigation(home: Any, user: UserInfo | None) -> Any:
    """The pages; hidden and without content for a visitor who is not signed in, so that deep links live on."""
    hidden = user is None

    def nothing() -> None:
        """The sign-in is drawn instead."""

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
    running.pages = registered
    # Off in config.toml: until the first of these calls Streamlit would list the files of pages/, also to a stranger.
    st.set_option("client.showSidebarNavigation", True)
    return st.navigation(sections, position="hidden" if hidden else "sidebar", expanded=True)


def page_path(page: str) -> Any:
    """A page for links, by the name of its file: "data"; "" is Home."""
    registered = getattr(running, "pages", {})
    return registered.get(page) or (str(ROOT / "pages" / f"{page}.py") if page else str(ROOT / "Home.py"))
