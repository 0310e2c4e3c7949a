"""The model's performance on the newest labelled rows: scores, weakest slices, confusion, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.performance.calibration import Calibration, calibration
from core.performance.confusion import Confusion, confusion
from core.performance.realised import Intervals, measure
from core.performance.segments import Slice, worst_slices
from core.records import PerformanceReport, ProjectInfo
from core.services.monitoring import monitoring
from core.storage.workspace import Workspace

SLICED_ROWS = 5_000  # newest rows of a window in which slices are searched
NEWEST_ROWS, NEWEST_SLICES = 2_000, 5  # of `weakest`


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReport:
    """A window of labelled rows that were predicted before their labels were known."""

    first_at: datetime  # of its rows
    last_at: datetime
    report: PerformanceReport
    sliced: int  # newest rows in which slices were searched
    slices: tuple[Slice, ...]
    confusion: Confusion | None = None  # None: regression
    calibration: Calibration | None = None  # None: regression, or no probabilities


def window_report(ws: Workspace, project: ProjectInfo, *, n: int) -> WindowReport | None:
    """The report on the newest n labelled rows; None while there are none."""
    judged = monitoring.labelled_with_predictions(ws, project, n=n)
    if judged is None or project.schema is None or project.task is None:
        return None
    regression = project.task == "regression"
    y_true = judged.y_true.astype(float) if regression else judged.y_true
    merit = _merit(judged, regression=regression)
    newest = judged.X.iloc[-SLICED_ROWS:].reset_index(drop=True)
    classified = not regression
    return WindowReport(
        first_at=judged.times.min().to_pydatetime(),
        last_at=judged.times.max().to_pydatetime(),
        report=measure(
            project.task,
            y_true,
            judged.y_pred,
            judged.y_proba,
            judged.classes or None,
            intervals=Intervals(ordered=True),
        ),
        sliced=len(newest),
        slices=tuple(worst_slices(newest, merit[-SLICED_ROWS:], project.schema)),
        confusion=confusion(y_true, judged.y_pred, project.schema.classes) if classified else None,
        calibration=calibration(y_true, judged.y_proba, judged.classes)
        if classified and judged.y_proba is not None
        else None,
    )


def weakest(ws: Workspace, project: ProjectInfo) -> tuple[Slice, ...] | None:
    """The weakest slices of the newest labelled rows, weakest first; None while there are no such rows."""
    judged = monitoring.labelled_with_predictions(ws, project, n=NEWEST_ROWS)
    if judged is None or project.schema is None:
        return None
    merit = _merit(judged, regression=project.schema.task == "regression")
    return tuple(worst_slices(judged.X, merit, project.schema, max_slices=NEWEST_SLICES))


def _merit(judged: monitoring.PredictedLabels, *, regression: bool) -> Any:
    """Whether each row was predicted correctly; for regression its absolute error."""
    return abs(judged.y_true.astype(float) - judged.y_pred) if regression else judged.y_true == judged.y_pred
