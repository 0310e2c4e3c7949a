"""One column of a window as input of the drift tests: numbers without their missing cells, or counts per category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.records import Reason, because
from core.text.reasons import sentence

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 50_000  # different texts; a column with more of them is an id or free text


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A numeric column."""

    rows: int
    values: np.ndarray  # float64 without NaN; infinite ones are values

    @property
    def known(self) -> int:
        """Rows that are not missing."""
        return len(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """A categorical column: the number of rows in each category."""

    rows: int
    counts: dict[str, int]
    other: int = 0  # rows in categories that were not counted by name
    distinct: int = 0  # distinct categories, including those not counted by name; a lower bound after a merge

    @property
    def known(self) -> int:
        """Rows that are not missing."""
        return sum(self.counts.values()) + self.other


class Unfit(ValueError):
    """The column is not what the schema says; the reason reports what was found."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return sentence(self.reason)


def numbers_of(column: pd.Series) -> Numbers:
    """A column as numbers.

    Raises:
        Unfit: it holds anything else.
    """
    import pandas as pd
    from pandas.api import types

    dtype = column.dtype
    if dtype == np.float64:
        values = column.to_numpy()
    elif types.is_bool_dtype(dtype) or types.is_datetime64_any_dtype(dtype) or types.is_complex_dtype(dtype):
        raise Unfit(because("type_for_numbers", type=str(dtype)))
    elif types.is_numeric_dtype(dtype):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        try:
            parsed = pd.to_numeric(column.astype(object), errors="coerce")
        except OverflowError as error:
            raise Unfit(because("beyond_doubles")) from error
        bad = int((parsed.isna() & column.notna()).sum())
        if bad == int(column.notna().sum()) and bad:
            raise Unfit(because("text_for_numbers"))
        if bad:
            raise Unfit(because("mixed_types", bad=bad, rows=len(column)))
        values = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.isnan(values)
    return Numbers(len(column), values[~missing] if missing.any() else values)


def outcomes_of(values: Any) -> Numbers:
    """Labels, predictions or residuals as numbers.

    Raises:
        Unfit: some of them exceed the range of doubles.
        ValueError: some of them are not numbers.
    """
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except OverflowError as error:
        raise Unfit(because("beyond_doubles")) from error
    known = numbers[~np.isnan(numbers)]
    return Numbers(len(known), known)


def counts_of(column: pd.Series) -> Counts:
    """A column as counts per category; numbers and booleans become text."""
    import pandas as pd

    rows_by_value: Any
    if isinstance(column.dtype, pd.StringDtype):
        rows_by_value = column.value_counts(dropna=True, sort=False)
    elif isinstance(column.dtype, pd.CategoricalDtype):
        rows_by_value = column.value_counts(dropna=True, sort=False)
        rows_by_value = rows_by_value[rows_by_value > 0]
    elif column.dtype == object:  # True and 1 are different texts, but would be counted as one value
        rows_by_value = column[column.notna()].map(_text).value_counts(sort=False)
    else:
        rows_by_value = column.value_counts(dropna=True, sort=False)
    if len(rows_by_value) > MOST_CATEGORIES:
        return Counts(len(column), {}, other=int(rows_by_value.sum()), distinct=len(rows_by_value))
    counts: dict[str, int] = {}
    for value, n in zip(rows_by_value.index.tolist(), rows_by_value.to_numpy().tolist(), strict=True):
        name = value if isinstance(value, str) else _text(value)
        counts[name] = counts.get(name, 0) + int(n)
    return Counts(len(column), counts, distinct=len(counts))


def _text(value: Any) -> str:
    """A cell as the name of a category; booleans and whole numbers as files spell them."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def table_of(reference: Counts, current: Counts) -> tuple[tuple[str, ...], np.ndarray]:
    """Categories in order of their names, and their rows in both windows, shape (2, K).

    If one side has rows that were not counted by name, categories that only the other side names are pooled with them in
    a last column named "": whether they occurred there is unknown.
    """
    open_reference, open_current = reference.other > 0, current.other > 0
    names = sorted(
        name
        for name in reference.counts.keys() | current.counts.keys()
        if (name in reference.counts or not open_reference) and (name in current.counts or not open_current)
    )
    table = np.array([[side.counts.get(name, 0) for name in names] for side in (reference, current)], dtype=np.int64)
    table = table.reshape(2, -1)
    if open_reference or open_current:
        rest = np.array([[reference.known], [current.known]]) - table.sum(axis=1, keepdims=True)
        return (*names, ""), np.column_stack([table, rest])
    return tuple(names), table
