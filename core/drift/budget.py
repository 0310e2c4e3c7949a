"""A false-alarm budget turned into a gate for each feature: how far do blocks of the reference itself lie apart?

Rows of a stream are not independent: a sensor warms up, customers differ by weekday. So a batch differs from the rows
before it by more than chance, without anything having changed. Consecutive blocks of the reference, as long as the
current window, show by how much; the gate is set where such blocks would pass it as seldom as the budget allows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from core.drift.values import Unfit, numbers_of
from core.records import FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

BLOCKS = 60  # resampled from the reference
LEAST_BLOCKS_LONG = 3  # the reference must be so many times as long as the current window
LEAST_CHANCE = 0.001  # of an alarm by one feature in one check: so few blocks tell nothing about rarer ones
_EULER = 0.5772156649015329


def budget_gates(
    reference: pd.DataFrame,
    schema: FeatureSchema,
    *,
    current_rows: int,
    checks_per_month: float,
    alarms_per_month: float,
    gate: float,
    seed: int,
) -> dict[str, float]:
    """The gates, by feature, that are higher than the common one; empty when the reference is too short to tell.

    Args:
        reference: rows in the order of time.
        current_rows: of the window that will be compared.
        checks_per_month: how often it will be.
        alarms_per_month: false ones, of any feature, that are put up with; above 0. A budget that asks for less than
            LEAST_CHANCE a feature and check is kept only that far.
        gate: the least gate of every feature.
        seed: of the blocks' places.

    The effects of BLOCKS random blocks against the other rows are taken as maxima-like and their upper end is read off a
    Gumbel law fitted by moments: the budget asks for chances far below one in BLOCKS.
    """
    n = len(reference)
    if n < LEAST_BLOCKS_LONG * current_rows or current_rows < 1 or not schema.features:
        return {}
    chance = alarms_per_month / max(checks_per_month, 1e-9) / len(schema.features)
    chance = min(0.5, max(LEAST_CHANCE, chance))
    starts = np.random.default_rng(seed).integers(0, n - current_rows + 1, BLOCKS)
    raised: dict[str, float] = {}
    for feature in schema.features:
        effects = _effects(reference[feature.name], feature.kind, starts, current_rows)
        if effects is None:
            continue
        scale = float(effects.std(ddof=1)) * math.sqrt(6) / math.pi
        mode = float(effects.mean()) - _EULER * scale
        limit = min(1.0, mode - scale * math.log(-math.log1p(-chance)))
        if limit > gate:
            raised[feature.name] = limit
    return raised


def _effects(column: pd.Series, kind: str, starts: np.ndarray, length: int) -> np.ndarray | None:
    """KS distance, or total variation, of each block against the rows outside it; None when it has no values."""
    codes = _codes(column, kind)
    known = codes >= 0
    if not known.any():
        return None
    order = np.argsort(codes[known], kind="stable")
    place = np.flatnonzero(known)[order]  # rows in the order of their values
    ends = np.flatnonzero(np.r_[np.diff(codes[place]) > 0, True])  # last row of each distinct value
    total = len(place)
    effects = []
    for start in starts:
        inside = np.cumsum((place >= start) & (place < start + length))[ends]
        n, m = total - int(inside[-1]), int(inside[-1])
        if n == 0 or m == 0:
            continue
        difference = inside / m - (ends + 1 - inside) / n
        if kind != "numeric":
            difference = np.diff(difference, prepend=0.0)
        effects.append(float(np.abs(difference).max() if kind == "numeric" else np.abs(difference).sum() / 2))
    return np.array(effects) if len(effects) > 1 else None


def _codes(column: pd.Series, kind: str) -> np.ndarray:
    """Each row's rank among the distinct values, or its category's number; -1 = missing."""
    import pandas as pd

    if kind != "numeric":
        return pd.factorize(column)[0].astype(np.int64)
    try:
        numbers_of(column)
    except Unfit:
        return np.full(len(column), -1)
    return pd.factorize(column.to_numpy(dtype=np.float64, na_value=np.nan), sort=True)[0].astype(np.int64)
