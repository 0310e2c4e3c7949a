"""What a page says about what happened: an error in its place, a message after the next run, a warning of what may be lost."""

from __future__ import annotations

import streamlit as st
from loguru import logger

from core.errors import BadInput, ContinualError, StorageError
from core.services.operations import hosting
from core.storage.troubles import trouble_of
from core.ui.context import Context
from core.words import plain


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
