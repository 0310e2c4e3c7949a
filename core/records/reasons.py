"""Why something was found, decided or left open: a code and the numbers in its sentence, never the sentence itself.

`core.text.reasons` has a sentence for every code. Rows of earlier versions hold sentences, which `reason_from` keeps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reason:
    """A code of `core.text.reasons.SENTENCES` with its numbers: JSON values, so that a stored reason equals a new one."""

    code: str
    numbers: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __bool__(self) -> bool:
        return bool(self.code)


NO_REASON = Reason("")


def because(code: str, **numbers: Any) -> Reason:
    """A reason with its numbers as JSON values: nested reasons as documents, non-finite numbers as text."""
    return Reason(code, {name: _plain(value) for name, value in numbers.items()})


def as_written(text: str) -> Reason:
    """A reason given as finished text: of an error, or from a row of an earlier version."""
    return Reason("text", {"text": text}) if text else NO_REASON


def reason_from(document: Any) -> Reason:
    """A stored reason; in rows of earlier versions it is a text."""
    if isinstance(document, Reason):
        return document
    if not document or isinstance(document, str):
        return as_written(document or "")
    return Reason(document["code"], document["numbers"])


def reason_document(reason: Reason) -> str | Mapping[str, Any]:
    """The stored form: code and numbers, or the text alone if there is nothing else."""
    if reason.code in ("", "text"):
        return str(reason.numbers.get("text", ""))
    return {"code": reason.code, "numbers": dict(reason.numbers)}


def _plain(value: Any) -> Any:
    if isinstance(value, Reason):
        return reason_document(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's scalars
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
