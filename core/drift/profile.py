"""The profile of a batch: a small summary of every feature, stored with the batch as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.drift.univariate import sorted_values
from core.records import FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = tuple(round(q / 10, 1) for q in range(11))  # 0 = smallest, 0.5 = median, 1 = largest
TOP = 20  # categories that are counted by name; the rest is "other"


def profile(frame: pd.DataFrame, schema: FeatureSchema) -> dict[str, Any]:
    """Counts, missing cells and the distribution of each feature: `{"rows": n, "features": {name: {...}}}`.

    Args:
        frame: conformed to the schema; more columns are ignored.

    Numeric features have mean, sd (sample), and the values at QUANTILES; the others counts of their TOP categories,
    how many categories there are, and the rows in the rest. A figure that cannot be told is None.
    """
    features = {
        f.name: _numeric(frame[f.name]) if f.kind == "numeric" else _categories(frame[f.name]) for f in schema.features
    }
    return {"rows": len(frame), "features": features}


def _numeric(column: pd.Series) -> dict[str, Any]:
    values = sorted_values(column)
    values = values[np.isfinite(values)]
    n = len(values)
    summary: dict[str, Any] = {
        "kind": "numeric",
        "missing": len(column) - n,
        "mean": None,
        "sd": None,
        "quantiles": None,
    }
    if n:
        # Rounded to seven digits: the profile is for reading and charts, the rows are stored beside it.
        with np.errstate(over="ignore", invalid="ignore"):  # values near the largest double have no sd: None
            summary["mean"] = _rounded(values.mean())
            summary["sd"] = _rounded(values.std(ddof=1)) if n > 1 else None
            summary["quantiles"] = [_rounded(v) for v in np.quantile(values, QUANTILES)]
    return summary


def _categories(column: pd.Series) -> dict[str, Any]:
    counts = column.value_counts(dropna=True, sort=False)
    ranked = sorted(((str(k), int(v)) for k, v in counts.items() if v), key=lambda kv: (-kv[1], kv[0]))
    return {
        "kind": "categorical",
        "missing": len(column) - sum(v for _, v in ranked),
        "distinct": len(ranked),
        "top": dict(ranked[:TOP]),
        "other": sum(v for _, v in ranked[TOP:]),
    }


def _rounded(value: Any) -> float | None:
    value = float(f"{float(value):.7g}")
    return value if np.isfinite(value) else None
