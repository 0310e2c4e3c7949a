"""Presses of buttons, which no other run of the page takes away.

A press belongs to the one run that it starts. Whatever reaches the server meanwhile (a field is changed, a component
answers) ends that run at the next thing it draws and starts another, which knows of no press. So a press is noted by its
callback, before anything is drawn, and forgotten by the button's own code once that acts on it, or at the end of the
first run that was not cut short.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st
from streamlit.elements.lib.mutable_status_container import StatusContainer

from core.ui.context import running


def presses() -> set[str]:
    """Keys of the session's buttons that were pressed and have not acted yet.

    Whoever changes it holds the set itself: a run may be cut short wherever it reads the session's state.
    """
    noted: set[str] = st.session_state.setdefault("presses", set())
    return noted


def pressed(label: str, *, key: str | None = None, **look: Any) -> bool:
    """Whether this button was pressed; True once for each press.

    Args:
        key: as for `st.button`; the label if left out.
        look: what else `st.button` takes, callbacks excepted.
    """
    name, noted = key or label, presses()
    st.button(label, key=key, on_click=noted.add, args=(name,), **look)
    return _taken(name, noted)


def submitted(label: str, *, key: str | None = None, **look: Any) -> bool:
    """The same for the button of a form."""
    name, noted = key or label, presses()
    st.form_submit_button(label, key=key, on_click=noted.add, args=(name,), **look)
    return _taken(name, noted)


def _taken(name: str, noted: set[str]) -> bool:
    """Whether the button's press was noted; it is then the one that this run acts on."""
    taken = name in noted
    noted.discard(name)
    running.press = (name, noted) if taken else None
    return taken


@contextmanager
def still_pressed() -> Iterator[None]:
    """Around what is drawn between a press and its work: a run that is cut short here leaves the press to the next one."""
    press: tuple[str, set[str]] | None = getattr(running, "press", None)
    if press is None:
        yield
        return
    name, noted = press
    noted.add(name)
    yield
    noted.discard(name)


@contextmanager
def at_work(label: str, *, expanded: bool = False, note: str = "") -> Iterator[StatusContainer]:
    """A box that shows what a press has begun; its work, the body, is not cut short before it draws something itself.

    Args:
        note: a line in the box from the beginning.
    """
    with still_pressed():
        box = st.status(label, expanded=expanded)
        if note:
            box.write(note)
    with box:
        yield box
