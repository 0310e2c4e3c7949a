"""What a page says about what happened: an error in its place, a message after the next run, a warning of what may be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import streamlit as st
from loguru import logger

from core.errors import BadInput, ContinualError, ProofNeeded, StorageError
from core.services.operations import hosting
from core.storage.troubles import trouble_of
from core.ui.context import Context
from core.words import plain

Result = TypeVar("Result")


def as_shown(error: Exception) -> ContinualError | None:
    """An error that a person is meant to read, also where the system or a driver raised it; None for a fault of the program."""
    if isinstance(error, ContinualError):
        return error
    trouble = trouble_of(error)
    if trouble is None:
        return None
    logger.error("{kind}: {error}", kind=trouble.kind, error=type(error).__name__)
    return StorageError(trouble.text)


def error_box(error: ContinualError) -> None:
    """An error in place: what was seen, what was expected, what to do."""
    lines = [plain(error)]
    if isinstance(error, BadInput):
        lines += [f"- `{p.field}`: seen {plain(p.seen)}, expected {plain(p.expected)}" for p in error.problems[:10]]
    st.error("\n".join(lines), icon=":material/error:")


def attempt(
    act: Callable[[], Result], *, doing: str = "", done: Callable[[Result], str] | None = None
) -> Result | None:
    """What an action returns; None where it failed with an error that a person is meant to read, which is shown in place.

    A password that is to be given once more is no failure: `ProofNeeded` goes on to who asked for the action.

    Args:
        doing: said while it takes its time; left out, nothing is.
        done: what is said instead, once it is done.
    """
    try:
        if not doing:
            return act()
        with st.status(doing) as status:
            found = act()
            status.update(label=done(found) if done else doing, state="complete")
            return found
    except ProofNeeded:
        raise
    except ContinualError as error:
        error_box(error)
        return None


def toast_next(text: str, icon: str | None = None) -> None:
    """A message after the next run: for actions that end in a rerun."""
    st.session_state["toast"] = (text, icon)


def show_toast() -> None:
    """The message that the run before left; said once."""
    if told := st.session_state.pop("toast", None):
        st.toast(told[0], icon=told[1], duration="long")


def note_storage(ctx: Context) -> None:
    """Say what a restart here would lose, where the disk does not last."""
    lost = hosting.lost(ctx.ws.settings)
    if lost:
        st.warning(lost, icon=":material/hourglass_top:")
