"""Drift between two raw frames that belong to no project: what their columns are is read off the frames."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data import columns
from core.data.cells import listed
from core.data.schema import infer_task
from core.drift.univariate import measure_drift
from core.errors import BadInput, FieldProblem
from core.records import DriftReport, DriftScore, Feature, FeatureSchema, Task

if TYPE_CHECKING:
    import pandas as pd


def compare_frames(
    reference: pd.DataFrame, current: pd.DataFrame, *, target: str | None = None, **options: Any
) -> tuple[FeatureSchema, DriftReport]:
    """What the columns are, and the drift of each; of the target's labels too where both frames have it.

    A target that cannot be taken (no value, one class only) leaves the labels alone unjudged, and its score says why.

    Args:
        reference, current: as they were read; names that are no text are taken as text. Text and booleans are categories, numbers numeric; a column that only one
            of them has, or that changed its type, is not judged, and says so.
        options: of `measure_drift`.

    Raises:
        BadInput: a frame has doubled column names, or the reference has no such target.
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
    task, why_not = _task(reference, target)
    schema = FeatureSchema(
        task=task,
        target=target or "",
        features=tuple(Feature(name=name, kind=_kind(name, reference, current)) for name in names),
    )
    labels: dict[str, Any] = {}
    if target is not None and target in current.columns:
        labels = {"y_reference": _labels(reference[target], schema), "y_current": _labels(current[target], schema)}
    if why_not:
        unjudged = DriftScore(
            name="label", kind="label", drifted=False, statistic=None, p_value=None, effect=None,
            reason=f"not judged: {why_not}", judged=False,
        )  # fmt: skip
        return schema, dataclasses.replace(measure_drift(reference, current, schema, **options), label=unjudged)
    return schema, measure_drift(reference, current, schema, **labels, **options)


def _task(reference: pd.DataFrame, target: str | None) -> tuple[Task, str]:
    """The task that the reference's target means, and why its labels cannot be judged; "" when they can."""
    if target is None:
        return "regression", ""
    try:
        return infer_task(reference[target], target), ""
    except BadInput as error:
        return "regression", str(error)


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
