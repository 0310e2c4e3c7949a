"""What a page and its parts know: the run, the person, the project, and what the browser reports. Draws nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from core import words
from core.plots import Palette
from core.records import ProjectInfo
from core.services.access import trail
from core.services.access.accounts import UserInfo
from core.services.access.actors import Actor, includes
from core.services.access.addresses import client_of
from core.services.projects import projects
from core.storage.workspace import Workspace

# Of the run on this thread: `driven` (by Home.py), `pages` (as they are registered), `actor` (for whom the page is drawn), `press` (that it acts on).
running = threading.local()


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
        """Who acts, for the services, which check the permission again; the log then has the address."""
        trail.address.set(client_address(self.ws))
        return Actor(self.user.name, self.user.uid, self.user.epoch)

    def may(self, role: str) -> bool:
        """Whether the person's role included this one when the page was drawn: what is offered, not what is allowed."""
        return includes(self.user.role, role)

    def why_not(self, role: str) -> str | None:
        """Why the person may not use a control; None when they may."""
        return None if self.may(role) else f"Your role is {self.user.role}; this needs {role}. An admin can change it."

    def refreshed(self) -> ProjectInfo:
        """The project as it is stored now."""
        assert self.project is not None
        self.project = projects.project_by_id(self.ws, self.project.id)
        return self.project


def client_address(ws: Workspace) -> str:
    """The visitor's address."""
    headers = st.context.headers.get_all("X-Forwarded-For")
    return client_of(st.context.ip_address or "127.0.0.1", headers, ws.settings.trusted_proxies) or "local"


def visitor_zone() -> tzinfo:
    """The browser's time zone; UTC where it reports none that is known here."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def when(at: datetime, ctx: Context) -> str:
    """An instant for people, in their zone."""
    return words.ago(at, ctx.now, ctx.zone)
