"""Conversion of single values, and the texts of refusals: without numpy or pandas, for processes that must start quickly.

What a value means is decided here and nowhere else: which texts are missing, how numbers, booleans, ids, classes and
instants are written. Blanks around a value are ignored. Whole columns are in `columns.py`.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from core.errors import BadInput, FieldProblem
from core.records import Label

# Such a cell is missing, in files, labels and requests alike.
MISSING_MARKERS = (
    "", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "-NaN", "NaT", "null", "NULL", "None", "\\N",
)  # fmt: skip
# Missing where numbers are expected; a category elsewhere.
NO_NUMBER_MARKERS = ("?", "-", "--", ".", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!")
MAX_PROBLEMS = 20  # listed in one refusal
MAX_ID_LENGTH = 200  # characters of a row id
TOO_GREAT = 3.4e38  # models use 32-bit floats: numbers from this one on are infinite to them
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would execute a cell that begins like this
_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
_MISSING = frozenset(MISSING_MARKERS)
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
AHEAD = timedelta(hours=1)  # an instant may be this much later than its arrival: clocks differ


def shown(value: Any) -> str:
    """A value as an error text quotes it, cut at 60 characters."""
    value = _plain(value)
    text = str(value) if isinstance(value, (datetime, date)) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def shown_json(value: Any) -> str:
    """A decoded JSON value as an error text quotes it: what it is, where its text would be long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "an object" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value):,}" if value else "an empty list"
    return shown(value)


def listed(values: Iterable[Any], *, at_most: int = 8) -> str:
    """`'a', 'b' and 3 more`."""
    every = list(values)
    text = ", ".join(shown(v) for v in every[:at_most])
    return text if len(every) <= at_most else f"{text} and {len(every) - at_most:,} more"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The most similar known name, or None."""
    known = list(names)
    same = next((k for k in known if k.strip().lower() == name.strip().lower()), None)
    return same or next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.7)), None)


def refusal(lead: str, problems: Sequence[FieldProblem], advice: str = "", *, verb: str = "is") -> BadInput:
    """A `BadInput` whose text lists the first problems and how many more there are."""
    listed_problems = "; ".join(f"{p.field} {verb} {p.seen}, expected {p.expected}" for p in problems[:3])
    more = f"; and {len(problems) - 3:,} more" if len(problems) > 3 else ""
    return BadInput(f"{lead}: {listed_problems}{more}.{' ' if advice else ''}{advice}", tuple(problems[:MAX_PROBLEMS]))


def _plain(value: Any) -> Any:
    """numpy's scalars as Python's, the markers of pandas for missing as None."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.item() if getattr(value, "ndim", 1) == 0 and hasattr(value, "item") else value


def is_missing(text: str) -> bool:
    """Whether a cell's text marks a missing value."""
    return text.strip() in _MISSING


def unguarded(text: str) -> str:
    """The text without the apostrophe that a download puts before a text that a spreadsheet would execute."""
    return text[1:] if text[:1] == "'" and text[1:].lstrip("'")[:1] in FORMULA_SIGNS else text


def guarded(text: str) -> str:
    """The text as a download writes it: text that a spreadsheet would execute gets an apostrophe; numbers do not."""
    bare = text.lstrip("'")
    return f"'{text}" if bare[:1] in FORMULA_SIGNS and not NUMBER.fullmatch(text) else text


def as_text(value: Any) -> str | None:
    """A category or id as text: 3 and 3.0 are "3", True is "true"; None for a missing or infinite value.

    Raises:
        ValueError: a list, mapping or another value that is not a single one.
    """
    if isinstance(value, str):
        text = value.strip()
        return None if text in _MISSING else text
    value = _plain(value)
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        return format(value.to_integral_value(), "f") if value == value.to_integral_value() else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    raise ValueError(f"{type(value).__name__} is not a single value")


def as_id(value: Any) -> str | None:
    """A row id as text, unchanged except that 7.0 becomes 7. None for a missing one.

    Raises:
        ValueError: as `as_text`.
    """
    text = as_text(value)
    if text is None or not text.endswith("0"):
        return text
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def whole_text(text: str) -> str | None:
    """`7` for `7` and `7.0`; None if the text is not a plainly written whole number."""
    match = _WHOLE.fullmatch(text)
    return match[1] if match else None


def as_category(value: Any, known: Collection[str]) -> str | None:
    """A category in the spelling of the known ones: its text unchanged, except that 7.0 becomes 7 and true becomes True
    if those are the categories.

    Raises:
        ValueError: as `as_text`.
    """
    text = as_text(value)
    if text is None or text in known:
        return text
    whole = whole_text(text)
    if whole is not None and whole != text and (whole in known or (known and all(whole_text(k) == k for k in known))):
        return whole
    if not isinstance(value, str) and text in ("true", "false"):
        return next((k for k in known if k.lower() == text), text)
    return text


def as_boolean(value: Any) -> bool | None:
    """A boolean from True, 1, "true", "yes" and their opposites; None for missing.

    Raises:
        ValueError: anything else.
    """
    text = as_text(value)
    if text is None:
        return None
    boolean = _BOOLEANS.get(text.lower())
    if boolean is None:
        raise ValueError(f"{value!r} is not a boolean")
    return boolean


def as_class(value: Any, like: type, known: Collection[Any] = ()) -> Label | None:
    """A class in the type that the project's classes have; None for missing.

    Args:
        known: the project's classes: text is converted to their spelling, as in `as_category`.

    Raises:
        ValueError: it cannot be one of that type, e.g. 1.5, infinity or "x" among whole numbers.
    """
    if like is str:
        return as_category(value, [k for k in known if isinstance(k, str)])
    if like is bool:
        return as_boolean(value)
    value = _plain(value)
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a number")
    if isinstance(value, int):
        return like(value)
    text = as_text(value)
    if text is None:
        if isinstance(value, (float, Decimal)) and not math.isnan(value):
            raise ValueError(f"{value!r} is not a class")
        return None
    if text in NO_NUMBER_MARKERS:
        return None
    number = float(text)
    if like is float:
        return number
    if not math.isfinite(number) or number != int(number):
        raise ValueError(f"{value!r} is not a whole number")
    return int(text) if text.lstrip("+-").isdecimal() else int(number)  # beyond 2^53 a float is not exact


def label_of(value: Any, task: str, classes: Sequence[Label]) -> Label | None:
    """A label in the project's form, also for a new class: a class of the type of its classes, or a finite number; None
    where the value is missing.

    Raises:
        ValueError: it can be neither.
    """
    if task != "regression":
        label = as_class(value, type(classes[0]), classes)
        if isinstance(label, str) and not isinstance(value, str) and label not in classes:
            raise ValueError(f"{value!r} is not text")  # a number or boolean that matches none of the classes
        return label
    value = _plain(value)
    if value is None or (isinstance(value, str) and (is_missing(value) or value.strip() in NO_NUMBER_MARKERS)):
        return None
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError(f"{value!r} is not a number")
    number = float(value)
    if not -TOO_GREAT < number < TOO_GREAT:
        raise ValueError(f"{value!r} is not a finite number")
    return number


def expected_label(task: str, classes: Sequence[Label]) -> str:
    """What `label_of` accepts, as a refusal words it."""
    if task == "regression":
        return f"a number below {TOO_GREAT:.2g} in size"
    some = listed(classes)
    return {int: "a whole number, such as ", bool: "true or false, here ", float: "a number, such as "}.get(
        type(classes[0]), "a class, such as "
    ) + some


# --- numbers as people write them -----------------------------------------------------------------------------------

_UNIT = re.compile(r"([$€£¥%]|EUR|USD|GBP|CHF)")
_SPACES = re.compile(r"(?<=\d)[ \u00a0\u202f\u2009'’](?=\d{3}(?!\d))")
_POINT_FORM = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?|\d*\.?\d+|\d+\.")
_COMMA_FORM = re.compile(r"[1-9]\d{0,2}(\.\d{3})+(,\d*)?|\d*,?\d+|\d+,")
EITHER = re.compile(r"[1-9]\d{0,2}[,.]\d{3}")  # 1,234 may be 1234 or 1.234


def as_written(text: str) -> tuple[str, str, str] | None:
    """Sign, digits with their marks, and unit of a number as people write it (`$1,234.50`, `-50 %`, `(12)`, `1 234,5`);
    None if it is not a number."""
    body, sign = text.strip(), ""
    units = _UNIT.findall(body)
    if len(units) > 1:
        return None
    if units:
        at = body.index(units[0])
        before, after = body[:at].strip(), body[at + len(units[0]) :].strip()
        if before not in ("", "-", "+", "(") and after not in ("", ")"):
            return None  # the unit is in the middle
        body = before + after
    if body[:1] == "(" and body[-1:] == ")":
        body, sign = body[1:-1].strip(), "-"
    elif body[:1] in "+-" and body:
        body, sign = body[1:].strip(), body[0]
    body = _SPACES.sub("", body)
    if not body or not (_POINT_FORM.fullmatch(body) or _COMMA_FORM.fullmatch(body)):
        return None
    return sign, body, units[0] if units else ""


def decimal_mark(body: str) -> str:
    """Which mark the digits show to be the decimal one: `.` or `,`; empty if that is ambiguous."""
    if EITHER.fullmatch(body):
        return ""
    point, comma = _POINT_FORM.fullmatch(body), _COMMA_FORM.fullmatch(body)
    if "," not in body and "." not in body:
        return ""
    return "" if point and comma else "." if point else ","


def number_written(text: str, decimal: str = ".", unit: str = "") -> float:
    """The number that a text means, given the decimal mark.

    Raises:
        ValueError: it is not a number, or has another unit; a percent sign must be in every cell or in none.
    """
    parts = as_written(text)
    if parts is None:
        raise ValueError(f"{text!r} is not a number")
    sign, body, has = parts
    if has != unit and (has or unit == "%"):
        raise ValueError(f"{text!r} has a different unit")
    if not (_COMMA_FORM if decimal == "," else _POINT_FORM).fullmatch(body):
        raise ValueError(f"{text!r} is not a number with the decimal mark {decimal!r}")
    body = body.replace(".", "").replace(",", ".") if decimal == "," else body.replace(",", "")
    return float(sign + body)


# --- instants ------------------------------------------------------------------------------------------------------

_COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
LATEST_YEAR = 2100  # latest year of a reading of digits: a later year means another unit


def readings(digits: str) -> dict[str, datetime]:
    """What a run of digits can mean as an instant, by the name of the reading; none where it means nothing."""
    meanings: dict[str, datetime] = {}
    if not digits.isdecimal() or not digits.isascii():
        return meanings
    n = int(digits)
    for power, name in ((0, "seconds"), (3, "milliseconds"), (6, "microseconds"), (9, "nanoseconds")):
        seconds = n / 10**power
        if 1e8 <= seconds < 4102444800:  # 1973 to 2100
            whole, rest = divmod(n, 10**power)
            meanings[name] = datetime.fromtimestamp(whole, UTC) + timedelta(microseconds=rest * 10**6 // 10**power)
    if len(digits) in _COMPACT and digits[:2] in ("19", "20"):
        with contextlib.suppress(ValueError):
            meanings["calendar"] = datetime.strptime(digits, _COMPACT[len(digits)]).replace(tzinfo=UTC)
    return meanings


def instant(value: Any) -> datetime:
    """One instant of a request, aware and in UTC: ISO 8601 text (naive = UTC), or a number of Unix seconds or
    milliseconds.

    Raises:
        ValueError: neither, before 1900, or digits with more than one meaning.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{value!r} is not an instant")
        rest = value - int(value)
        parsed = _only(readings(str(int(value))), value) + timedelta(seconds=rest)
    elif isinstance(value, datetime):
        parsed = value
    elif isinstance(value, str):
        text = value.strip()
        parsed = _only(readings(text), value) if text.isdecimal() else datetime.fromisoformat(text)
    else:
        raise ValueError(f"{value!r} is not an instant")
    try:
        parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError as error:  # year 1 or 9999, out of range once converted to UTC
        raise ValueError(str(error)) from None
    if parsed < EARLIEST:
        raise ValueError(f"{value!r} is before 1900")
    return parsed


def _only(meanings: dict[str, datetime], value: Any) -> datetime:
    if len(meanings) != 1:
        raise ValueError(f"{value!r} has {len(meanings)} possible meanings as an instant")
    return next(iter(meanings.values()))
