"""Minimum effect sizes (gates) per feature from a false-alarm budget, by the variation between blocks of the reference.

Rows of a stream are not independent: a sensor warms up, customers differ by weekday. So a batch differs significantly
from earlier rows without any drift. Consecutive blocks of the reference, as long as the current window, show by how
much; the gate is set so that such blocks exceed it only as often as the budget allows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from core.drift.values import Unfit, numbers_of
from core.records import FeatureSchema

if TYPE_CHECKING:
    import pandas as pd

BLOCKS = 60  # resampled from the reference
LEAST_BLOCKS_LONG = 3  # minimum length of the reference, in current windows
SEED = 0  # default; determines the positions of the blocks
MONTH_S = 30 * 86_400.0
NEWEST = 100  # newest batches from which the monthly number is estimated
LEAST_CHANCE = (
    0.001  # minimum alarm probability of one feature in one check: rarer ones cannot be estimated from so few blocks
)
_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Gates:
    """Individual gates by feature. Each part has its own: the variation of values says nothing about missing cells."""

    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)
    categories: dict[str, float] = field(default_factory=dict)  # new and vanished ones, before they count double


def checks_per_month(ends: Sequence[datetime]) -> float:
    """Batches per thirty days by the rows' timestamps, at least one; 30 when these are insufficient.

    Args:
        ends: newest time of each of the newest batches, in any order; NEWEST of them are enough.
    """
    span = (max(ends) - min(ends)).total_seconds() if len(ends) > 1 else 0.0
    return max(1.0, (len(ends) - 1) / span * MONTH_S) if span > 0 else 30.0


def budget_gates(
    reference: pd.DataFrame,
    schema: FeatureSchema,
    *,
    current_rows: int,
    checks_per_month: float,
    alarms_per_month: float,
    gate: float,
    seed: int = SEED,
) -> Gates:
    """The gates that are higher than the common one, by feature; empty when the reference is too short.

    Args:
        reference: rows in chronological order.
        current_rows: rows of the window that will be compared.
        checks_per_month: how often it will be compared.
        alarms_per_month: tolerated false alarms of any feature; above 0. A budget below LEAST_CHANCE per feature and
            check is honoured only down to that.
        gate: the minimum gate of every feature.
        seed: of the blocks' positions.

    The effects of BLOCKS random blocks against the other rows are treated as maxima, and their upper quantile is taken
    from a Gumbel distribution fitted by moments: the budget needs probabilities far below one in BLOCKS.
    """
    n = len(reference)
    if n < LEAST_BLOCKS_LONG * current_rows or current_rows < 1 or not schema.features:
        return Gates()
    missing = {f.name: reference[f.name].isna().to_numpy() for f in schema.features}
    kinds = [f.kind for f in schema.features]
    # The reference's own variation: of values, of missing cells, and of which categories occur.
    asked = len(kinds) + sum(bool(gone.any()) for gone in missing.values()) + sum(kind != "numeric" for kind in kinds)
    chance = alarms_per_month / max(checks_per_month, 1e-9) / asked
    chance = min(0.5, max(LEAST_CHANCE, chance))
    starts = np.random.default_rng(seed).integers(0, n - current_rows + 1, BLOCKS)
    gates = Gates()
    for feature in schema.features:
        name = feature.name
        values, categories = _effects(reference[name], feature.kind, starts, current_rows)
        absent = _missing_effects(missing[name], starts, current_rows) if missing[name].any() else None
        for raised, effects in ((gates.values, values), (gates.missing, absent), (gates.categories, categories)):
            limit = gate if effects is None else min(1.0, _upper_end(effects, chance))
            if limit > gate:
                raised[name] = limit
    return gates


def _upper_end(effects: np.ndarray, chance: float) -> float:
    """The value that such effects exceed with this probability, by a Gumbel distribution fitted by moments."""
    scale = float(effects.std(ddof=1)) * math.sqrt(6) / math.pi
    return float(effects.mean()) - _EULER * scale - scale * math.log(-math.log1p(-chance))


def _missing_effects(missing: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Difference of the miss rates of each block and of the rows outside it."""
    upto = np.r_[0, np.cumsum(missing)]
    inside = upto[starts + length] - upto[starts]
    outside = len(missing) - length
    return np.abs(inside / length - (upto[-1] - inside) / outside)


def _effects(
    column: pd.Series, kind: str, starts: np.ndarray, length: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """KS distance, or total variation, of each block against the rows outside it; None when it has no values.

    For categories also the larger excess of rows in those that only the block has, or only the other rows.
    """
    codes = _codes(column, kind)
    known = codes >= 0
    if not known.any():
        return None, None
    order = np.argsort(codes[known], kind="stable")
    place = np.flatnonzero(known)[order]  # rows ordered by value
    ends = np.flatnonzero(np.r_[np.diff(codes[place]) > 0, True])  # last row of each distinct value
    total = len(place)
    effects, unmatched = [], []
    for start in starts:
        inside = np.cumsum((place >= start) & (place < start + length))[ends]
        n, m = total - int(inside[-1]), int(inside[-1])
        if n == 0 or m == 0:
            continue
        if kind == "numeric":
            effects.append(float(np.abs(inside / m - (ends + 1 - inside) / n).max()))
            continue
        here = np.diff(inside, prepend=0)
        there = np.diff(ends + 1, prepend=0) - here
        effects.append(float(np.abs(here / m - there / n).sum() / 2))
        unmatched.append(max(_excess(here, there), _excess(there, here)))
    distances = np.array(effects) if len(effects) > 1 else None
    return distances, np.array(unmatched) if len(unmatched) > 1 else None


def _excess(here: np.ndarray, there: np.ndarray) -> float:
    """Share of rows in categories that only the first has, minus what a new sample is expected to contain."""
    return float(here[there == 0].sum() / here.sum() - (there == 1).sum() / there.sum())


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
