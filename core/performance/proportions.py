"""95 % intervals of a proportion, and of an AUC as a proportion of pairs. Numpy only."""

from __future__ import annotations

import math

from core.performance import intervals as forms


def wilson(successes: float, n: float, *, z: float = forms.Z95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927), by default at 95 %; (0, 1) when n is 0."""
    if n <= 0:
        return 0.0, 1.0
    p, z2 = successes / n, z * z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (0.0 if successes <= 0 else middle - half), (1.0 if successes >= n else middle + half)


def auc_interval(area: float, spread: float, pairs: float) -> tuple[float, float, str]:
    """95 % interval of an AUC and the name of its method.

    Args:
        spread: DeLong's standard error.
        pairs: rows of the smaller side (of the smallest class).

    Wilson's interval for the number of independent pairs that vary like the AUC: near 1 it is asymmetric, as the AUC is.
    Half a wrongly ranked pair is added to the error, because few rows underestimate it. When all are ranked alike the
    standard error is 0 and uninformative. An AUC varies no more than a share of `pairs` independent pairs (Birnbaum and
    Klose 1957), whose interval is then used.
    """
    if spread > 1e-12:
        smoothed = (area * pairs + 0.5) / (pairs + 1)
        variation = smoothed * (1 - smoothed)
        alike = variation / (spread**2 + variation / (pairs * (pairs + 1)))
        low, high = wilson(area * alike, alike)
        return max(0.0, min(low, area)), min(1.0, max(high, area)), "DeLong-Wilson 95 %"
    return *wilson(area * pairs, pairs), "Wilson 95 % on pairs"
