"""Validation rules for the fields of a policy, as records: documents and the page's editor share them.

A rule is called with a value and returns it in the policy's type; its ValueError states what was expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Rule = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class NumberIn:
    """A finite number in a closed interval."""

    low: float
    high: float = math.inf

    def __call__(self, value: Any) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not self.low <= value <= self.high
            or math.isinf(value)
        ):
            raise ValueError(f"a number from {self.low:g}" + (f" to {self.high:g}" if math.isfinite(self.high) else ""))
        return float(value)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number with a minimum."""

    low: int

    def __call__(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < self.low:
            raise ValueError(f"a whole number from {self.low}")
        return int(value)


@dataclass(frozen=True, slots=True)
class OneOf:
    """A key of a table."""

    table: Mapping[str, Any]

    def __call__(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.table:
            raise ValueError(f"one of {', '.join(self.table)}")
        return value
