"""Two models on the same rows, by correct predictions: McNemar's test and the difference with its interval. Numpy only."""

from __future__ import annotations

import math

import numpy as np

from core.performance import intervals as forms
from core.records import Score
from core.records.reasons import because


def mcnemar_exact(wins: int, losses: int) -> float:
    """Two-sided exact p of McNemar's test: probability of a split at least this uneven if both models were equal."""
    n, k = int(wins + losses), int(min(wins, losses))
    if n == 0 or 2 * k == n:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2.0) for i in range(k + 1)]
    return min(1.0, 2.0 * math.fsum(map(math.exp, logs)))


def paired_difference(correct_a: np.ndarray, correct_b: np.ndarray, *, metric: str = "accuracy") -> Score:
    """Mean of a minus b over the same rows with a 95 % interval; above 0 means that a is better.

    Args:
        correct_a, correct_b: shape (n,): 1 or True where the model is right, or any score per row (minus its error).

    The interval is Wald's on the paired differences. For right/wrong it adds half a row to each discordant cell
    (Agresti and Min 2005), so it has a width even when the models agree on every row.
    """
    a, b = np.asarray(correct_a, dtype=np.float64), np.asarray(correct_b, dtype=np.float64)
    n = len(a)
    if n == 0:
        return Score(metric=metric, value=None, n=0, reason=because("no_row_to_compare"))
    difference = a - b
    value = float(difference.mean())
    if bool(np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        wins, losses, m = float((difference > 0).sum()) + 0.5, float((difference < 0).sum()) + 0.5, n + 2
        middle = (wins - losses) / m
        half = forms.Z95 * math.sqrt(max(wins + losses - (wins - losses) ** 2 / m, 0.0)) / m
        return Score(
            metric=metric, value=value, low=max(-1.0, middle - half), high=min(1.0, middle + half), n=n,
            method="Agresti-Min 95 %",
        )  # fmt: skip
    if n < 2:
        return Score(metric=metric, value=value, n=n, reason=because("no_interval"))
    half = forms.Z95 * float(difference.std(ddof=1)) / math.sqrt(n)
    return Score(metric=metric, value=value, low=value - half, high=value + half, n=n, method="paired normal 95 %")
