"""The head of the page with the controls of the run, and the empty states."""

from __future__ import annotations

from core import ui, words
from core.records import ProjectInfo
from core.services.automation.live import LiveInfo
from core.ui.views.live import controls

SAMPLE = "sample"  # source of the projects that are played


def show(ctx: ui.Context, project: ProjectInfo, run: LiveInfo | None) -> None:
    """The project's name; the controls, where there is something to play."""
    with ui.head_row("Live", words.plain(project.name)):
        if project.source == SAMPLE:
            controls.show(ctx, project, run)


def no_project() -> None:
    """The page before there is anything to play."""
    with ui.head_row("Live", "watch it learn"):
        pass  # this head has no buttons
    ui.empty(
        "Nothing to play yet.",
        "Choose a stream, a drift scenario and the policy to handle it; it takes about two minutes.",
    )


def nothing_plays(project: ProjectInfo) -> None:
    """Why nothing plays, and what to do."""
    if project.source == SAMPLE:
        ui.empty("Ready to play.", "Press Play: the rest of the sample arrives batch by batch through the real loop.")
    else:
        ui.empty(
            "This project was not made from a stream.",
            "Its rows arrive through Data, API or command line; Home shows the score over time.",
            page="",
            action="Open Home",
        )
