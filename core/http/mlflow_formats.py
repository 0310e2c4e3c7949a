"""The input formats of MLflow's scoring server, parsed into rows: one mapping from column to value each.

Only the structure is checked here; features and values are checked by the caller.
"""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from core.data.cells import (
    NO_NUMBER_MARKERS,
    as_written,
    is_missing,
    listed,
    number_written,
    refusal,
    shown,
    shown_json,
)
from core.errors import BadInput, FieldProblem
from core.http import bodies
from core.records import JsonObject
from core.words import counted

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_SPLIT = ("columns", "data", "index")

Rows = list[JsonObject]


def rows_of(document: Any, names: tuple[str, ...]) -> Rows:
    """The rows of a JSON body in one of MLflow's four formats.

    Args:
        document: the decoded body.
        names: the model's features in order; they name the columns of rows sent without names.

    Returns:
        One mapping per row, values as sent; empty for a body without rows.

    Raises:
        TooLarge: more than 100,000 rows.
        BadInput: not exactly one of the formats, `params`, ragged rows or columns; says which, and what was expected.
    """
    if not isinstance(document, dict):
        raise _invalid("body", shown_json(document), f"an object with one of {', '.join(FORMATS)}")
    formats = [key for key in document if key != "params"]
    if len(formats) != 1 or formats[0] not in FORMATS:
        raise _invalid("body", f"an object with {listed(formats) or 'none'}", f"exactly one of {', '.join(FORMATS)}")
    if document.get("params"):
        raise _invalid("params", shown_json(document["params"]), "none: models have no inference parameters here")
    name, content = formats[0], document[formats[0]]
    if name == "dataframe_split":
        return _split(content, names)
    if name == "inputs" and isinstance(content, dict):
        return _columns(content)
    if not isinstance(content, list):
        raise _invalid(name, shown_json(content), "a list of rows")
    bodies.check_rows(len(content))
    if name == "dataframe_records":
        return _records(content, name)
    return _table(content, names, name)


def rows_of_csv(body: bytes, names: tuple[str, ...], *, numeric: frozenset[str]) -> Rows:
    """The rows of a CSV body with a header line, in UTF-8 with or without a byte order mark.

    Args:
        names: the model's features; a first line without any of them is taken for data, and rejected.
        numeric: columns whose cells become floats.

    Returns:
        One mapping per line, skipping blank ones: text, floats in numeric columns, None for empty cells and, in numeric
        columns, for the usual missing-value markers (NA, NaN, null).

    Raises:
        TooLarge: more than 100,000 rows.
        BadInput: not UTF-8, no header, unbalanced quotes, a line of another length, a cell that is not a finite number.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid("body", f"not UTF-8 at byte {error.start:,}", "CSV in UTF-8") from None
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: Rows = []
    try:
        header = next((line for line in lines if line), [])
        _check_header(header, names)
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                expected = f"{len(header):,}, as in the header"
                raise _invalid(f"line {lines.line_num}", counted(len(cells), "cell"), expected)
            bodies.check_rows(len(rows) + 1)
            rows.append(
                {
                    name: _number(cell, name, lines.line_num) if name in numeric else cell or None
                    for name, cell in zip(header, cells, strict=True)
                }
            )
    except csv.Error as error:
        raise _invalid(f"line {lines.line_num}", f"not CSV ({error})", "cells separated by commas") from None
    return rows


# --- JSON -------------------------------------------------------------------------------------------------------


def _split(content: Any, names: tuple[str, ...]) -> Rows:
    if not isinstance(content, dict):
        raise _invalid("dataframe_split", shown_json(content), "an object with columns and data")
    unknown = [key for key in content if key not in _SPLIT]
    if unknown:
        raise _invalid("dataframe_split", f"an object with {listed(unknown)}", f"{', '.join(_SPLIT)} only")
    columns, data = content.get("columns"), content.get("data")
    if columns is not None:
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise _invalid("dataframe_split.columns", shown_json(columns), "a list of names")
        _check_once(columns, "dataframe_split.columns")
        names = tuple(columns)
    if not isinstance(data, list):
        raise _invalid("dataframe_split.data", "missing" if data is None else shown_json(data), "a list of rows")
    bodies.check_rows(len(data))
    return _lists(data, names, "dataframe_split.data")


def _columns(content: JsonObject) -> Rows:
    """Columns as rows; a scalar is a column with one value."""
    columns = {name: values if isinstance(values, list) else [values] for name, values in content.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    first = next(iter(lengths), "")
    for name, length in lengths.items():
        bodies.check_rows(length)
        if length != lengths[first]:
            raise _invalid(f"inputs.{name[:80]}", counted(length, "value"), f"{lengths[first]:,}, as in {shown(first)}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _table(content: list[Any], names: tuple[str, ...], field: str) -> Rows:
    """Rows as objects, lists or scalars, whichever the first one is."""
    if content and isinstance(content[0], dict):
        return _records(content, field)
    if content and not isinstance(content[0], list) and len(names) == 1:
        odd = next((i for i, value in enumerate(content) if isinstance(value, (list, dict))), None)
        if odd is not None:
            raise _invalid(f"{field}[{odd}]", shown_json(content[odd]), "a single value, like the rows before")
        return [{names[0]: value} for value in content]
    return _lists(content, names, field)


def _records(content: list[Any], field: str) -> Rows:
    for i, row in enumerate(content):
        if not isinstance(row, dict):
            raise _invalid(f"{field}[{i}]", shown_json(row), "an object of columns")
    return content


def _lists(content: list[Any], names: tuple[str, ...], field: str) -> Rows:
    for i, row in enumerate(content):
        if not isinstance(row, list) or len(row) != len(names):
            raise _invalid(f"{field}[{i}]", shown_json(row), f"a list of {len(names):,}: {listed(names)}")
    return [dict(zip(names, row, strict=True)) for row in content]


# --- CSV --------------------------------------------------------------------------------------------------------


def _check_header(header: list[str], names: tuple[str, ...]) -> None:
    if not header:
        raise _invalid("body", "empty", f"CSV with a header: {listed(names)}")
    if set(header).isdisjoint(names):
        raise _invalid("header", listed(header), f"the names of the columns: {listed(names)}")
    _check_once(header, "header")


def _number(cell: str, name: str, line: int) -> float | None:
    if is_missing(cell) or cell.strip() in NO_NUMBER_MARKERS:
        return None
    try:
        value = number_written(cell) if as_written(cell) else float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in cell:  # Python would accept 1_000
        raise _invalid(f"line {line}, column {shown(name)}", shown(cell), "a finite number, or an empty cell")
    return value


# --- errors -----------------------------------------------------------------------------------------------------


def _check_once(columns: list[str], field: str) -> None:
    seen: set[str] = set()
    for name in columns:
        if name in seen:
            raise _invalid(field, f"{shown(name)} twice", "each column once")
        seen.add(name)


def _invalid(field: str, seen: str, expected: str) -> BadInput:
    return refusal("The rows cannot be parsed", [FieldProblem(field, seen, expected)])
