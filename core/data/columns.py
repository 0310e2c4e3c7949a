"""One column at a time, from whatever a file or frame holds to the few forms that the program works with.

Numbers are float64 (NaN = missing), text is pandas' `str` dtype (NaN = missing; booleans are "true" and "false"),
instants are UTC. Columns of the dtype `CELLS` come from text files: what they hold is not known before `look_at` has
looked, or a schema says it. Text of any other origin is text. Which column is what lies in `roles`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from core.data import cells
from core.data.cells import MAX_ID_LENGTH, MAX_PROBLEMS, NO_NUMBER_MARKERS, TOO_GREAT, refusal, shown
from core.errors import BadInput, FieldProblem
from core.records import PLAINLY, FeatureKind, Problem, Written
from core.words import counted

if TYPE_CHECKING:
    import pyarrow as pa

CELLS = pd.StringDtype("pyarrow", na_value=pd.NA)
NEARLY = 0.9  # share of numbers from which a column of text is said to be nearly one of numbers
_SAMPLE = 200  # distinct cells that are looked at before a whole column is parsed
_LONG = 17  # digits from which a whole number would lose its last ones
_DAY = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})((?:[ T].+)?)")
_DIGITS = r"\d{8,19}(?:\.\d+)?"
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})\s*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a column of cells turns out to hold."""

    kind: FeatureKind | Literal["empty"]
    written: Written = PLAINLY
    problem: Problem | None = None  # why it is not numbers though it nearly is, or how its numbers are written
    mark: str = ""  # decimal mark that its cells show; empty where they do not tell


def is_cells(series: pd.Series) -> bool:
    """Whether the column comes from a text file, so that what it holds is still to be found out."""
    return isinstance(series.dtype, pd.StringDtype) and series.dtype.na_value is pd.NA


def is_text(series: pd.Series) -> bool:
    """Whether the column holds text: cells of a file, or a column of strings."""
    return isinstance(series.dtype, pd.StringDtype)


def bad_cells(name: str, series: pd.Series, bad: np.ndarray, expected: str) -> BadInput:
    """The refusal of a column, naming its first bad cells; rows count from 1 below the header."""
    at = np.flatnonzero(bad)
    problems = [FieldProblem(f"column {name}, row {i + 1}", shown(series.iloc[i]), expected) for i in at[:MAX_PROBLEMS]]
    return refusal(f"{counted(len(at), 'value')} of column '{name}' cannot be taken", problems)


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
            found = look_at(series, str(series.name)).kind
            return "numeric" if found == "empty" else found
        return "numeric" if series.isna().all() else "categorical"
    if types.is_object_dtype(dtype):
        inferred = types.infer_dtype(series, skipna=True)
        if inferred == "boolean":
            return "boolean"
        if inferred in ("integer", "floating", "mixed-integer-float", "decimal", "empty"):
            return "numeric"
    return "categorical"


# --- looking at cells -----------------------------------------------------------------------------------------------


def look_at(series: pd.Series, name: str, *, mark: str = "") -> Look:
    """What a column of cells holds: numbers where every one is a number, booleans where every one is true or false.

    Numbers with leading zeros (007), 0x1F and whole numbers of 17 digits or more are names.

    Args:
        mark: decimal mark of the file's other columns, for one whose cells do not tell.
    """
    column = _arrow(series)
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
    """The numbers of cells that are all written plainly; None where one is not."""
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
    """Whether numbers are names: leading zeros, or more digits than a number can hold."""
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
    found = {v: cells.as_written(v) for v in distinct if v not in NO_NUMBER_MARKERS and not _is_name(v)}
    wrong = [v for v in distinct if v not in NO_NUMBER_MARKERS and found.get(v) is None and not _exponent(v)]
    if wrong:
        n = _count(known, wrong)
        if n > len(known) * (1 - NEARLY):
            return Look(kind="categorical")
        return Look(
            kind="categorical",
            problem=Problem(code="nearly_numbers", column=name, count=n, example=shown(wrong[0])),
        )
    parts = {v: p for v, p in found.items() if p is not None}
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
    said = (
        Problem(code="numbers_written", column=name, count=_count(known, signs), example=shown(signs[0]))
        if signs
        else None
    )
    return Look(kind="numeric", written=written, problem=said, mark=own)


def _thousands(bodies: list[str]) -> bool:
    """Whether commas are seen to part thousands: numbers below a thousand have none, and none has another form."""
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


def _arrow(series: pd.Series) -> pa.ChunkedArray:
    """A text column as Arrow holds it: trimmed, missing markers as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.array(series.array, type=pa.large_string(), from_pandas=True)
    column = found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])
    if is_cells(series):
        return column  # the reader has done so
    column = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(column, pa.array(list(cells.MISSING_MARKERS), pa.large_string()))
    return pc.if_else(missing, pa.scalar(None, pa.large_string()), column) if pc.any(missing).as_py() else column


# --- numbers --------------------------------------------------------------------------------------------------------


def numbers(
    series: pd.Series, name: str, *, written: Written = PLAINLY, problems: list[Problem] | None = None
) -> np.ndarray:
    """Values as float64 with NaN for missing; what is infinite or too great for models is missing, too.

    Args:
        written: how numbers are written where the column is text.
        problems: gets what was taken as missing.

    Raises:
        BadInput: a cell that is no number; booleans are none.
    """
    said: list[Problem] = [] if problems is None else problems
    dtype = series.dtype
    if types.is_bool_dtype(dtype) or types.is_complex_dtype(dtype) or types.is_datetime64_any_dtype(dtype):
        raise bad_cells(name, series, series.notna().to_numpy(), "a number")
    if types.is_numeric_dtype(dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    elif is_text(series):
        values = _text_numbers(series, name, written, said)
    else:
        values = _parsed(series.astype(object), name, written)
    with np.errstate(invalid="ignore"):
        great = np.abs(values) >= TOO_GREAT
    if not great.any():
        return values
    for code, mask in (("infinite", np.isinf(values)), ("too_great", great & ~np.isinf(values))):
        if mask.any():
            example = shown(series.iloc[int(np.argmax(mask))])
            said.append(Problem(code=code, column=name, count=int(mask.sum()), example=example))
    return np.where(great, np.nan, values)


def _text_numbers(series: pd.Series, name: str, written: Written, said: list[Problem]) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _arrow(series)
    if written == PLAINLY:
        try:
            return np.asarray(column.cast(pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            pass  # a cell is no plain number: the slower reading below takes each distinct text and says which
    coded = pc.dictionary_encode(column.combine_chunks())
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    distinct = coded.dictionary.to_pylist()
    codes = np.asarray(pc.fill_null(coded.indices, len(distinct)))
    if written.decimal == "," and _shows_points(distinct):
        written = Written(unit=written.unit)  # a download of ours, or another program's file: it says so itself
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
        said.append(Problem(code="no_number", column=name, count=int(at.sum()), example=example))
    return values[codes]


def _shows_points(distinct: list[str]) -> bool:
    """Whether a column's decimal mark is seen to be the point."""
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


# --- text -----------------------------------------------------------------------------------------------------------


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
    """A categorical column as `str`, NaN for missing; whole numbers without `.0`, where all of the column are such.

    Args:
        known: the categories whose spelling is kept to; None = this column fixes them.

    Raises:
        BadInput: cells that hold lists or mappings.
    """
    if is_text(series):
        column = _arrow(series)
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
    """Row ids as text, as they stand; 7.0 is 7.

    Raises:
        BadInput: a missing id, or one that stands in two rows.
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
                problems.append(FieldProblem(f"column {name}, row {i + 1}", seen, "an id of its own"))
            first.setdefault(ids[i], i)
        raise refusal("Row ids must be unique", problems, "Choose another id column, or none: then ids are made.")
    return ids.tolist()


# --- instants -------------------------------------------------------------------------------------------------------


def instants(
    series: pd.Series,
    name: str,
    *,
    day_first: bool | None = None,
    latest: datetime | None = None,
    problems: list[Problem] | None = None,
) -> pd.DatetimeIndex:
    """Instants in UTC, microseconds: ISO 8601 (without a zone = UTC), Unix seconds to nanoseconds, or 20260301 12:00.

    Args:
        day_first: how 03/04/2026 is read; None = as the column shows, and refused where it does not.
        latest: no instant lies after it; None = no limit but the year 9999.
        problems: gets what was assumed.

    Raises:
        BadInput: missing or unreadable ones, digits with more than one reading, instants before 1900 or after `latest`.
    """
    said: list[Problem] = [] if problems is None else problems
    plain = series.reset_index(drop=True)
    if types.is_datetime64_any_dtype(plain.dtype):
        index = _of_dates(plain)
        if plain.dt.tz is None and plain.notna().any():
            said.append(_assumed("zone_assumed", name, plain))
    elif types.is_numeric_dtype(plain.dtype) and not types.is_bool_dtype(plain.dtype):
        whole = plain.map(lambda v: cells.as_text(v), na_action="ignore").astype("str")
        index = _of_digits(whole, name, said)
    else:
        words = plain.map(lambda v: v.strip() if isinstance(v, str) else v.isoformat() if isinstance(v, date) else None)
        words = pd.Series([w if isinstance(w, str) else None for w in words], dtype="str")
        known = words.dropna()
        if len(known) and known.str.fullmatch(_DIGITS).all():
            index = _of_digits(words, name, said)
        elif len(known) and known.str.fullmatch(_DAY.pattern).all():
            index = _of_days(words, name, day_first)
        else:
            index = pd.DatetimeIndex(pd.to_datetime(words, utc=True, format="ISO8601", errors="coerce"))
            if len(known) and not known.str.contains(_ZONE, regex=True).any():
                said.append(_assumed("zone_assumed", name, words))
    bad = np.asarray(index.isna())
    if bad.any():
        raise bad_cells(name, plain, bad, "an instant such as 2026-03-01T12:00:00Z")
    early = np.asarray(index < pd.Timestamp(cells.EARLIEST))
    if early.any():
        raise bad_cells(name, plain, early, "an instant of 1900 or later")
    if latest is not None:
        late = np.asarray(index > pd.Timestamp(latest))
        if late.any():
            when = f"an instant before {latest:%Y-%m-%d %H:%M} UTC: rows of the future are not taken. Write the zone of local times, e.g. +01:00"
            raise bad_cells(name, plain, late, when)
    return index.as_unit("us").rename(None)


def shows_day_first(series: pd.Series) -> bool | None:
    """Whether 03/04/2026 stands for the third of April in a column, None where it is not written so.

    Raises:
        BadInput: the column could be read both ways, or neither.
    """
    words = pd.Series([v.strip() if isinstance(v, str) else None for v in series], dtype="str")
    known = words.dropna()
    if not len(known) or not known.str.fullmatch(_DAY.pattern).all():
        return None
    return _day_first(known, str(series.name))


def _assumed(code: str, name: str, values: pd.Series) -> Problem:
    known = values.dropna()
    return Problem(code=code, column=name, count=len(known), example=str(known.iloc[0]))


def _of_dates(series: pd.Series) -> pd.DatetimeIndex:
    """pandas' own instants; those beyond the years that Python knows are NaT, so refused."""
    micros = series.dt.tz_convert("UTC").dt.tz_localize(None) if series.dt.tz is not None else series
    years = micros.dt.year
    return pd.DatetimeIndex(micros.where(years.between(1, 9999))).tz_localize("UTC")


def _of_digits(words: pd.Series, name: str, said: list[Problem]) -> pd.DatetimeIndex:
    """Numbers as instants, by the one reading that all of them have."""
    distinct = words.dropna().unique()
    found = {w: cells.readings(w.partition(".")[0]) for w in distinct}
    common = set.intersection(*(set(r) for r in found.values())) if found else set()
    if len(common) > 1:
        first = distinct[0]
        both = " or ".join(f"{found[first][r]:%Y-%m-%d %H:%M:%S} ({r})" for r in sorted(common))
        problem = FieldProblem(
            f"column {name}", f"{shown(first)}, which may be {both}", "ISO 8601, as 2026-03-01T12:00:00Z"
        )
        raise refusal(f"The instants of '{name}' have more than one reading", [problem])
    if not common:
        return pd.DatetimeIndex([pd.NaT] * len(words), tz="UTC")
    reading = common.pop()
    said.append(
        Problem(
            code="digits_as_time",
            column=name,
            count=len(words),
            example=f"{distinct[0]} = {found[distinct[0]][reading]:%Y-%m-%dT%H:%M:%SZ}",
        )
    )
    if reading == "calendar":
        return pd.DatetimeIndex(words.map({w: r[reading] for w, r in found.items()}), tz="UTC")
    power = {"seconds": 6, "milliseconds": 3, "microseconds": 0, "nanoseconds": -3}[reading]
    whole = words.map({w: _micros(w, power) for w in distinct})
    out = np.full(len(words), np.datetime64("NaT", "us"), dtype="datetime64[us]")
    there = whole.notna().to_numpy()
    out[there] = whole[there].to_numpy().astype(np.int64).astype("datetime64[us]")
    return pd.DatetimeIndex(pd.Series(out).dt.tz_localize("UTC"))


def _micros(digits: str, power: int) -> int:
    whole, _, rest = digits.partition(".")
    n = int(whole) * 10**power if power >= 0 else int(whole) // 10**-power
    return n + int((rest + "0" * power)[:power] or 0) if power > 0 else n


def _of_days(words: pd.Series, name: str, day_first: bool | None) -> pd.DatetimeIndex:
    if day_first is None:
        day_first = _day_first(words.dropna(), name)
    parts = words.str.extract(_DAY)
    day, month = (parts[0], parts[1]) if day_first else (parts[1], parts[0])
    iso = parts[2] + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + parts[3].fillna("")
    iso = iso.str.replace(r"([ T])(\d):", r"\g<1>0\2:", regex=True)
    return pd.DatetimeIndex(pd.to_datetime(iso, utc=True, format="ISO8601", errors="coerce"))


def _day_first(known: pd.Series, name: str) -> bool:
    parts = known.str.extract(_DAY)
    first, second = parts[0].astype(int), parts[1].astype(int)
    if (first > 12).any() and not (second > 12).any():
        return True
    if (second > 12).any() and not (first > 12).any():
        return False
    both = bool((first > 12).any())
    seen = f"{shown(known.iloc[0])}, and {'both readings are needed' if both else 'no day beyond the twelfth tells which is the month'}"
    raise refusal(
        f"The days of '{name}' have more than one reading",
        [FieldProblem(f"column {name}", seen, "ISO 8601, as 2026-03-01")],
    )
