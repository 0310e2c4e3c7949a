"""Drift between two raw frames that belong to no project: what their columns are is read off the frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.data import columns
from core.data.cells import listed
from core.data.schema import infer_task
from core.drift.univariate import measure_drift
from core.errors import BadInput, FieldProblem
from core.records import DriftReport, Feature, FeatureSchema

if TYPE_CHECKING:
    import pandas as pd


def compare_frames(
    reference: pd.DataFrame, current: pd.DataFrame, *, target: str | None = None, **options: Any
) -> tuple[FeatureSchema, DriftReport]:
    """What the columns are, and the drift of each; of the target's labels too where both frames have it.

    Args:
        reference, current: as they were read; names that are no text are taken as text. Text and booleans are categories, numbers numeric; a column that only one
            of them has, or that changed its type, is not judged, and says so.
        options: of `measure_drift`.

    Raises:
        BadInput: a frame has doubled column names, or the reference has no such target, or no value of it.
    """
    reference, current = reference.rename(columns=str), current.rename(columns=str)
    for frame, word in ((reference, "reference"), (current, "current")):
        if not frame.columns.is_unique:
            doubled = frame.columns[frame.columns.duplicated()][0]
            raise BadInput(f"The {word} has two columns named '{doubled}'. Rename one of them.")
    if target is not None and target not in reference.columns:
        raise BadInput(
            f"The reference has no column '{target}'. Name one of: {listed(reference.columns, at_most=12)}.",
            (FieldProblem(field=f"column {target}", seen="not there", expected="the target"),),
        )
    names = [c for c in dict.fromkeys([*reference.columns, *current.columns]) if c != target]
    schema = FeatureSchema(
        task=infer_task(reference[target], target) if target is not None else "regression",
        target=target or "",
        features=tuple(Feature(name=name, kind=_kind(name, reference, current)) for name in names),
    )
    labels: dict[str, Any] = {}
    if target is not None and target in current.columns:
        labels = {"y_reference": _labels(reference[target], schema), "y_current": _labels(current[target], schema)}
    return schema, measure_drift(reference, current, schema, **labels, **options)


def _kind(name: str, reference: pd.DataFrame, current: pd.DataFrame) -> Any:
    """What the reference says the column is; the current frame where the reference does not have a value of it."""
    for frame in (reference, current):
        if name in frame.columns and frame[name].notna().any():
            return columns.kind_of(frame[name])
    return "numeric"


def _labels(column: pd.Series, schema: FeatureSchema) -> Any:
    """The target's values; text that stands for a number is read as one in regression."""
    if schema.task != "regression":
        return column
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
