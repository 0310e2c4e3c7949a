"""Type detection of a column from its cells: numbers and how they are written, booleans, or text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from core.data import cells
from core.data.cells import NO_NUMBER_MARKERS, shown
from core.records import PLAINLY, FeatureKind, Problem, Written

if TYPE_CHECKING:
    import pyarrow as pa
from core.data.columns import arrow_of, is_cells

NEARLY = 0.9  # share of numbers from which a text column is reported as almost numeric
_SAMPLE = 200  # distinct cells that are checked before a whole column is parsed
_LONG = 17  # digits from which a whole number would lose precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The detected content of a column of cells."""

    kind: FeatureKind | Literal["empty"]
    written: Written = PLAINLY
    problem: Problem | None = None  # why an almost numeric column is not numeric, or how its numbers are written
    mark: str = ""  # decimal mark that its cells show; empty if ambiguous


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
        if is_cells(series):
            kind = look_at(series, str(series.name)).kind
            return "numeric" if kind == "empty" else kind
        return "numeric" if series.isna().all() else "categorical"
    if types.is_object_dtype(dtype):
        inferred = types.infer_dtype(series, skipna=True)
        if inferred == "boolean":
            return "boolean"
        if inferred in ("integer", "floating", "mixed-integer-float", "decimal", "empty"):
            return "numeric"
    return "categorical"


def look_at(series: pd.Series, name: str, *, mark: str = "") -> Look:
    """What a column of cells holds: numbers where every one is a number, booleans where every one is true or false.

    Numbers with leading zeros (007), 0x1F and whole numbers of 17 digits or more are identifiers.

    Args:
        mark: decimal mark of the file's other columns, for a column whose own is ambiguous.
    """
    column = arrow_of(series)
    known = column.drop_null()
    if not len(known):
        return Look(kind="empty")
    if _all_booleans(known):
        return Look(kind="boolean")
    plain = _plain_numbers(known)
    if plain is not None:
        return Look(kind="categorical" if _names(known, plain) else "numeric", mark="." if _points(plain) else "")
    distinct = known.unique()
    step = max(len(distinct) // _SAMPLE, 1)
    sample = [v for v in distinct.take(list(range(0, len(distinct), step))).to_pylist() if v not in NO_NUMBER_MARKERS]
    if sum(cells.as_written(v) is not None for v in sample) < len(sample) * NEARLY / 2 or not sample:
        return Look(kind="categorical")
    return _written_numbers(known, distinct.to_pylist(), name, mark)


def _all_booleans(known: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if any(v.lower() not in ("true", "false") for v in known.slice(0, _SAMPLE).to_pylist()):
        return False
    return bool(pc.all(pc.is_in(pc.utf8_lower(known), pa.array(["true", "false"], known.type))).as_py())


def _plain_numbers(known: pa.ChunkedArray) -> np.ndarray | None:
    """The numbers, if all cells are plainly written ones; None otherwise."""
    import pyarrow as pa

    for target in (pa.int64(), pa.float64()):
        try:
            return np.asarray(known.cast(target).to_numpy())
        except pa.ArrowInvalid:
            continue
    return None


def _points(values: np.ndarray) -> bool:
    return values.dtype != np.int64


def _names(known: pa.ChunkedArray, values: np.ndarray) -> bool:
    """Whether numbers are identifiers: leading zeros, or more digits than a number can hold."""
    import pyarrow.compute as pc

    if values.dtype != np.int64:
        words = known.slice(0, _SAMPLE).to_pylist()
        return any(re.match(r"[+-]?0[0-9]", v) or re.fullmatch(r"[+-]?[0-9]{17,}", v) for v in words)
    size = np.abs(values.astype(np.float64))
    if (size >= 10.0 ** (_LONG - 1)).any():
        return True
    digits = np.ones(len(values), dtype=np.int64)
    for power in range(1, _LONG):
        over = size >= 10.0**power
        if not over.any():
            break
        digits += over
    return bool((pc.utf8_length(known).to_numpy() > digits + (values < 0)).any())


def _written_numbers(known: pa.ChunkedArray, distinct: list[str], name: str, mark: str) -> Look:
    """Numbers with thousands separators, decimal commas, currencies, percent signs, or gaps that a program wrote."""
    written_as = {v: cells.as_written(v) for v in distinct if v not in NO_NUMBER_MARKERS and not _is_name(v)}
    wrong = [v for v in distinct if v not in NO_NUMBER_MARKERS and written_as.get(v) is None and not _exponent(v)]
    if wrong:
        n = _count(known, wrong)
        if n > len(known) * (1 - NEARLY):
            return Look(kind="categorical")
        return Look(
            kind="categorical",
            problem=Problem(code="nearly_numbers", column=name, count=n, example=shown(wrong[0])),
        )
    parts = {v: p for v, p in written_as.items() if p is not None}
    units = {unit for _, _, unit in parts.values()}
    if len(units - {""}) > 1 or ("%" in units and len(units) > 1):
        two = [next(v for v, p in parts.items() if p[2] == unit) for unit in sorted(units)[:2]]
        return Look(
            kind="categorical",
            problem=Problem(code="mixed_units", column=name, count=len(known), example=" and ".join(map(shown, two))),
        )
    bodies = [body for _, body, _ in parts.values()]
    marks = {cells.decimal_mark(body) for body in bodies} - {""}
    unsure = [v for v, p in parts.items() if "," in p[1] and cells.EITHER.fullmatch(p[1])]
    if marks == {",", "."} or (not marks and unsure and not (_thousands(bodies) or mark)):
        sure = unsure or [v for v, p in parts.items() if cells.decimal_mark(p[1]) == ","]
        code = "ambiguous_numbers" if not marks else "nearly_numbers"
        return Look(
            kind="categorical",
            problem=Problem(code=code, column=name, count=_count(known, sure), example=shown(sure[0])),
        )
    own = next(iter(marks), "")
    decimal = own or ("." if _thousands(bodies) else mark) or "."
    written = Written(decimal=decimal, unit=next(iter(units - {""}), ""))
    signs = [v for v, p in parts.items() if p[2] or p[1] != v.lstrip("+-") or "," in p[1]]
    note = (
        Problem(code="numbers_written", column=name, count=_count(known, signs), example=shown(signs[0]))
        if signs
        else None
    )
    return Look(kind="numeric", written=written, problem=note, mark=own)


def _thousands(bodies: list[str]) -> bool:
    """Whether the cells show that commas separate thousands: numbers below a thousand have none, and none has another form."""
    whole = [b for b in bodies if b.isdecimal()]
    return bool(whole) and all(len(b) <= 3 for b in whole) and all(b.isdecimal() or "," in b for b in bodies)


def _is_name(text: str) -> bool:
    return bool(re.match(r"[+-]?0[0-9xX]", text)) or bool(re.fullmatch(r"[+-]?[0-9]{17,}", text))


def _exponent(text: str) -> bool:
    return bool(cells.NUMBER.fullmatch(text)) and not _is_name(text)


def _count(column: pa.ChunkedArray, values: list[str]) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    return int(pc.sum(pc.is_in(column, pa.array(values, column.type))).as_py() or 0)
