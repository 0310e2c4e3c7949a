"""Conversion of any record to plain JSON values and back."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from core.records.reasons import Reason, reason_document, reason_from

T = TypeVar("T")
Read = Callable[[Any], Any]

JsonObject = dict[str, Any]  # an object with any keys: in a column, a job or a foreign file


def to_document(value: Any, *, reason: Callable[[Reason], Any] = reason_document) -> Any:
    """Plain JSON values of a record, frame scalar or container: NaN and inf become None, instants ISO text.

    Args:
        reason: converts reasons: by default to code and numbers, as stored; `core.text.reasons.in_words` gives the
            document with sentences, for people and other programs.
    """
    if isinstance(value, Reason):
        return reason(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_document(getattr(value, f.name), reason=reason) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): to_document(v, reason=reason) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_document(v, reason=reason) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        return to_document(value.tolist(), reason=reason)
    return value


def from_document(kind: type[T], document: Mapping[str, Any]) -> T:
    """The stored record, including nested ones, by the types of its fields.

    A document of an earlier version may lack keys (they take their defaults), hold reasons as sentences, and have keys that
    are no longer fields (they are ignored). None stays None; values of plain types stay unchanged.

    Raises:
        TypeError: a field without a default is missing, or the document is none.
    """
    readers: dict[str, Read] = _readers(kind)  # type: ignore[arg-type]  # mypy: a class is hashable
    return kind(**{name: read(document[name]) for name, read in readers.items() if name in document})


@functools.cache
def _readers(kind: type[Any]) -> dict[str, Read]:
    """How each field of a record is read; the types of a record's fields are looked up once a process."""
    types_of = typing.get_type_hints(kind)
    return {field.name: _reader(types_of[field.name]) for field in dataclasses.fields(kind)}


def _reader(wanted: Any) -> Read:
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Reason:
        return reason_from
    if wanted is datetime:
        return _instant
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        # None, and for an optional record also an empty object, means no record.
        return lambda document: from_document(wanted, document) if document else None
    if origin in (typing.Union, types.UnionType):
        kinds = [part for part in parts if part is not type(None)]
        if len(kinds) != 1:
            return _as_it_is
        inner = _reader(kinds[0])
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        of = _reader(parts[0]) if parts[-1] is Ellipsis else _as_it_is
        return lambda values: tuple(of(value) for value in values or ())
    if origin is dict:
        held = _reader(parts[1])
        return lambda values: values if values is None else {key: held(value) for key, value in values.items()}
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _instant(value: Any) -> datetime | None:
    if not value or isinstance(value, datetime):
        return value or None
    return datetime.fromisoformat(value)
