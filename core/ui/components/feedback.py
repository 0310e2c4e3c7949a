"""Feedback on a page: an error in place, a message after the next run, a warning about data that may be lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import streamlit as st
from loguru import logger

from core.errors import BadInput, ContinualError, ProofNeeded, StorageError
from core.services.operations import hosting
from core.storage.troubles import trouble_of
from core.ui.components.presses import at_work
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

    A password that has to be confirmed is no failure: `ProofNeeded` is raised to the caller.

    Args:
        doing: shown while it runs; nothing if left out.
        done: shown instead once it is done.
    """
    try:
        if not doing:
            return act()
        with at_work(doing) as status:
            result = act()
            status.update(label=done(result) if done else doing, state="complete")
            return result
    except ProofNeeded:
        raise
    except ContinualError as error:
        error_box(error)
        return None


def toast_next(text: str, icon: str | None = None) -> None:
    """A message after the next run: for actions that end in a rerun."""
    st.session_state["toast"] = (text, icon)


def show_toast() -> None:
    """The message that the last run left; shown once."""
    if message := st.session_state.pop("toast", None):
        st.toast(message[0], icon=message[1], duration="long")


def note_storage(ctx: Context) -> None:
    """Warn of what a restart would lose, where the disk is not persistent."""
    lost = hosting.storage_warning(ctx.ws.settings)
    if lost:
        st.warning(lost, icon=":material/hourglass_top:")
