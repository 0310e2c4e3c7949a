"""Any record as plain JSON values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from core.records.reasons import Reason, reason_document


def to_document(value: Any, *, reason: Callable[[Reason], Any] = reason_document) -> Any:
    """Plain JSON values of a record, frame scalar or container: NaN and inf become None, instants ISO text.

    Args:
        reason: what a reason becomes: its code and numbers, as they are stored; `core.text.reasons.in_words` has the
            document for people and programs outside, with sentences.
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
