"""Which part of the Data page is shown: the choice at its head, and the link back to the stored rows."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ProjectInfo

VIEWS = {"stored": "Stored", "rows": "Add rows", "labels": "Add labels", "new": "New project"}
SOURCES = {
    "sample": "from a bundled sample",
    "file": "from a file",
    "generator": "from the generator",
    "api": "created through the API",
}


def head(project: ProjectInfo | None) -> str | None:
    """The page's head with the choice of the view; returns its key."""
    wanted = st.session_state.pop("open-view", None)
    if wanted is not None:
        st.session_state["view"] = wanted
    about = (
        f"{ui.plain(project.name)}, {SOURCES.get(project.source, project.source)}" if project else "nothing stored yet"
    )
    with ui.head_row("Data", about):
        return st.segmented_control(
            "View",
            list(VIEWS),
            format_func=VIEWS.__getitem__,
            default=None if wanted else "stored",
            required=True,
            key="view",
            bind="query-params",
            label_visibility="collapsed",
        )


def no_project() -> None:
    """What a project is, where there is none yet."""
    ui.empty(
        "No project yet.",
        "A project is one table with a label to predict. Start with the bundled sample, your own file, or generated rows.",
    )


def no_rows() -> None:
    """What the first batch is for, where there is none yet."""
    ui.empty("No rows yet.", "The first batch defines the schema; every later one is validated against it.")


def open_project(slug: str) -> None:
    """Go to a project's stored rows."""
    ui.choose_project(slug)
    st.session_state["open-view"] = "stored"  # the view's own key is taken until the next run
    st.rerun()
