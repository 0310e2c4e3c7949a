"""The rows of a request, JSON objects, into the frame that models take: quick where all is well, exact where not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from core.data.columns import MAX_ID_LENGTH, MAX_PROBLEMS, as_boolean, as_text, instant, nearest, refusal, shown
from core.errors import BadInput, FieldProblem
from core.records import ROW_ID, ROW_TIME, Feature, FeatureSchema

_PLAIN = {float, int, type(None)}
_EXPECTED = {
    "numeric": "a finite number or null",
    "categorical": "text, a number or null",
    "boolean": "true, false or null",
}


def rows_to_frame(
    rows: Sequence[Mapping[str, Any]], schema: FeatureSchema, *, single: bool = False
) -> tuple[pd.DataFrame, list[str | None], list[datetime | None]]:
    """JSON rows as the X of `conform`, with each row's id and instant (UTC) where it has one.

    A row is an object with every feature; null is a missing value. `_id` (text or whole number) and `_time` (ISO 8601,
    naive = UTC) may come besides, also under the names of the schema's id and time columns.

    Args:
        single: name fields without `rows[i].`, for a request that is one row.

    Raises:
        BadInput: every problem (the first 20) with its field; nothing of the call is to be taken.
    """
    if not rows:
        raise BadInput("There is no row, expected at least one.", (FieldProblem("rows", "none", "at least one row"),))
    try:
        X = _features(rows, schema)
        known = len(schema.features)
        if all(len(row) == known for row in rows):
            return X, [None] * len(rows), [None] * len(rows)
        extras = [_extras(row, schema) for row in rows]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError):
        raise _refused(rows, schema, single) from None
    return X, [row_id for row_id, _ in extras], [at for _, at in extras]


def _features(rows: Sequence[Mapping[str, Any]], schema: FeatureSchema) -> pd.DataFrame:
    numeric = [f.name for f in schema.features if f.kind == "numeric"]
    matrix = _numbers([[row[name] for name in numeric] for row in rows])
    if len(numeric) == len(schema.features):
        return pd.DataFrame(matrix, columns=numeric, copy=False)
    X: dict[str, Any] = dict.fromkeys(schema.names)
    X.update(zip(numeric, matrix.T, strict=True))
    for f in schema.features:
        if f.kind != "numeric":
            X[f.name] = pd.Series([_word(row[f.name], f) for row in rows], dtype="str")
    return pd.DataFrame(X)


def _numbers(cells: list[list[Any]]) -> np.ndarray:
    kinds = set(map(type, chain.from_iterable(cells)))
    if not kinds <= _PLAIN:
        cells = [[_number(value) for value in row] for row in cells]
    matrix = np.array(cells, dtype=np.float64).reshape(len(cells), -1)  # None becomes NaN
    odd = ~np.isfinite(matrix)
    if odd.any() and any(cells[i][j] is not None for i, j in np.argwhere(odd)):
        raise ValueError
    return matrix


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _word(value: Any, feature: Feature) -> str | None:
    if feature.kind == "boolean":
        return as_text(as_boolean(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    return as_text(value)


def _extras(row: Mapping[str, Any], schema: FeatureSchema) -> tuple[str | None, datetime | None]:
    """Id and instant of a row; ValueError when one is wrong or a key is unknown."""
    row_id, at, found = None, None, len(schema.features)
    for name in {schema.id_column: None, ROW_ID: None}:  # the reserved name goes before the project's own
        if name is not None and name in row:
            row_id, found = _row_id(row[name]), found + 1
    for name in {schema.time_column: None, ROW_TIME: None}:
        if name is not None and name in row:
            at, found = None if row[name] is None else instant(row[name]), found + 1
    if len(row) != found:
        raise ValueError
    return row_id, at


def _row_id(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise ValueError
    if len(str(value)) > MAX_ID_LENGTH:
        raise ValueError
    return str(value)


def _refused(rows: Sequence[Any], schema: FeatureSchema, single: bool) -> BadInput:
    """The refusal with every problem of the rows, looked for cell by cell."""
    problems: list[FieldProblem] = []
    for i, row in enumerate(rows):
        _check_row(row, schema, "" if single else f"rows[{i}]", problems)
        if len(problems) >= MAX_PROBLEMS:
            break
    lead = "The row cannot be taken" if single or len(rows) == 1 else "Not all rows can be taken, so none was"
    return refusal(lead, problems[:MAX_PROBLEMS])


def _check_row(row: Any, schema: FeatureSchema, place: str, problems: list[FieldProblem]) -> None:
    def say(key: str, seen: str, expected: str) -> None:
        problems.append(FieldProblem(f"{place}.{key}" if place else key, seen, expected))

    if not isinstance(row, Mapping):
        problems.append(FieldProblem(place or "body", _seen(row), "an object of features"))
        return
    for f in schema.features:
        if f.name not in row:
            say(f.name, "missing", _EXPECTED[f.kind])
            continue
        try:
            _ = _number(row[f.name]) if f.kind == "numeric" else _word(row[f.name], f)
        except (ValueError, OverflowError):
            say(f.name, _seen(row[f.name]), _EXPECTED[f.kind])
    ids, times = {schema.id_column, ROW_ID}, {schema.time_column, ROW_TIME}
    names = set(schema.names)
    for key, value in row.items():
        try:
            if key in ids:
                _row_id(value)
            elif key in times and value is not None:
                instant(value)
        except ValueError:
            expected = f"text of 1 to {MAX_ID_LENGTH} characters" if key in ids else "an instant in ISO 8601"
            say(str(key), _seen(value), expected)
        if key in names or key in ids or key in times:
            continue
        if key == schema.target:
            say(key, "the target", "features only; labels are sent by row id")
        else:
            near = nearest(str(key), schema.names)
            say(str(key), "an unknown feature", f"'{near}'" if near else f"one of {len(names)} known features")


def _seen(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else shown(value)
