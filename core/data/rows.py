"""Converts the rows of a request, JSON objects, into the values that scorers take: fast for valid rows, exact in its errors.

A row's values are in schema order: float with NaN for a missing number, text with None for a missing category,
booleans as "true" and "false". One row needs neither numpy nor pandas.
"""

from __future__ import annotations

import array
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain
from numbers import Real
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from core.data.cells import (
    MAX_ID_LENGTH,
    MAX_PROBLEMS,
    TOO_GREAT,
    as_boolean,
    as_category,
    as_id,
    as_text,
    instant,
    nearest,
    refusal,
    shown_json,
)
from core.errors import BadInput, FieldProblem
from core.records import ROW_ID, ROW_TIME, Feature, FeatureSchema

if TYPE_CHECKING:
    import msgspec
    import pandas as pd

_WRONG = (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError)
_NUMBERS = {float, int}
_EXPECTED = {
    "numeric": "a finite number or null",
    "categorical": "text, a number or null",
    "boolean": "true, false or null",
}


@dataclass(slots=True)
class Table:
    """Rows as columns in schema order: float64 arrays with NaN, or lists of text with None."""

    columns: list[Any]
    n: int
    ids: list[str | None] | None = None  # None: no row has one
    times: list[datetime | None] | None = None


class RowReader:
    """Reads the rows of requests for one schema.

    A row is an object with every feature; null is a missing value. `_id` (text or whole number) and `_time` (ISO 8601,
    naive = UTC) may be given as well, also under the names of the schema's id and time columns.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema
        self._names = schema.names
        self._numeric = all(f.kind == "numeric" for f in schema.features)
        n = len(self._names)
        self._pick: Any = itemgetter(*self._names) if n > 1 else lambda row: (row[self._names[0]],)
        self._width = n
        self._known = [frozenset(f.categories) for f in schema.features]

    def one(self, row: Any) -> tuple[list[Any], str | None, datetime | None]:
        """The values of a single row, its id and its instant (UTC) if given.

        Raises:
            BadInput: every problem (the first 20) with its field.
        """
        try:
            cells = self._pick(row)
            if self._numeric:
                values: list[Any] = [*map(_float, cells)]
            else:
                values = [*map(_value, cells, self.schema.features, self._known)]
            if len(row) == self._width:
                return values, None, None
            return values, *_extras(row, self.schema)
        except _WRONG:
            raise _refused([row], self.schema, single=True) from None

    def many(self, rows: Sequence[Any]) -> Table:
        """The rows of one call.

        Raises:
            BadInput: every problem (the first 20) with its field; no row of the call may be used.
        """
        if not rows:
            missing = FieldProblem("rows", "none", "at least one row")
            raise BadInput("There are no rows, expected at least one.", (missing,))
        try:
            columns = self._columns(rows)
            if set(map(len, rows)) == {self._width}:
                return Table(columns, len(rows))
            extras = [_extras(row, self.schema) for row in rows]
        except _WRONG:
            raise _refused(rows, self.schema, single=False) from None
        return Table(columns, len(rows), [row_id for row_id, _ in extras], [at for _, at in extras])

    def numbers(self, body: bytes, at_most: int) -> Table | None:
        """The rows of a JSON body `{"rows": [...]}` of at most `at_most` rows that have all features, each a number or
        null, perhaps `_id` and `_time`, and nothing else: read straight into columns, in a third of the time of decoding
        it first.

        None for any other body: it is decoded, and its rows are read or refused by `many`.
        """
        if self._decoder is None:
            return None
        import msgspec
        import numpy as np

        text = np.frombuffer(body, np.uint8)
        if np.count_nonzero(text == ord("{")) > at_most + 1:
            return None
        try:
            rows = self._decoder.decode(body).rows
        except msgspec.MsgspecError:
            return None
        ids, times = None, None
        # A member has one colon. The decoder keeps the last value of a name that is given more than once; the colon of
        # a text that is written as an escape could hide that.
        colons = np.count_nonzero(text == ord(":")) - len(rows) * self._width - 1
        if colons and rows and b"\\" not in body:
            try:
                ids, times, theirs = _without_extras(rows)
            except _WRONG:
                return None
            colons -= theirs
        if colons or not rows:
            return None
        cells = chain.from_iterable(map(msgspec.structs.astuple, rows))
        matrix = np.fromiter(cells, np.float64, len(rows) * (self._width + 2)).reshape(len(rows), -1)[:, : self._width]
        if (np.abs(matrix) >= TOO_GREAT).any():
            return None
        return Table(list(np.ascontiguousarray(matrix.T)), len(rows), ids, times)

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Any] | None:
        """Decodes `{"rows": [...]}` of numbers with `_id` and `_time`; None if the features are not all numeric."""
        import msgspec

        if not self._numeric or any(":" in name for name in self._names):
            return None
        names = {f"x{j}": name for j, name in enumerate(self._names)}
        fields: list[Any] = [(field, float | None) for field in names]
        fields += [("row_id", str | int | None, None), ("at", str | int | float | None, None)]
        names |= {"row_id": ROW_ID, "at": ROW_TIME}
        try:
            row = msgspec.defstruct("Row", fields, rename=names, gc=False, forbid_unknown_fields=True)
        except ValueError:  # a name that JSON has to escape
            return None
        body = msgspec.defstruct("Rows", [("rows", list[row])], gc=False, forbid_unknown_fields=True)  # type: ignore[valid-type]
        return msgspec.json.Decoder(body)

    def _columns(self, rows: Sequence[Any]) -> list[Any]:
        import numpy as np

        if self._numeric:
            flat = list(chain.from_iterable(map(self._pick, rows)))
            if set(map(type, flat)) <= _NUMBERS:
                values = array.array("d", flat)
            else:
                values = array.array("d", map(_float, flat))
            matrix = np.frombuffer(values).reshape(len(rows), self._width)
            if (np.abs(matrix) >= TOO_GREAT).any():
                raise ValueError
            return list(np.ascontiguousarray(matrix.T))
        columns: list[Any] = []
        cells = [self._pick(row) for row in rows]
        for j, f in enumerate(self.schema.features):
            column = [_value(row[j], f, self._known[j]) for row in cells]
            columns.append(np.array(column, dtype=np.float64) if f.kind == "numeric" else column)
        return columns


def _without_extras(rows: Sequence[Any]) -> tuple[list[str | None], list[datetime | None], int]:
    """Ids and instants of decoded rows, which then have none, and how many colons they had in the body."""
    ids, times, colons = [], [], 0
    for row in rows:
        for value in (row.row_id, row.at):
            if value is not None:
                colons += 1 + (value.count(":") if isinstance(value, str) else 0)
            if isinstance(value, int) and not -(2**63) <= value < 2**64:
                raise ValueError  # the decoder makes a float of it
        ids.append(_row_id(row.row_id))
        times.append(None if row.at is None else instant(row.at))
        row.row_id = row.at = None
    return ids, times, colons


def rows_to_frame(
    rows: Sequence[Mapping[str, Any]], schema: FeatureSchema, *, single: bool = False
) -> tuple[pd.DataFrame, list[str | None], list[datetime | None]]:
    """JSON rows as the X of `conform`, with each row's id and instant (UTC) where it has one.

    Args:
        single: name fields without `rows[i].`, for a request that is one row.

    Raises:
        BadInput: as `RowReader`.
    """
    try:
        table = RowReader(schema).many(rows)
    except BadInput:
        if single and len(rows) == 1:
            RowReader(schema).one(rows[0])
        raise
    nothing: list[Any] = [None] * table.n
    return frame_of(table.columns, schema), table.ids or nothing, table.times or nothing


def frame_of(columns: Sequence[Any], schema: FeatureSchema) -> pd.DataFrame:
    """Columns as a frame for estimators."""
    import pandas as pd

    kinds = zip(schema.features, columns, strict=True)
    return pd.DataFrame(
        {f.name: column if f.kind == "numeric" else pd.Series(list(column), dtype="str") for f, column in kinds}
    )


def columns_of(X: pd.DataFrame, schema: FeatureSchema) -> list[Any]:
    """The columns of such a frame."""
    return [
        X[f.name].to_numpy(dtype="float64")
        if f.kind == "numeric"
        else [v if isinstance(v, str) else None for v in X[f.name].tolist()]
        for f in schema.features
    ]


def _float(value: Any) -> float:
    if type(value) is float or type(value) is int:
        number = float(value)
        if -TOO_GREAT < number < TOO_GREAT:
            return number
        raise ValueError
    return math.nan if value is None else _number(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError
    number = float(value)
    if not -TOO_GREAT < number < TOO_GREAT:
        raise ValueError
    return number


def _value(value: Any, feature: Feature, known: Collection[str]) -> Any:
    if feature.kind == "numeric":
        return _float(value)
    if feature.kind == "boolean":
        return as_text(as_boolean(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    return as_category(value, known)


def _extras(row: Mapping[str, Any], schema: FeatureSchema) -> tuple[str | None, datetime | None]:
    """Id and instant of a row; ValueError when one is wrong or a key is unknown."""
    row_id, at, n_known = None, None, len(schema.features)
    for name in {schema.id_column: None, ROW_ID: None}:  # the reserved name takes precedence over the project's own
        if name is not None and name in row:
            row_id, n_known = _row_id(row[name]), n_known + 1
    for name in {schema.time_column: None, ROW_TIME: None}:
        if name is not None and name in row:
            at, n_known = None if row[name] is None else instant(row[name]), n_known + 1
    if len(row) != n_known + sum(name in row for name in schema.excluded):
        raise ValueError
    return row_id, at


def _row_id(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise ValueError
    row_id = as_id(value)
    if row_id is None or len(row_id) > MAX_ID_LENGTH:
        raise ValueError
    return row_id


def _refused(rows: Sequence[Any], schema: FeatureSchema, *, single: bool) -> BadInput:
    """The refusal with every problem of the rows, found by checking each cell."""
    problems: list[FieldProblem] = []
    for i, row in enumerate(rows):
        _check_row(row, schema, "" if single else f"rows[{i}]", problems)
        if len(problems) >= MAX_PROBLEMS:
            break
    lead = "The row is not valid" if single or len(rows) == 1 else "Not all rows are valid, so none was accepted"
    return refusal(lead, problems[:MAX_PROBLEMS])


def _check_row(row: Any, schema: FeatureSchema, place: str, problems: list[FieldProblem]) -> None:
    def say(key: str, seen: str, expected: str) -> None:
        problems.append(FieldProblem(f"{place}.{key}" if place else key, seen, expected))

    if not isinstance(row, Mapping):
        problems.append(FieldProblem(place or "body", shown_json(row), "an object of features"))
        return
    for f in schema.features:
        if f.name not in row:
            say(f.name, "missing", _EXPECTED[f.kind])
            continue
        try:
            _value(row[f.name], f, f.categories)
        except (ValueError, OverflowError):
            great = isinstance(row[f.name], float) and math.isfinite(row[f.name])
            say(
                f.name, shown_json(row[f.name]), f"a number below {TOO_GREAT:g} in size" if great else _EXPECTED[f.kind]
            )
    ids, times = {schema.id_column, ROW_ID}, {schema.time_column, ROW_TIME}
    names = set(schema.names)
    for key, value in row.items():
        try:
            if key in ids:
                _row_id(value)
            elif key in times and value is not None:
                instant(value)
        except ValueError:
            expected = (
                f"text of 1 to {MAX_ID_LENGTH} characters" if key in ids else "an instant in ISO 8601, of 1900 or later"
            )
            say(str(key), shown_json(value), expected)
        if key in names or key in ids or key in times or key in schema.excluded:
            continue
        if key == schema.target:
            say(key, "the target", "features only; labels are sent by row id")
        else:
            near = nearest(str(key), schema.names)
            say(str(key), "an unknown feature", f"'{near}'" if near else f"one of {len(names)} known features")
