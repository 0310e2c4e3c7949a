"""Validates and converts a frame by its project's schema: all input is decoded here.

`inferring` makes the schema from a first file; `rows` validates the rows of a request. All refuse with a list of every
problem, or return rows that the rest of the program need not check again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from core.data import columns, dates
from core.data.cells import MAX_PROBLEMS, as_class, expected_label, listed, refusal
from core.data.frame_checks import checked_frame, refuse_missing
from core.data.limits import MAX_CATEGORIES, MAX_CLASSES
from core.data.roles import WRITTEN_INDEX
from core.data.rows import Table, columns_of
from core.errors import BadInput, FieldProblem
from core.records import ROW_ID, ROW_TIME, Feature, FeatureSchema, Label, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformed:
    """A frame that conforms to a schema.

    X has the features in schema order and a fresh index: numeric ones float64 with NaN, the others `str` dtype with
    NaN for missing, booleans as "true" and "false". Conforming X again changes nothing.
    """

    X: pd.DataFrame
    y: np.ndarray | None  # object array of classes (None = no label) or float64 (NaN); None = no such column
    ids: list[str] | None
    times: pd.DatetimeIndex | None  # UTC
    extra: pd.DataFrame  # columns that the schema does not have, unchanged
    problems: tuple[Problem, ...] = ()  # kept but unused, treated as missing, new
    new_classes: tuple[Label, ...] = ()


def conform(frame: pd.DataFrame, schema: FeatureSchema, *, latest: datetime | None = None) -> Conformed:
    """The frame's rows in the schema's form: all input is decoded here, by the schema and nothing else.

    The target may be absent (rows without labels), so may the id and time columns, which `problems` reports.
    Without them `_id` and `_time` are used if the frame has them.

    Args:
        latest: the latest allowed time of a row; None = no limit.

    Raises:
        BadInput: no rows, duplicate names, a missing feature, the target in another case, a cell that is not of its
            column's kind, missing or duplicate ids, instants that cannot be read.
    """
    frame = checked_frame(frame)
    refuse_missing(frame, schema.names)
    _refuse_other_case(frame, schema)
    problems: list[Problem] = []
    errors: list[BadInput] = []
    X: dict[str, Any] = {}
    for feature in schema.features:
        try:
            X[feature.name] = _conform_feature(frame[feature.name], feature, problems)
        except BadInput as error:
            errors.append(error)
            if len(errors) >= MAX_PROBLEMS:
                break
    y: np.ndarray | None = None
    new_classes: tuple[Label, ...] = ()
    if schema.target in frame.columns:
        try:
            y, new_classes = _conform_target(frame[schema.target], schema, problems)
        except BadInput as error:
            errors.append(error)
    if errors:
        raise _together(errors)
    used = {schema.target, *schema.names}
    id_name = _role_column(frame, schema.id_column, ROW_ID, "no_ids", problems, used)
    time_name = _role_column(frame, schema.time_column, ROW_TIME, "no_times", problems, used)
    left = [c for c in frame.columns if c not in used]
    new = [c for c in left if c not in schema.excluded and not WRITTEN_INDEX.fullmatch(c)]
    problems += [Problem(code="new_column", column=c, count=len(frame)) for c in new[:MAX_PROBLEMS]]
    if len(new) > MAX_PROBLEMS:
        problems.append(Problem(code="more_new_columns", count=len(new) - MAX_PROBLEMS))
    return Conformed(
        X=pd.DataFrame(X, index=pd.RangeIndex(len(frame))),
        y=y,
        ids=None if id_name is None else columns.row_ids(frame[id_name], id_name),
        times=None
        if time_name is None
        else dates.instants(frame[time_name], time_name, day_first=schema.day_first, latest=latest, problems=problems),
        extra=frame[[c for c in left if not WRITTEN_INDEX.fullmatch(c)]],
        problems=tuple(problems),
        new_classes=new_classes,
    )


def _refuse_other_case(frame: pd.DataFrame, schema: FeatureSchema) -> None:
    """Refuse a target in another case: its labels would be ignored like any unknown column."""
    if schema.target in frame.columns:
        return
    known = {*schema.names, *schema.excluded, schema.id_column, schema.time_column}
    other = [c for c in frame.columns if c not in known and c.lower() == schema.target.lower()]
    if other:
        problem = FieldProblem(
            f"column {schema.target}", f"not there ('{other[0]}' is)", f"a column named '{schema.target}'"
        )
        raise refusal("The target is missing", [problem], "Use the same column name as before.")


def _together(errors: Sequence[BadInput]) -> BadInput:
    if len(errors) == 1:
        return errors[0]
    every = tuple(p for e in errors for p in e.problems)
    return BadInput(
        " ".join(str(e) for e in errors[:3]) + (f" And {len(errors) - 3} more columns." if len(errors) > 3 else ""),
        every[:MAX_PROBLEMS],
    )


def _role_column(
    frame: pd.DataFrame, named: str | None, reserved: str, without: str, problems: list[Problem], used: set[str]
) -> str | None:
    """The column that holds ids or instants; it and an unneeded reserved column count as used."""
    if named is not None and named in frame.columns:
        if reserved in frame.columns and reserved != named:
            problems.append(Problem(code="reserved_column", column=reserved, count=len(frame), example=named))
        used.update((named, reserved))
        return named
    if reserved in frame.columns:
        used.add(reserved)
        return reserved
    if named is not None:
        problems.append(Problem(code=without, column=named, count=len(frame)))
    return None


def _conform_feature(column: pd.Series, feature: Feature, problems: list[Problem]) -> Any:
    if feature.kind == "numeric":
        return columns.numbers(column, feature.name, written=feature.written, problems=problems)
    if feature.kind == "boolean":
        return columns.booleans(column, feature.name)
    words = columns.texts(column, feature.name, frozenset(feature.categories))
    if len(feature.categories) < MAX_CATEGORIES:  # otherwise the schema does not hold all known values
        new = sorted(set(words.dropna().unique()).difference(feature.categories))
        if new:
            n = int(words.isin(new).sum())
            problems.append(Problem(code="new_categories", column=feature.name, count=n, example=listed(new)))
    return words


def _conform_target(
    column: pd.Series, schema: FeatureSchema, problems: list[Problem]
) -> tuple[np.ndarray, tuple[Label, ...]]:
    if schema.task == "regression":
        return columns.numbers(column, schema.target, written=schema.target_written, problems=problems), ()
    like = type(schema.classes[0])
    y = columns.mapped(
        column, schema.target, lambda v: as_class(v, like, schema.classes), expected_label(schema.task, schema.classes)
    )
    new = tuple(sorted({v for v in y if v is not None}.difference(schema.classes)))
    if new and len(schema.classes) + len(new) > MAX_CLASSES:
        raise BadInput(
            f"Column '{schema.target}' adds {len(new):,} new classes, expected at most {MAX_CLASSES:,} in all. "
            "Is it the right column?"
        )
    if new:
        n = sum(v in new for v in y if v is not None)
        problems.append(Problem(code="new_classes", column=schema.target, count=n, example=listed(new)))
    return y, new


def table_of(
    frame: pd.DataFrame, schema: FeatureSchema, *, latest: datetime | None = None
) -> tuple[Table, tuple[Problem, ...], tuple[str, ...]]:
    """The rows of a prediction request: columns for a scorer, conversions applied to the input, columns that no model uses.

    A target column is ignored: it is not needed, and may hold classes that the model has never seen.

    Raises:
        BadInput: as `conform`.
    """
    taken = conform(frame.drop(columns=schema.target, errors="ignore"), schema, latest=latest)
    times = None if taken.times is None else list(pd.DatetimeIndex(taken.times).to_pydatetime())
    ids: list[str | None] | None = None if taken.ids is None else [*taken.ids]
    # Missing ids and times are normal in a prediction request, unlike in a file of rows.
    notes = tuple(p for p in taken.problems if p.code not in ("no_ids", "no_times"))
    return Table(columns_of(taken.X, schema), len(taken.X), ids, times), notes, tuple(map(str, taken.extra.columns))
