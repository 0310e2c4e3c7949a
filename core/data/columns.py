"""Conversion of single columns, from any content of a file or frame to the few forms used by the program.

Numbers are float64 (NaN = missing), text is pandas' `str` dtype (NaN = missing; booleans are "true" and "false");
instants are in `dates`. Columns of the dtype `CELLS` come from text files: what they hold is determined by `looking`
or by a schema. Text of any other origin is text. The roles of columns are in `roles`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api import types

from core.data import cells
from core.data.cells import MAX_ID_LENGTH, MAX_PROBLEMS, NO_NUMBER_MARKERS, TOO_GREAT, refusal, shown
from core.errors import BadInput, FieldProblem
from core.records import PLAINLY, Problem, Written
from core.words import counted

if TYPE_CHECKING:
    import pyarrow as pa


CELLS = pd.StringDtype("pyarrow", na_value=pd.NA)


def is_cells(series: pd.Series) -> bool:
    """Whether the column comes from a text file, so that its kind is not yet known."""
    return isinstance(series.dtype, pd.StringDtype) and series.dtype.na_value is pd.NA


def is_text(series: pd.Series) -> bool:
    """Whether the column holds text: cells of a file, or a column of strings."""
    return isinstance(series.dtype, pd.StringDtype)


def bad_cells(name: str, series: pd.Series, bad: np.ndarray, expected: str) -> BadInput:
    """The refusal of a column, naming its first bad cells; rows count from 1 below the header."""
    at = np.flatnonzero(bad)
    problems = [FieldProblem(f"column {name}, row {i + 1}", shown(series.iloc[i]), expected) for i in at[:MAX_PROBLEMS]]
    return refusal(f"{counted(len(at), 'value')} of column '{name}' are not valid", problems)


def arrow_of(series: pd.Series) -> pa.ChunkedArray:
    """A text column as an Arrow array: trimmed, missing markers as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.array(series.array, type=pa.large_string(), from_pandas=True)
    column = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    if is_cells(series):
        return column  # the reader has already done so
    column = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(column, pa.array(list(cells.MISSING_MARKERS), pa.large_string()))
    return pc.if_else(missing, pa.scalar(None, pa.large_string()), column) if pc.any(missing).as_py() else column


def numbers(
    series: pd.Series, name: str, *, written: Written = PLAINLY, problems: list[Problem] | None = None
) -> np.ndarray:
    """Values as float64 with NaN for missing; infinite values and ones too large for models become missing as well.

    Args:
        written: how numbers are written where the column is text.
        problems: receives what was treated as missing.

    Raises:
        BadInput: a cell that is not a number; booleans are not.
    """
    notes: list[Problem] = [] if problems is None else problems
    dtype = series.dtype
    if types.is_bool_dtype(dtype) or types.is_complex_dtype(dtype) or types.is_datetime64_any_dtype(dtype):
        raise bad_cells(name, series, series.notna().to_numpy(), "a number")
    if types.is_numeric_dtype(dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    elif is_text(series):
        values = _text_numbers(series, name, written, notes)
    else:
        values = _parsed(series.astype(object), name, written)
    with np.errstate(invalid="ignore"):
        great = np.abs(values) >= TOO_GREAT
    if not great.any():
        return values
    for code, mask in (("infinite", np.isinf(values)), ("too_great", great & ~np.isinf(values))):
        if mask.any():
            example = shown(series.iloc[int(np.argmax(mask))])
            notes.append(Problem(code=code, column=name, count=int(mask.sum()), example=example))
    return np.where(great, np.nan, values)


def _text_numbers(series: pd.Series, name: str, written: Written, notes: list[Problem]) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = arrow_of(series)
    if written == PLAINLY:
        try:
            return np.asarray(column.cast(pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            pass  # a cell is not a plain number: the slower path below converts each distinct text and reports which
    coded = pc.dictionary_encode(column.combine_chunks())
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    distinct = coded.dictionary.to_pylist()
    codes = np.asarray(pc.fill_null(coded.indices, len(distinct)))
    if written.decimal == "," and _shows_points(distinct):
        written = Written(unit=written.unit)  # a download of ours, or another program's file, which states it
    values = np.full(len(distinct) + 1, np.nan)
    bad = np.zeros(len(distinct) + 1, dtype=bool)
    gaps = np.zeros(len(distinct) + 1, dtype=bool)
    for i, text in enumerate(distinct):
        if text in NO_NUMBER_MARKERS:
            gaps[i] = True
            continue
        try:
            values[i] = _number(text, written)
        except ValueError:
            bad[i] = True
    if bad.any():
        raise bad_cells(name, series.reset_index(drop=True), bad[codes], _expected(written))
    if gaps.any():
        at = gaps[codes]
        example = shown(series.iloc[int(np.argmax(at))])
        notes.append(Problem(code="no_number", column=name, count=int(at.sum()), example=example))
    return values[codes]


def _shows_points(distinct: list[str]) -> bool:
    """Whether the column shows that its decimal mark is the point."""
    return {cells.decimal_mark(p[1]) for v in distinct if (p := cells.as_written(v)) is not None} - {""} == {"."}


def _number(text: str, written: Written) -> float:
    if cells.NUMBER.fullmatch(text) and (written.decimal == "." or "." not in text) and written.unit != "%":
        return float(text)
    return cells.number_written(text, written.decimal, written.unit)


def _expected(written: Written) -> str:
    comma = " with a decimal comma" if written.decimal == "," else ""
    return f"a number{comma} and {written.unit}" if written.unit == "%" else f"a number{comma}"


def _parsed(values: pd.Series, name: str, written: Written) -> np.ndarray:
    """Numbers of a column of objects."""
    out = np.full(len(values), np.nan)
    bad = np.zeros(len(values), dtype=bool)
    for i, value in enumerate(values):
        if isinstance(value, str):
            text = value.strip()
            if cells.is_missing(text) or text in NO_NUMBER_MARKERS:
                continue
        elif value is None or value is pd.NA or value is pd.NaT:
            continue
        elif isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number, Decimal)):
            bad[i] = True
            continue
        try:
            out[i] = _number(text, written) if isinstance(value, str) else float(value)
        except (ValueError, OverflowError):
            bad[i] = True
    if bad.any():
        raise bad_cells(name, values, bad, _expected(written))
    return out


def mapped(series: pd.Series, name: str, convert: Callable[[Any], Any], expected: str) -> np.ndarray:
    """Each distinct value converted once, as an object array in row order; missing = None.

    Raises:
        BadInput: values for which `convert` raises ValueError.
    """
    try:
        codes, distinct = pd.factorize(series)
    except TypeError:  # lists and mappings
        bad = np.array([isinstance(v, (list, dict, set, np.ndarray)) for v in series], dtype=bool)
        raise bad_cells(name, series, bad, expected) from None
    out = np.empty(len(distinct) + 1, dtype=object)
    out[-1] = None  # code -1 is a missing value
    refused = np.zeros(len(distinct) + 1, dtype=bool)
    for i, value in enumerate(distinct):
        try:
            out[i] = convert(value)
        except (ValueError, OverflowError):
            refused[i] = True
    if refused.any():
        raise bad_cells(name, series, refused[codes], expected)
    return out[codes]


def texts(series: pd.Series, name: str, known: Collection[str] | None = None) -> pd.Series:
    """A categorical column as `str`, NaN for missing; whole numbers without `.0` if the whole column consists of them.

    Args:
        known: the categories whose spelling is used; None = this column defines them.

    Raises:
        BadInput: cells that hold lists or mappings.
    """
    if is_text(series):
        column = arrow_of(series)
        distinct = column.unique().drop_null().to_pylist()
        if known is None:
            known = _whole_spellings(distinct)
        change = {v: text for v in distinct if v not in known and (text := cells.as_category(v, known)) != v}
        plain = pd.Series(pd.array(column, dtype="str"), index=series.index)
        return plain.replace(change) if change else plain
    known = known or ()
    words = mapped(series, name, lambda value: cells.as_category(value, known), "one text or number")
    return pd.Series(words, dtype="str", index=series.index)


def _whole_spellings(distinct: list[str]) -> Collection[str]:
    """The categories of a first column: its texts, or its whole numbers without `.0`."""
    whole = [cells.whole_text(v) for v in distinct]
    return {w for w in whole if w is not None} if None not in whole else set(distinct)


def booleans(series: pd.Series, name: str) -> pd.Series:
    """A boolean column as `str` with "true", "false" and NaN.

    Raises:
        BadInput: other values than true, false, yes, no, 1, 0.
    """
    words = mapped(series, name, lambda value: cells.as_text(cells.as_boolean(value)), "true or false")
    return pd.Series(words, dtype="str", index=series.index)


def row_ids(series: pd.Series, name: str) -> list[str]:
    """Row ids as text, unchanged except that 7.0 becomes 7.

    Raises:
        BadInput: a missing id, or one that is in two rows.
    """
    ids = pd.Series(mapped(series, name, cells.as_id, "one text or number"), dtype="str")
    missing = ids.isna().to_numpy()
    if missing.any():
        raise bad_cells(name, series.reset_index(drop=True), missing, "a row id")
    long = (ids.str.len() > MAX_ID_LENGTH).to_numpy()
    if long.any():
        raise bad_cells(name, series.reset_index(drop=True), long, f"at most {MAX_ID_LENGTH} characters")
    twice = ids.duplicated(keep=False).to_numpy()
    if twice.any():
        first: dict[str, int] = {}
        problems = []
        for i in np.flatnonzero(twice).tolist():
            if ids[i] in first:
                seen = f"{shown(ids[i])}, as in row {first[ids[i]] + 1}"
                problems.append(FieldProblem(f"column {name}, row {i + 1}", seen, "a different id in each row"))
            first.setdefault(ids[i], i)
        raise refusal("Row ids must be unique", problems, "Choose another id column, or none: then ids are generated.")
    return ids.tolist()
