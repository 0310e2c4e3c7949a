"""Both windows as one matrix for models that tell them apart. sklearn is imported by those who fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.records import FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 5_000  # of each window; more tell a classifier little and cost it much
MAX_CODES = 250  # categories of a feature that keep a code of their own; boosting takes 255


def sampled(frame: pd.DataFrame, rng: np.random.Generator, at_most: int = MAX_ROWS) -> pd.DataFrame:
    """At most so many rows, drawn without replacement, in their order."""
    if len(frame) <= at_most:
        return frame
    return frame.iloc[np.sort(rng.choice(len(frame), at_most, replace=False))]


def encoded(
    reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema
) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Features of both windows below each other, shape (n + m, features), whose window each row is, and the codes' names.

    Numbers stay, missing is NaN. Categories become codes by how often they occur: 0 is the most frequent; those beyond
    MAX_CODES share the last code. The list of names is empty for numeric features.
    """
    import pandas as pd

    both = pd.concat([reference[list(schema.names)], current[list(schema.names)]], ignore_index=True)
    matrix = np.empty((len(both), len(schema.features)), dtype=np.float64)
    names: list[list[str]] = []
    for j, feature in enumerate(schema.features):
        column = both[feature.name]
        if feature.kind == "numeric":
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            matrix[:, j] = np.where(np.isfinite(values), values, np.nan)
            names.append([])
            continue
        counts = column.value_counts(dropna=True)
        ranked = sorted(counts.index, key=lambda c: (-int(counts[c]), str(c)))
        code = {value: float(min(i, MAX_CODES - 1)) for i, value in enumerate(ranked)}
        matrix[:, j] = column.map(code).to_numpy(dtype=np.float64, na_value=np.nan)
        shown = [str(v) for v in ranked[:MAX_CODES]]
        names.append([*shown[: MAX_CODES - 1], "another value"] if len(ranked) > MAX_CODES else shown)
    is_current = np.r_[np.zeros(len(reference), dtype=bool), np.ones(len(current), dtype=bool)]
    return matrix, is_current, names
