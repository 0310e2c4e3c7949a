"""Both windows as one matrix for classifiers that separate them. sklearn is imported by callers that fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from core.records import FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 5_000  # of each window; more would improve a classifier little and be slow
MAX_CODES = 250  # categories of a feature that keep a code of their own; boosting takes 255
LEAST_ROWS = 5  # rows of both windows in which a category must occur to keep its code
ANOTHER = "another value"
LARGEST = 1e30  # larger numbers are capped at it: their squares must stay finite


@contextmanager
def one_thread() -> Iterator[None]:
    """Run small models in one thread: on busy cores the threads of each tiny step would wait for one another.

    A context manager, also usable as a decorator: `@one_thread()`.
    """
    import sklearn.ensemble  # noqa: F401  # its thread pool must exist to be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def sampled(frame: pd.DataFrame, rng: np.random.Generator, at_most: int = MAX_ROWS) -> pd.DataFrame:
    """At most `at_most` rows, sampled without replacement, in their order."""
    if len(frame) <= at_most:
        return frame
    return frame.iloc[np.sort(rng.choice(len(frame), at_most, replace=False))]


def encoded(
    reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema
) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Features of both windows stacked, shape (n + m, features), the window of each row, and the codes' names.

    Numbers stay, anything but a finite number is NaN. Categories become codes by how often they occur: 0 is the most
    frequent; those beyond MAX_CODES share the last code. The list of names is empty for numeric features. A feature that
    one of the frames lacks is NaN in both.
    """
    import pandas as pd

    matrix = np.full((len(reference) + len(current), len(schema.features)), np.nan)
    names: list[list[str]] = [[] for _ in schema.features]
    for j, feature in enumerate(schema.features):
        if feature.name not in reference.columns or feature.name not in current.columns:
            continue
        if feature.kind == "numeric":
            matrix[:, j] = np.r_[numbers(reference[feature.name]), numbers(current[feature.name])]
            continue
        # One frame below the other: their dtypes may differ.
        texts = pd.concat([categories(reference[feature.name]), categories(current[feature.name])], ignore_index=True)
        counts = texts.value_counts(dropna=True)
        ranked = sorted(counts.index, key=lambda c: (-int(counts[c]), c))
        # Ids would separate any two windows.
        own = [c for c in ranked[: MAX_CODES - 1] if counts[c] >= LEAST_ROWS]
        code = {value: float(min(i, len(own))) for i, value in enumerate(ranked)}
        matrix[:, j] = texts.map(code).to_numpy(dtype=np.float64, na_value=np.nan)
        names[j] = own if len(own) == len(ranked) else [*own, ANOTHER]
    is_current = np.r_[np.zeros(len(reference), dtype=bool), np.ones(len(current), dtype=bool)]
    return matrix, is_current, names


def numbers(column: pd.Series) -> np.ndarray:
    """A column as numbers, shape (n,): NaN for missing, infinite and non-numeric cells; capped at LARGEST."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_complex_dtype(column.dtype):
        column = pd.to_numeric(column.astype(object).map(_plain), errors="coerce")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), np.nan)


def categories(column: pd.Series) -> pd.Series:
    """A column as text, None where it is missing: values with the same text are one category, whatever their type."""
    import pandas as pd

    known = column.notna().to_numpy()
    cells = column.to_numpy(dtype=object)
    text = np.full(len(cells), None, dtype=object)
    text[known] = [str(v) for v in cells[known]]
    return pd.Series(text, dtype=object)


def _plain(cell: Any) -> Any:
    """Numbers and text; None for cells on which pandas would raise an error; LARGEST for those beyond it."""
    if isinstance(cell, int) and abs(cell) > LARGEST:  # integers may exceed the range of doubles
        return LARGEST if cell > 0 else -LARGEST
    return cell if isinstance(cell, str | int | float | np.number) else None
