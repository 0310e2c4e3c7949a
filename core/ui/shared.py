"""What all pages and sessions of the process share: the open state folder and the models that serve in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from core.records import ProjectInfo
from core.services.access import accounts
from core.settings import get_settings
from core.storage.workspace import Workspace, open_workspace
from core.ui.context import Context

if TYPE_CHECKING:
    from core.services.serving.champion_cache import Champions, Served


@st.cache_resource(show_spinner=False)
def workspace() -> Workspace:
    """The open state folder, migrated once a process; the first user is made from STREAMLIT_PASSWORD."""
    from core.logs import set_up_logs

    settings = get_settings()
    set_up_logs(settings, "app")
    ws = open_workspace(settings, migrate=True)
    if settings.streamlit_password is not None:
        accounts.ensure_first_user(ws, now=datetime.now(UTC))
    return ws


@st.cache_resource(show_spinner=False)
def champions() -> Champions:
    """The serving models of this process."""
    from core.services.serving.champion_cache import Champions

    return Champions(workspace())


def served(ctx: Context, project: ProjectInfo) -> Served | None:
    """The project's champion in this process's memory; None while it has none."""
    return champions().get(project.id)
