"""Forgetting: the champion's score on a few frozen rows of every past regime, which no model ever trains on.

A regime is the time between two detected changes. The matrix of scores is that of continual learning (Lopez-Paz and Ranzato
2017): row i, column j is the score on regime j's rows when regime i ended. Backward transfer is the mean of "now" minus
"when it ended" over the past regimes, as Avalanche computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pandas import DataFrame

from core.learning.candidates import Answers
from core.learning.comparing import row_scores
from core.learning.state import Regime
from core.records import FrozenRegime, Memory, Task, row_metric

FROZEN_ROWS = 50  # of a regime
FROZEN_PER_BATCH = 25
MAX_REGIMES = 8  # the newest; older ones are dropped


def frozen_keys(regimes: Sequence[Regime]) -> np.ndarray:
    """Keys of all rows that no model may train on."""
    return np.array([key for regime in regimes for key in regime.rows], dtype=np.int64)


def with_frozen(regimes: tuple[Regime, ...], keys: Sequence[int]) -> tuple[Regime, ...]:
    """The regimes, with some of these rows frozen for the newest one until it has enough."""
    if not regimes:
        return regimes
    last = regimes[-1]
    room = min(FROZEN_PER_BATCH, FROZEN_ROWS - len(last.rows))
    if room <= 0 or not len(keys):
        return regimes
    return (*regimes[:-1], replace(last, rows=(*last.rows, *keys[:room])))


def with_new_regime(regimes: tuple[Regime, ...], *, row: int, first: int) -> tuple[Regime, ...]:
    """The regimes with a new one at the end; an empty last regime is replaced, because its change was the same one."""
    if regimes and regimes[-1].first >= first:
        regimes = regimes[:-1]
    number = regimes[-1].number + 1 if regimes else 1
    return (*regimes, Regime(number=number, row=row, first=first))[-MAX_REGIMES:]


def score_regimes(
    regimes: Sequence[Regime], model: Any, X: DataFrame, y: np.ndarray, *, task: Task, scale: float
) -> tuple[tuple[int, float], ...]:
    """(regime, score) of a model on every frozen set whose rows are given: accuracy, or the absolute error in spreads.

    Args:
        X, y: labelled rows, among them the frozen ones; the index of X holds their keys.
    """
    keys = X.index.to_numpy()
    scores = []
    for regime in regimes:
        at = np.flatnonzero(np.isin(keys, np.asarray(regime.rows, dtype=np.int64)))
        if len(at):
            score = float(row_scores(Answers(X.iloc[at], task), y[at], model).mean())
            scores.append((regime.number, -score / scale if task == "regression" else score))
    return tuple(scores)


def memory_of(regimes: Sequence[Regime], now: tuple[tuple[int, float], ...], *, task: Task) -> Memory | None:
    """The matrix with `now` as its last row; None before there are frozen rows.

    Errors (regression) are negated, so that negative backward transfer means forgetting in every task.
    """
    with_rows = [regime for regime in regimes if regime.rows]
    if not with_rows or not now:
        return None
    numbers = [regime.number for regime in with_rows]
    ended = [dict(regime.scores) for regime in with_rows if regime.scores]
    last = dict(now)
    sign = -1.0 if task == "regression" else 1.0
    then = {regime.number: dict(regime.scores).get(regime.number) for regime in with_rows if regime.scores}
    transfer = [sign * (last[n] - before) for n, before in then.items() if before is not None and n in last]
    return Memory(
        metric=row_metric(task),
        regimes=tuple(FrozenRegime(number=r.number, row=r.row, n=len(r.rows)) for r in with_rows),
        matrix=tuple(tuple(line.get(n) for n in numbers) for line in [*ended, last]),
        bwt=float(np.mean(transfer)) if transfer else None,
    )
