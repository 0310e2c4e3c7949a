"""One column at a time, from whatever a file or frame holds to the few forms that the program works with.

Numbers are float64 (NaN = missing), text is pandas' `str` dtype (NaN = missing; booleans are "true" and "false"),
instants are UTC. Which column is what lies in `schema.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from core.data.cells import MAX_ID_LENGTH, MAX_PROBLEMS, MISSING_MARKERS, as_boolean, as_text, plural, refusal, shown
from core.errors import BadInput, FieldProblem
from core.records import FeatureKind

_EPOCH_S = (1e8, 1e11)  # whole numbers in this range are Unix seconds (1973 to 5138), a thousand times it milliseconds


def bad_cells(name: str, series: pd.Series, bad: np.ndarray, expected: str) -> BadInput:
    """The refusal of a column, naming its first bad cells; rows count from 1 below the header."""
    at = np.flatnonzero(bad)
    problems = [FieldProblem(f"column {name}, row {i + 1}", shown(series.iloc[i]), expected) for i in at[:MAX_PROBLEMS]]
    return refusal(f"{plural(len(at), 'value')} of column '{name}' cannot be taken", problems)


def kind_of(series: pd.Series) -> FeatureKind:
    """Text and booleans are categorical and boolean, numbers numeric; an all-missing column is numeric."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "boolean" if types.is_bool_dtype(dtype.categories.dtype) else "categorical"
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_numeric_dtype(dtype):
        return "numeric"
    if isinstance(dtype, pd.StringDtype):
        return "numeric" if series.isna().all() else "categorical"
    if types.is_object_dtype(dtype):
        inferred = types.infer_dtype(series, skipna=True)
        if inferred == "boolean":
            return "boolean"
        if inferred in ("integer", "floating", "mixed-integer-float", "decimal", "empty"):
            return "numeric"
    return "categorical"


def numbers(series: pd.Series, name: str) -> tuple[np.ndarray, int]:
    """Values as float64 with NaN for missing, and how many infinite ones were taken as missing.

    Raises:
        BadInput: a cell that is no number; booleans are none.
    """
    dtype = series.dtype
    if types.is_bool_dtype(dtype) or types.is_complex_dtype(dtype) or types.is_datetime64_any_dtype(dtype):
        raise bad_cells(name, series, series.notna().to_numpy(), "a number")
    if types.is_numeric_dtype(dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = _parsed(series.astype(object), name)
    infinite = np.isinf(values)
    if infinite.any():
        return np.where(infinite, np.nan, values), int(infinite.sum())
    return values, 0


def _parsed(cells: pd.Series, name: str) -> np.ndarray:
    out = np.full(len(cells), np.nan)
    bad = np.zeros(len(cells), dtype=bool)
    for i, value in enumerate(cells):
        if isinstance(value, str):
            value = value.strip()
            if value in MISSING_MARKERS:
                continue
            if "_" in value:  # Python would take 1_000
                bad[i] = True
                continue
        elif value is None or value is pd.NA or value is pd.NaT:
            continue
        elif isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number, Decimal)):
            bad[i] = True
            continue
        try:
            out[i] = float(value)
        except (ValueError, OverflowError):
            bad[i] = True
    if bad.any():
        raise bad_cells(name, cells, bad, "a number")
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
        except ValueError:
            refused[i] = True
    if refused.any():
        raise bad_cells(name, series, refused[codes], expected)
    return out[codes]


def texts(series: pd.Series, name: str) -> pd.Series:
    """A categorical column as `str`, NaN for missing; the empty text is missing.

    Raises:
        BadInput: cells that hold lists or mappings.
    """
    if isinstance(series.dtype, pd.StringDtype):
        empty = series.eq("").to_numpy(dtype=bool, na_value=False)
        plain = series.astype("str")
        return plain.mask(empty) if empty.any() else plain
    return pd.Series(mapped(series, name, as_text, "one text or number"), dtype="str", index=series.index)


def booleans(series: pd.Series, name: str) -> pd.Series:
    """A boolean column as `str` with "true", "false" and NaN.

    Raises:
        BadInput: other values than true, false, yes, no, 1, 0.
    """
    words = mapped(series, name, lambda value: as_text(as_boolean(value)), "true or false")
    return pd.Series(words, dtype="str", index=series.index)


def row_ids(series: pd.Series, name: str) -> list[str]:
    """Row ids as text.

    Raises:
        BadInput: a missing id, or one that stands in two rows.
    """
    ids = pd.Series(mapped(series, name, as_text, "one text or number"), dtype="str")
    missing = ids.isna().to_numpy() | ids.str.strip().eq("").to_numpy(dtype=bool, na_value=False)
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
                problems.append(FieldProblem(f"column {name}, row {i + 1}", seen, "an id of its own"))
            first.setdefault(ids[i], i)
        raise refusal("Row ids must be unique", problems, "Choose another id column, or none: then ids are made.")
    return ids.tolist()


def instants(series: pd.Series, name: str) -> pd.DatetimeIndex:
    """Instants in UTC, microseconds; naive ones are taken as UTC, whole numbers as Unix seconds or milliseconds.

    Raises:
        BadInput: missing or unparseable ones; days written as 03/04/2026 could be two dates and are refused.
    """
    if types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype):
        found = _from_epoch(series)
    elif types.is_datetime64_any_dtype(series.dtype):
        found = pd.to_datetime(series, utc=True)
    else:
        found = pd.to_datetime(
            pd.Series([v if isinstance(v, (str, date)) else None for v in series], dtype=object),
            utc=True,
            format="ISO8601",
            errors="coerce",
        )
    index = pd.DatetimeIndex(found)
    bad = np.asarray(index.isna())
    if bad.any():
        raise bad_cells(name, series.reset_index(drop=True), bad, "an instant such as 2026-03-01T12:00:00Z")
    return index.as_unit("us").rename(None)


def _from_epoch(series: pd.Series) -> pd.Series:
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    low, high = _EPOCH_S
    with np.errstate(invalid="ignore"):
        unit = np.where((values >= low) & (values < high), 1e6, np.nan)
        unit = np.where((values >= high) & (values < high * 1e3), 1e3, unit)
        micros = values * unit
    known = np.isfinite(micros)
    out = np.full(len(values), np.datetime64("NaT", "us"), dtype="datetime64[us]")
    out[known] = micros[known].astype(np.int64).astype("datetime64[us]")
    return pd.Series(out).dt.tz_localize("UTC")
