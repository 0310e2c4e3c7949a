"""What the champion still knows of the past: a few rows of every regime that nothing ever learns from, and its score on them.

A regime is the time between two detected changes. The matrix of scores is that of continual learning (Lopez-Paz and Ranzato
2017): line i, column j is the score on regime j's rows when regime i ended. Backward transfer is the mean of "now" minus
"when it ended" over the past regimes, as Avalanche computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pandas import DataFrame

from core.learning.comparing import merits
from core.learning.field import Answers
from core.learning.state import Regime
from core.records import FrozenRegime, Memory, Task, row_metric

FROZEN_ROWS = 50  # of a regime
FROZEN_PER_BATCH = 25
MOST_REGIMES = 8  # the newest; older ones are let go


def frozen_keys(regimes: Sequence[Regime]) -> np.ndarray:
    """Keys of all rows that nothing may learn from."""
    return np.array([key for regime in regimes for key in regime.rows], dtype=np.int64)


def with_frozen(regimes: tuple[Regime, ...], keys: Sequence[int]) -> tuple[Regime, ...]:
    """The newest regime with some of these rows set aside, until it has enough."""
    if not regimes:
        return regimes
    last = regimes[-1]
    room = min(FROZEN_PER_BATCH, FROZEN_ROWS - len(last.rows))
    if room <= 0 or not len(keys):
        return regimes
    return (*regimes[:-1], replace(last, rows=(*last.rows, *keys[:room])))


def begun(regimes: tuple[Regime, ...], *, row: int, first: int) -> tuple[Regime, ...]:
    """The regimes with a new one at the end; one that no row has come in yet is taken back: its change was this one."""
    if regimes and regimes[-1].first >= first:
        regimes = regimes[:-1]
    number = regimes[-1].number + 1 if regimes else 1
    return (*regimes, Regime(number=number, row=row, first=first))[-MOST_REGIMES:]


def score_regimes(
    regimes: Sequence[Regime], model: Any, X: DataFrame, y: np.ndarray, *, task: Task, scale: float
) -> tuple[tuple[int, float], ...]:
    """(regime, score) of a model on every frozen set whose rows are there: accuracy, or the absolute error in spreads.

    Args:
        X, y: labelled rows, among them the frozen ones; the index of X holds their keys.
    """
    keys = X.index.to_numpy()
    scores = []
    for regime in regimes:
        at = np.flatnonzero(np.isin(keys, np.asarray(regime.rows, dtype=np.int64)))
        if len(at):
            merit = float(merits(Answers(X.iloc[at], task), y[at], model).mean())
            scores.append((regime.number, -merit / scale if task == "regression" else merit))
    return tuple(scores)


def memory_of(regimes: Sequence[Regime], now: tuple[tuple[int, float], ...], *, task: Task) -> Memory | None:
    """The matrix with `now` as its last line; None before there are frozen rows.

    Errors (regression) count the other way round, so that backward transfer below 0 means forgotten in every task.
    """
    told = [regime for regime in regimes if regime.rows]
    if not told or not now:
        return None
    numbers = [regime.number for regime in told]
    ended = [dict(regime.scores) for regime in told if regime.scores]
    last = dict(now)
    sign = -1.0 if task == "regression" else 1.0
    then = {regime.number: dict(regime.scores).get(regime.number) for regime in told if regime.scores}
    transfer = [sign * (last[n] - before) for n, before in then.items() if before is not None and n in last]
    return Memory(
        metric=row_metric(task),
        regimes=tuple(FrozenRegime(number=r.number, row=r.row, n=len(r.rows)) for r in told),
        matrix=tuple(tuple(line.get(n) for n in numbers) for line in [*ended, last]),
        bwt=float(np.mean(transfer)) if transfer else None,
    )
