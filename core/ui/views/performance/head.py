"""The head of the page: which metric, over how many batches."""

from __future__ import annotations

from dataclasses import dataclass

from core import ui, words
from core.records import ProjectInfo, metrics_of

WINDOWS = {"1": "Last batch", "5": "Last 5", "20": "Last 20"}
USUAL_WINDOW = "5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen metric and window."""

    metric: str
    window: str  # key of WINDOWS: that many batches


def show(project: ProjectInfo, *, measured: bool) -> Choice:
    """The choices; the policy's metric and the usual window while nothing is measured."""
    metric, window = project.policy.metric, USUAL_WINDOW
    with ui.head_row("Performance", f"{words.counted(project.labelled, 'labelled row')}"):
        if measured and project.task is not None:
            names = metrics_of(project.task)
            metric = ui.chosen(
                "metric",
                {name: words.metric_label(name) for name in names},
                metric if metric in names else names[0],
                segmented=False,
            )
            window = ui.chosen("window", WINDOWS, window, segmented=True)
    return Choice(metric=metric, window=window)


def no_project() -> None:
    """The page before there is a project."""
    with ui.head_row("Performance"):
        pass  # this head has no buttons
    ui.no_project()


def nothing_yet(project: ProjectInfo, metric: str) -> None:
    """What is missing and what to do about it."""
    if project.champion is None:
        ui.empty(
            "No measurements yet.",
            "Measurements start with the first champion: each later batch is predicted before its labels are used.",
            page="train",
            action="Train a model",
        )
    else:
        ui.empty(
            "No labels yet.",
            f"{words.metric_label(metric)} appears with the first labelled rows after the champion.",
            page="data",
            action="Upload labels",
        )
