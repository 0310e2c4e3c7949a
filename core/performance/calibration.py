"""Whether the predicted probabilities are as often right as they say.

The input is rows with labels and the predictions made before these were known; the output is a record with its
finding. Numpy only at import: pages use this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core import words
from core.errors import BadInput
from core.performance.intervals import Z95
from core.performance.proportions import wilson

RESAMPLES = 1_000  # bootstrap of the error: draws of one number per bin
_MOST_SCALE = 5.0  # largest multiple of the observed gaps that is tried for the interval of the error


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPoint:
    """Rows with about the same predicted probability."""

    predicted: float  # mean probability of the predicted class
    observed: float  # share of them that were right
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration of the probabilities."""

    points: tuple[CalibrationPoint, ...]
    error: float  # expected calibration error: mean |observed - predicted|, weighted by rows
    low: float  # 95 % interval of the error, parametric bootstrap
    high: float
    bias: float  # mean predicted minus observed: above 0 = overconfident
    n: int
    finding: str


def calibration(y_true: Any, y_proba: Any, classes: Sequence[Any], bins: int = 8, *, seed: int = 0) -> Calibration:
    """Predicted probability of the predicted class against how often it was right, in bins with about equal numbers of rows.

    The error is the expected calibration error (Naeini, Cooper and Hauskrecht 2015) over these bins. Chance alone makes
    it positive, so its interval contains the errors under which the observed one is plausible (`_error_interval`).

    Args:
        y_true: shape (n,).
        y_proba: shape (n, len(classes)), rows sum to 1.
        bins: at most; rows with the same probability stay together.
        seed: of the bootstrap.

    Raises:
        BadInput: no row, shapes that do not fit, or a probability that is not a finite number.
    """
    proba = np.asarray(y_proba, dtype=np.float64)
    true = np.array([str(v) for v in y_true], dtype=object)
    if proba.shape != (len(true), len(classes)) or not len(true):
        raise BadInput(
            f"Probabilities of shape {proba.shape} for {len(true):,} labels and {len(classes)} classes; "
            "expected one row a label and one column a class."
        )
    if not np.isfinite(proba).all():
        raise BadInput("A probability is not a finite number; leave out the rows that carry none.")
    best = proba.argmax(axis=1)
    confidence = proba[np.arange(len(true)), best]
    right = np.array([str(c) for c in classes], dtype=object)[best] == true
    order = np.argsort(confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    places = np.arange(max(1, min(bins, len(order)))) * len(order) // max(1, min(bins, len(order)))
    starts = np.unique(np.searchsorted(confidence, confidence[places], "left"))
    points: list[CalibrationPoint] = []
    for predicted, hit in zip(np.split(confidence, starts[1:]), np.split(right, starts[1:]), strict=True):
        hits, n = int(hit.sum()), len(predicted)
        low, high = wilson(hits, n)
        points.append(CalibrationPoint(predicted=float(predicted.mean()), observed=hits / n, low=low, high=high, n=n))
    error = sum(p.n * abs(p.observed - p.predicted) for p in points) / len(true)
    bias = float(confidence.mean() - right.mean())
    low, high = _error_interval(confidence, right, starts, float(error), seed)
    return Calibration(
        points=tuple(points),
        error=float(error),
        low=low,
        high=high,
        bias=bias,
        n=len(true),
        finding=_finding(confidence, right, error, bias),
    )


def _error_interval(
    confidence: np.ndarray, right: np.ndarray, starts: np.ndarray, error: float, seed: int
) -> tuple[float, float]:
    """95 % interval of the calibration error by a parametric bootstrap, by test inversion.

    The gaps of the bins are multiplied by `scale` and redrawn around that. The interval contains the scales at which the
    observed error lies between the 2.5 and 97.5 % quantiles of the drawn errors, and the observed error itself. An
    ordinary bootstrap never comes near 0: it adds noise to an error that noise has already inflated.

    Args:
        confidence, right: shape (n,), ordered by bin.
        starts: where each bin begins.
    """
    n = np.diff(np.r_[starts, len(right)])
    gap = np.add.reduceat(right - confidence, starts) / n
    varied = np.add.reduceat((right - confidence) ** 2, starts) / n - gap**2
    # In a bin where all rows are right they do not vary; the variance implied by the probabilities is used instead.
    promised = np.add.reduceat(confidence * (1 - confidence), starts) / n
    spread = np.sqrt(np.maximum(varied, promised) / n)
    weight = n / len(right)
    noise = spread * np.random.default_rng(seed).standard_normal((RESAMPLES, len(n)))

    def scale_at(share: float) -> float:
        """The scale at which this quantile of the drawn errors equals the observed error."""
        low, high = 0.0, _MOST_SCALE
        for _ in range(20):
            middle = (low + high) / 2
            reached = np.quantile(np.abs(middle * gap + noise) @ weight, share) >= error
            low, high = (low, middle) if reached else (middle, high)
        return low

    return min(scale_at(0.975) * error, error), max(min(1.0, scale_at(0.025) * error), error)


def _finding(confidence: np.ndarray, right: np.ndarray, error: float, bias: float) -> str:
    """Mentions more than the error only if the bias is significant."""
    chance = Z95 * math.sqrt(max(float((confidence * (1 - confidence)).mean()), 1e-12) / len(right))
    if abs(bias) <= chance or abs(bias) < 0.01:
        return (
            f"Probabilities hold: error {error:.2f}" if error < 0.05 else f"Probabilities are uneven: error {error:.2f}"
        )
    word = "too sure" if bias > 0 else "too timid"
    return (
        f"Probabilities are {word}: they say {words.share_in_finding(float(confidence.mean()))}, "
        f"{words.share_in_finding(float(right.mean()))} are right"
    )
