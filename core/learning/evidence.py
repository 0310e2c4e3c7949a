"""Sequential evidence that one model is better than another, updated row by row: valid after every batch (anytime-valid).

A bet on each row pays when the first model gains on it. Under equal models, or a worse one, the stake's wealth has mean
1 whatever has been observed, so the probability that it ever reaches 1 / alpha is at most alpha, however often one tests and
whenever one stops (Ville 1939). Several stakes are held in parallel, and their mean is the evidence (an e-value;
Waudby-Smith and Ramdas 2024). What a row gains depends on the metric (`core.performance.paired.gains`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.performance.paired import WIDE, ModelOutput, gains, with_counts
from core.records import Task

STAKES = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8])
MAX_EVIDENCE = 1e12  # as x : 1; larger values are capped


@dataclass(frozen=True, slots=True, kw_only=True)
class Bets:
    """The state of the bets so far. A new pair of models starts with `Bets()`."""

    better: tuple[float, ...] = ()  # log wealth of each stake on the first model; () = no bets yet
    worse: tuple[float, ...] = ()  # and on the second
    gain: float = 0.0  # of the metric, added up over the rows; above 0 speaks for the first
    rows: int = 0  # rows that were bet on
    scale: float | None = None  # largest gain of a row that counts in full, where the metric has no bound of its own
    table: tuple[tuple[Any, Any, float], ...] = ()  # (true class, answered class, rows) of earlier rows

    @property
    def for_better(self) -> float:
        """Evidence that the first model is better, as x : 1."""
        return _mean_wealth(self.better)

    @property
    def for_worse(self) -> float:
        """Evidence that the second one is."""
        return _mean_wealth(self.worse)

    @property
    def mean_gain(self) -> float | None:
        """About the difference of the metric; None before the first row."""
        return self.gain / self.rows if self.rows else None


def _mean_wealth(logs: tuple[float, ...]) -> float:
    if not logs:
        return 1.0
    top = max(logs)
    return min(MAX_EVIDENCE, math.exp(min(top, 50.0)) * sum(math.exp(v - top) for v in logs) / len(logs))


def counted(wins: int, losses: int) -> Bets:
    """Bets from counts alone: rows that only the first model predicted correctly, and only the second."""
    better = wins * np.log1p(STAKES) + losses * np.log1p(-STAKES)
    worse = losses * np.log1p(STAKES) + wins * np.log1p(-STAKES)
    return Bets(better=tuple(better.tolist()), worse=tuple(worse.tolist()), gain=float(wins - losses), rows=wins + losses)  # fmt: skip


def prepared(task: Task, metric: str, true: Any, new: ModelOutput, old: ModelOutput) -> Bets:
    """Bets before their first row, with the scale of a row's gain taken from earlier rows."""
    if metric == "accuracy" or not len(true):
        return Bets()
    bets = Bets(table=_flat(with_counts(true, (new, old), {}))) if task != "regression" else Bets()
    values, bound = gains(task, metric, true, new, old, _table(bets))
    return bets if bound is not None else replace(bets, scale=_scale(values))


def bet(
    bets: Bets,
    task: Task,
    metric: str,
    true: Any,
    new: ModelOutput,
    old: ModelOutput,
    *,
    weights: np.ndarray | None = None,
) -> Bets:
    """The bets after some more rows.

    Args:
        true, new, old: shape (n,); the two models' predictions were made before these labels were known.
        weights: rows that each represents, where they were sampled with known probabilities: the stakes are in proportion.

    The gain of a row is scaled by earlier rows. Where there are none, and the metric needs them, the first rows only set
    the scale and are not bet on.
    """
    if not len(true):
        return bets
    classes = task != "regression" and metric != "accuracy"
    known = bool(bets.table) or not classes
    values, bound = gains(task, metric, true, new, old, _table(bets))
    after = replace(bets, table=_flat(with_counts(true, (new, old), _table(bets)))) if classes else bets
    scale = bound if bound is not None else bets.scale
    if bound is None and scale is None:
        return replace(after, scale=_scale(values))
    if not known and bound is not None:
        return after
    assert scale is not None
    share = np.clip(values / scale, -1.0, 1.0)
    if weights is not None and len(weights) == len(share):
        share = share * (weights / weights.max())
    share = share[share != 0.0]
    start = [np.asarray(logs) if logs else np.zeros(len(STAKES)) for logs in (bets.better, bets.worse)]
    better = start[0] + np.log1p(STAKES[:, None] * share).sum(axis=1)
    worse = start[1] + np.log1p(-STAKES[:, None] * share).sum(axis=1)
    rows = len(true)
    gain = float(values.sum()) if len(values) == rows else float(values.mean()) * rows
    return replace(
        after, better=tuple(better.tolist()), worse=tuple(worse.tolist()), gain=bets.gain + gain, rows=bets.rows + rows
    )


def _scale(values: np.ndarray) -> float | None:
    root = math.sqrt(float((values**2).mean()))
    return WIDE * root if root > 0 else None


def _table(bets: Bets) -> dict[tuple[Any, Any], float]:
    return {(true, answered): rows for true, answered, rows in bets.table}


def _flat(table: dict[tuple[Any, Any], float]) -> tuple[tuple[Any, Any, float], ...]:
    return tuple((true, answered, rows) for (true, answered), rows in table.items())
