"""The head of the page, and the empty states."""

from __future__ import annotations

from core import ui


def show(waiting: int) -> None:
    """How many rows wait for a label."""
    with ui.head_row("Labels", f"{waiting:,} waiting" if waiting else "no open requests"):
        pass  # this head has no buttons


def no_champion() -> None:
    """The page before there is a champion."""
    with ui.head_row("Labels", "which rows to label"):
        pass  # this head has no buttons
    ui.empty(
        "No champion yet.",
        "The labelling queue requests labels for rows that a model has predicted. Store labelled rows and start the first race.",
        page="train",
        action="Go to Train",
    )


def nothing_requested() -> None:
    """What the labelling queue is for."""
    ui.empty(
        "No labels are requested.",
        "Let active learning pick the most informative rows: a few dozen labels measure the current champion and help to train the next one.",
    )
