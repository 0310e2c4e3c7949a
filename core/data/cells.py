"""One plain value at a time, and the texts of refusals: without numpy or pandas, for processes that must start quickly.

A category is text, a boolean "true" or "false", an instant UTC; whole columns are in `columns.py`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from core.errors import BadInput, FieldProblem
from core.records import Label

MISSING_MARKERS = ("", "NA", "NaN", "nan", "null", "NULL")  # of a file; the empty text is missing everywhere
MAX_PROBLEMS = 20  # named in one refusal
MAX_ID_LENGTH = 200  # characters of a row id
# How a number is written in a text; the comma is for files that are separated by semicolons.
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)
_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def plural(n: int, what: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def shown(value: Any) -> str:
    """A value as an error text quotes it, cut at 60 characters."""
    text = repr(_plain(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def listed(values: Iterable[Any], *, at_most: int = 8) -> str:
    """`'a', 'b' and 3 more`."""
    every = list(values)
    text = ", ".join(shown(v) for v in every[:at_most])
    return text if len(every) <= at_most else f"{text} and {len(every) - at_most:,} more"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None."""
    known = list(names)
    same = next((k for k in known if k.strip().lower() == name.strip().lower()), None)
    return same or next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.7)), None)


def refusal(lead: str, problems: Sequence[FieldProblem], advice: str = "", *, verb: str = "is") -> BadInput:
    """A `BadInput` whose text names the first problems and how many more there are."""
    told = "; ".join(f"{p.field} {verb} {p.seen}, expected {p.expected}" for p in problems[:3])
    more = f"; and {len(problems) - 3:,} more" if len(problems) > 3 else ""
    return BadInput(f"{lead}: {told}{more}.{' ' if advice else ''}{advice}", tuple(problems[:MAX_PROBLEMS]))


def _plain(value: Any) -> Any:
    """numpy's scalars as Python's, the markers of pandas for missing as None."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.item() if getattr(value, "ndim", 1) == 0 and hasattr(value, "item") else value


def as_text(value: Any) -> str | None:
    """A category or id as text: 3 and 3.0 are "3", True is "true"; None for a missing, empty or infinite value.

    Raises:
        ValueError: a list, mapping or other thing that is no single value.
    """
    if isinstance(value, str):
        return value or None
    value = _plain(value)
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)):
        number = float(value)
        if not math.isfinite(number):
            return None
        return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    raise ValueError(f"{type(value).__name__} is no single value")


def as_boolean(value: Any) -> bool | None:
    """A boolean from True, 1, "true", "yes" and their opposites; None for missing.

    Raises:
        ValueError: anything else.
    """
    text = as_text(value)
    if text is None or text.strip() in MISSING_MARKERS:
        return None
    found = _BOOLEANS.get(text.strip().lower())
    if found is None:
        raise ValueError(f"{value!r} is no boolean")
    return found


def as_class(value: Any, like: type) -> Label | None:
    """A class in the type that the project's classes have; None for missing.

    Raises:
        ValueError: it cannot be one of that type, e.g. 1.5 or "x" among whole numbers.
    """
    if like is str:
        return as_text(value)
    if like is bool:
        return as_boolean(value)
    value = _plain(value)
    if isinstance(value, int):
        return like(value)
    text = as_text(value)
    if text is None or text.strip() in MISSING_MARKERS:
        return None
    number = float(text)
    if not math.isfinite(number):
        return None
    if like is float:
        return number
    if number != int(number):
        raise ValueError(f"{value!r} is no whole number")
    return int(text) if text.strip().lstrip("+-").isdecimal() else int(number)  # beyond 2^53 a float is not exact


def instant(value: Any) -> datetime:
    """One instant of a request, aware and in UTC; naive ones are taken as UTC.

    Raises:
        ValueError: neither a datetime nor ISO 8601 text.
    """
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value if isinstance(value, str) else "")
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError as error:  # the year 1 or 9999 beyond UTC
        raise ValueError(str(error)) from None
