"""The head of the page; and what stands here while nothing is asked for."""

from __future__ import annotations

from core import ui


def show(waiting: int) -> None:
    """How many rows wait for a label."""
    with ui.head_row("Labels", f"{waiting:,} waiting" if waiting else "nothing asked for"):
        pass  # this head has no buttons


def no_champion() -> None:
    """The page before there is anything to ask about."""
    with ui.head_row("Labels", "which rows are worth one"):
        pass  # this head has no buttons
    ui.empty(
        "No champion yet.",
        "The desk asks for labels of rows that a model has answered. Store labelled rows and start the first race.",
        page="train",
        action="Go to Train",
    )


def nothing_asked() -> None:
    """What the desk is good for."""
    ui.empty(
        "Nothing is asked for.",
        "Where labels cost time, let the desk choose: a few dozen well chosen ones tell how good the champion is now, and teach the next one most.",
    )
