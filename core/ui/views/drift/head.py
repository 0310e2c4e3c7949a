"""The head of the page: which rows are compared with which; and what stands here before there is a check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from core import ui, words
from core.records import ProjectInfo
from core.services.monitoring.compared import Against

CURRENT: dict[str, tuple[str, int | None]] = {  # what is said, and how many batches
    "check": ("Last check", None),
    "5": ("Last 5", 5),
    "20": ("Last 20", 20),
}
AGAINST = {"champion": "against what the champion learnt from", "before": "against the batches before"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is compared."""

    batches: int | None  # the newest; None = those of the newest check
    against: Against


def show(ctx: ui.Context, project: ProjectInfo, checked_at: datetime | None) -> Choice:
    """The choices, once there was a check; the address carries them."""
    with ui.head_row(
        "Drift", words.plain(project.name) if checked_at is None else f"checked {ui.when(checked_at, ctx)}"
    ):
        current, against = _pick() if checked_at is not None else ("check", "champion")
    return Choice(batches=CURRENT[current][1], against="before" if against == "before" else "champion")


def _pick() -> tuple[str, str]:
    with st.container(horizontal=True, width="content"):
        current = ui.chosen("window", {key: said for key, (said, _) in CURRENT.items()}, "check", segmented=True)
        against = ui.chosen("against", AGAINST, "champion", segmented=False, width=290)
    return current, against


def no_project() -> None:
    """The page before there is anything to show."""
    with ui.head_row("Drift"):
        pass  # this head has no buttons
    ui.no_project()


def nothing_yet(project: ProjectInfo) -> None:
    """What will stand here and what to do for it."""
    if project.champion is None:
        ui.empty(
            "No drift check yet.",
            "It begins with the first champion: rows are compared with those it learnt from.",
            page="train",
            action="Train one",
        )
    else:
        ui.empty(
            "No drift check yet.",
            "It comes with the next batch of rows.",
            page="live" if project.source == "sample" else "data",
            action="Bring rows",
        )
