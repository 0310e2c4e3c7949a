"""The head of the page: which rows are compared with which; and the empty state before the first check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from core import ui, words
from core.records import ProjectInfo
from core.services.monitoring.compared import Against

CURRENT: dict[str, tuple[str, int | None]] = {  # label, and how many batches
    "check": ("Last check", None),
    "5": ("Last 5", 5),
    "20": ("Last 20", 20),
}
AGAINST = {"champion": "against the champion's training rows", "before": "against the batches before"}


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
        current = ui.chosen("window", {key: label for key, (label, _) in CURRENT.items()}, "check", segmented=True)
        against = ui.chosen("against", AGAINST, "champion", segmented=False, width=290)
    return current, against


def no_project() -> None:
    """The page before there is a project."""
    with ui.head_row("Drift"):
        pass  # this head has no buttons
    ui.no_project()


def nothing_yet(project: ProjectInfo) -> None:
    """What is missing and what to do about it."""
    if project.champion is None:
        ui.empty(
            "No drift check yet.",
            "Drift checks start with the first champion: new rows are compared with its training rows.",
            page="train",
            action="Train a model",
        )
    else:
        ui.empty(
            "No drift check yet.",
            "The next batch of rows will be checked.",
            page="live" if project.source == "sample" else "data",
            action="Add rows",
        )
