"""What a person does on a page: buttons that say why they are disabled, and dialogs that name an effect before it happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.ui.components.feedback import attempt, toast_next
from core.ui.components.presses import pressed, submitted
from core.ui.context import Context


def button(
    ctx: Context, label: str, *, needs: str = "operator", closed: bool = False, help: str | None = None, **look: Any
) -> bool:
    """Whether it was pressed; it is disabled, with the reason, for people without the role it needs.

    Args:
        closed: disabled for everybody.
        look: key, icon and type, as `st.button` takes them.
    """
    return pressed(label, disabled=closed or not ctx.may(needs), help=ctx.why_not(needs) or help, **look)


def submit(ctx: Context, label: str, *, icon: str, needs: str = "operator") -> bool:
    """The button of a form: as `button`."""
    return submitted(label, type="primary", icon=icon, disabled=not ctx.may(needs), help=ctx.why_not(needs))


def confirm(effect: str, label: str, act: Callable[[], object], *, key: str, done: str, icon: str) -> None:
    """The body of a dialog: its effect and the button for it; an error stays in the dialog.

    Args:
        done: shown after the next run, with the icon.
    """
    st.markdown(effect)
    if pressed(label, type="primary", key=f"{key}-yes"):
        change(act, done=done, icon=icon)


def confirm_with_reason(
    effect: str, label: str, act: Callable[[str], object], *, key: str, done: str, placeholder: str
) -> None:
    """The same, with a reason for the audit."""
    st.markdown(effect)
    given = st.text_input("Reason (for the audit)", max_chars=300, key=f"{key}-reason", placeholder=placeholder)
    if not pressed(label, type="primary", key=f"{key}-yes"):
        return
    reason = given.strip()
    if reason:
        change(lambda: act(reason), done=done)
        return
    st.error(
        "A reason is required: it is stored in the audit with your name. Write one sentence.", icon=":material/error:"
    )


def change(act: Callable[[], object], *, done: str, icon: str = ":material/check_circle:") -> None:
    """Do something and rerun the page; an error is shown in place.

    Args:
        done: shown after the next run, with the icon.
    """

    def acted() -> bool:
        act()
        return True

    if attempt(acted):
        toast_next(done, icon=icon)
        st.rerun()
