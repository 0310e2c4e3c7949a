"""The probability from which the second of two classes is predicted, for metrics not maximised by the more likely class.

Accuracy is maximised by the more likely class, and ranking metrics need no decision: both keep the default.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.performance.formulas import COMPUTE
from core.records import METRICS

TUNED = tuple(name for name, m in METRICS.items() if m.needs == "classes" and not m.mean_of_rows)
MIN_ROWS = 200  # with fewer predicted rows the more likely class is predicted
MIN_PER_CLASS = 20
GRID = np.linspace(0.05, 0.95, 91)
NEAR = 0.005  # thresholds whose score is this close to the best are averaged: the single best is mostly noise


def best_threshold(chances: Sequence[tuple[float, float]], metric: str) -> float | None:
    """Probability of the second class from which it is predicted; None = the more likely class.

    Args:
        chances: (probability of the second class, 1 if it was the label else 0) of rows predicted before their label was
            known.
        metric: one of TUNED.
    """
    if len(chances) < MIN_ROWS:
        return None
    p, truth = np.array(chances, dtype=np.float64).T
    true = truth == 1.0
    if min(true.sum(), (~true).sum()) < MIN_PER_CLASS:
        return None
    predicted = p[None, :] >= GRID[:, None]
    counts = np.empty((len(GRID), 2, 2))
    counts[:, 1, 1], counts[:, 0, 1] = (predicted & true).sum(axis=1), (predicted & ~true).sum(axis=1)
    counts[:, 1, 0], counts[:, 0, 0] = (~predicted & true).sum(axis=1), (~predicted & ~true).sum(axis=1)
    scores = np.nan_to_num(COMPUTE[metric](counts), nan=-1.0)
    near = GRID[scores >= scores.max() - NEAR]
    return float(np.round(near.mean(), 3))
