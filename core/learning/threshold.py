"""From which probability the second of two classes is answered, for metrics on which the likelier class is not the best answer.

Accuracy is best served by the likelier class, and rankings ask for no answer at all: both keep it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.performance.formulas import COMPUTE
from core.records import METRICS

TUNED = tuple(name for name, m in METRICS.items() if m.needs == "classes" and not m.mean_of_rows)
LEAST_ROWS = 200  # with fewer predicted rows the likelier class is answered
LEAST_OF_A_CLASS = 20
PLACES = np.linspace(0.05, 0.95, 91)
NEAR = 0.005  # thresholds whose score is this near to the best are averaged: the best alone is mostly luck


def best_threshold(chances: Sequence[tuple[float, float]], metric: str) -> float | None:
    """Probability of the second class from which it is answered; None = the likelier class.

    Args:
        chances: (probability of the second class, 1 if it was so else 0) of rows that were predicted before their label
            was known.
        metric: one of TUNED.
    """
    if len(chances) < LEAST_ROWS:
        return None
    p, truth = np.array(chances, dtype=np.float64).T
    true = truth == 1.0
    if min(true.sum(), (~true).sum()) < LEAST_OF_A_CLASS:
        return None
    said = p[None, :] >= PLACES[:, None]
    counts = np.empty((len(PLACES), 2, 2))
    counts[:, 1, 1], counts[:, 0, 1] = (said & true).sum(axis=1), (said & ~true).sum(axis=1)
    counts[:, 1, 0], counts[:, 0, 0] = (~said & true).sum(axis=1), (~said & ~true).sum(axis=1)
    scores = np.nan_to_num(COMPUTE[metric](counts), nan=-1.0)
    near = PLACES[scores >= scores.max() - NEAR]
    return float(np.round(near.mean(), 3))
