"""Predictions requested on a page: returned if the role allows it, logged, and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.records import Label, ProjectInfo
from core.services.access.actors import require
from core.services.serving import answer_records, explaining, file_answers, predicting
from core.services.serving.champion_cache import Served
from core.services.serving.guards import Guarded
from core.services.serving.prediction_log import store
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from core.learning.contributions import Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAnswer:
    """The prediction for one row, and its explanation."""

    project_id: int
    version: int
    prediction_id: str  # of its row in the log
    target: str
    label: Any  # the class, or the value
    classes: tuple[Label, ...]
    chances: tuple[float, ...]  # of the classes; empty for regression
    guarded: Guarded | None  # by the guards; None = none was triggered
    why: Explanation

    @property
    def withheld(self) -> bool:
        """Whether API clients would get something other than the model's prediction."""
        return self.guarded is not None and self.guarded["action"] != "warn"

    @property
    def chance(self) -> float | None:
        """Probability of the returned class; None for regression."""
        return dict(zip(self.classes, self.chances, strict=True)).get(self.label) if self.chances else None


def predict_row(ws: Workspace, served: Served, values: Mapping[str, Any], *, by: str, now: datetime) -> RowAnswer:
    """The champion's prediction for one row, logged.

    Args:
        values: by feature; None = missing.

    Raises:
        BadInput: the row is not valid, or the model has no finite prediction for it.
    """
    row, _, _ = served.reader.one(values)
    label, place, chances = answer = predicting.predict_one(served, row)
    guarded = served.guards.one(row, label, None if chances is None else chances[place])
    require(ws, by, "operator")
    record = answer_records.record_one(served, row, answer, answer_records.PredictionContext(now), guarded=guarded)
    store(ws, [record])
    return RowAnswer(
        project_id=served.project_id,
        version=served.version,
        prediction_id=record[1],
        target=served.schema.target,
        label=label,
        classes=served.classes,
        chances=tuple(chances or ()),
        guarded=guarded,
        why=explaining.explain_row(served, row),
    )


def predict_file(ws: Workspace, project: ProjectInfo, frame: pd.DataFrame, *, by: str, now: datetime) -> pd.DataFrame:
    """The rows of a file with the champion's predictions, logged; see `file_answers.predict_file`."""
    require(ws, by, "operator")
    return file_answers.predict_file(ws, project, frame, now=now)
