"""The building blocks of a page: head, summary, card, tiles, and the empty state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from core.ui.navigation import page_path
from core.words import plain

STATES = {  # icon, colour, word
    "well": (":material/check_circle:", "green", "Good"),
    "watch": (":material/warning:", "orange", "Watch"),
    "drifted": (":material/warning:", "orange", "Drifted"),
    "bad": (":material/error:", "red", "Below threshold"),
    "failed": (":material/error:", "red", "Failed"),
    "unknown": (":material/help:", "gray", "Not assessed"),
}


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
def summary(state: str, text: str, *, word: str | None = None) -> Iterator[None]:
    """The page's summary: badge (icon, word, colour), finding, and what is drawn inside at the right."""
    icon, color, usual = STATES[state]
    with (
        st.container(border=True, key=f"summary-{state}"),
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
    """One figure with its basis below it; an absent value is a dash."""
    st.metric(label, value, delta=note, delta_color=color, delta_arrow=arrow, border=True, height="stretch", help=help)  # type: ignore[arg-type]


def empty(what: str, todo: str, *, page: str | None = None, action: str | None = None) -> None:
    """What is missing, what to do about it, and a link."""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{what}** {todo}", width="stretch")
        if page is not None:
            st.page_link(page_path(page), label=action or "Open", icon=":material/arrow_forward:")


def no_project() -> None:
    """The empty state of every page about a project."""
    empty(
        "No project yet.",
        "Create one from the sample, a file of your own or the generator.",
        page="data",
        action="Create a project",
    )
