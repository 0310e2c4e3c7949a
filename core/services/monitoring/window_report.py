"""What the newest labelled rows say of the model that answered them: scores, weakest slices, confusion, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.performance import segments
from core.performance.realised import measure
from core.performance.segments import Calibration, Confusion, Slice
from core.records import PerformanceReport, ProjectInfo
from core.services.monitoring import monitoring
from core.storage.workspace import Workspace

SLICED_ROWS = 5_000  # newest rows of a window in which slices are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReport:
    """A window of labelled rows that were predicted before their labels were known."""

    first_at: datetime  # of its rows
    last_at: datetime
    report: PerformanceReport
    sliced: int  # newest rows in which slices were looked for
    slices: tuple[Slice, ...]
    confusion: Confusion | None = None  # None: regression
    calibration: Calibration | None = None  # None: regression, or no probabilities


def window_report(ws: Workspace, project: ProjectInfo, *, n: int) -> WindowReport | None:
    """What the newest n labelled rows say; None while there are none."""
    judged = monitoring.labelled_with_predictions(ws, project, n=n)
    if judged is None or project.schema is None or project.task is None:
        return None
    regression = project.task == "regression"
    y_true = judged.y_true.astype(float) if regression else judged.y_true
    merit = abs(y_true - judged.y_pred) if regression else y_true == judged.y_pred
    newest = judged.X.iloc[-SLICED_ROWS:].reset_index(drop=True)
    classified = not regression
    return WindowReport(
        first_at=judged.times.min().to_pydatetime(),
        last_at=judged.times.max().to_pydatetime(),
        report=measure(project.task, y_true, judged.y_pred, judged.y_proba, judged.classes or None, ordered=True),
        sliced=len(newest),
        slices=tuple(segments.worst_slices(newest, merit[-SLICED_ROWS:], project.schema)),
        confusion=segments.confusion(y_true, judged.y_pred, project.schema.classes) if classified else None,
        calibration=segments.calibration(y_true, judged.y_proba, judged.classes)
        if classified and judged.y_proba is not None
        else None,
    )
