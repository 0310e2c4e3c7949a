"""Explanations of the champion's predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from core.learning.contributions import Explanation, explain
from core.learning.scorer_parts import Values
from core.services.serving.champion_cache import Served
from core.services.serving.predicting import predict_one


def explain_row(served: Served, values: Values) -> Explanation:
    """Each feature's contribution to the prediction for one row, relative to the champion's check rows.

    Raises:
        BadInput: the model gives no finite number for the row.
    """
    _, place, _ = predict_one(served, values)
    return explain(
        served.scorer,
        values,
        background(served),
        names=served.schema.names,
        classes=served.classes,
        place=place,
    )


def background(served: Served) -> Sequence[Values]:
    """The check rows without unseen categories; if there are none, one row of typical values."""
    texts = [
        (j, frozenset(served.ranges.get(f.name) or ()))
        for j, f in enumerate(served.schema.features)
        if f.kind != "numeric"
    ]
    usual = [row for row in served.background if all(row[j] is None or row[j] in known for j, known in texts)]
    return usual or [[_middling(served.ranges.get(f.name), f.kind == "numeric") for f in served.schema.features]]


def _middling(known: Any, numeric: bool) -> Any:
    if numeric:
        return (known[0] + known[1]) / 2 if known else math.nan
    return known[0] if known else None
