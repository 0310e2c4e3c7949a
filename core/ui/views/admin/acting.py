"""Changes that an admin makes: some require the password to be confirmed first."""

from __future__ import annotations

from collections.abc import Callable

from core import ui
from core.errors import ProofNeeded


def act(change: Callable[[], object], done: str, *, icon: str = ":material/check_circle:") -> None:
    """Make a change and say so after the rerun; an error is shown in place."""
    try:
        ui.change(change, done=done, icon=icon)
    except ProofNeeded:
        ui.ask_proof()
