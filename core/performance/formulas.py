"""The computation of each metric of the catalogue (COMPUTE), and the contribution of each row. Numpy only.

Those of classes and values work over a leading axis of resamples. Confusion counts have shape (B, K, K): true class,
predicted class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

ROUNDING = 8 * float(np.finfo(np.float64).eps)  # relative to the largest value: a target that varies less is constant
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)  # where sklearn clips log-loss too


# Confusion counts have shape (B, K, K): true class, predicted class.
def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0 (no warning)."""
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b != 0)


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return _divide(np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2)))


def _balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    recalls = _divide(np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2))
    present = np.isfinite(recalls)
    return _divide(np.where(present, recalls, 0.0).sum(axis=1), present.sum(axis=1))


def _kappa(counts: np.ndarray) -> np.ndarray:
    """Cohen 1960: agreement beyond chance; NaN when chance alone already agrees on every row."""
    n = counts.sum(axis=(1, 2))
    expected = (counts.sum(axis=1) * counts.sum(axis=2)).sum(axis=1)
    return _divide(n * np.trace(counts, axis1=1, axis2=2) - expected, n * n - expected)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur as truth or as prediction."""
    both = counts.sum(axis=1) + counts.sum(axis=2)
    f1 = _divide(2.0 * np.diagonal(counts, axis1=1, axis2=2), both)
    present = both > 0
    return _divide(np.where(present, f1, 0.0).sum(axis=1), present.sum(axis=1))


def _mcc(counts: np.ndarray) -> np.ndarray:
    """Matthews correlation for any number of classes (Gorodkin 2004); 0 when one side is constant, as in sklearn."""
    n = counts.sum(axis=(1, 2))
    true, predicted = counts.sum(axis=2), counts.sum(axis=1)
    covariance = np.trace(counts, axis1=1, axis2=2) * n - (true * predicted).sum(axis=1)
    spread = (n * n - (true * true).sum(axis=1)) * (n * n - (predicted * predicted).sum(axis=1))
    return np.where(spread > 0, _divide(covariance, np.sqrt(np.maximum(spread, 0.0))), 0.0)


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1)


def _root_mean(values: np.ndarray) -> np.ndarray:
    return np.sqrt(values.mean(axis=1))


def _r2(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    residual = ((y_true - y_pred) ** 2).sum(axis=1)
    total = ((y_true - y_true.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    # The mean of equal values is off by rounding: a variation no larger than that counts as none.
    rounding = ROUNDING * np.maximum(y_true.max(axis=1), -y_true.min(axis=1))
    with np.errstate(over="ignore"):
        return 1.0 - _divide(residual, np.where(total <= y_true.shape[1] * rounding**2, 0.0, total))


def macro_auc(members: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Mean area under the ROC curves of some classes, each against all other rows, and its standard error.

    Args:
        members: shape (K, n), True where the row is of the class; each class has some rows, but not all.
        scores: shape (K, n), by which the rows are ranked for that class; ties count half.

    The error is that of DeLong, DeLong and Clarke-Pearson 1988, with the covariance of the classes from their shared
    rows: a row's structural components are added up over the classes before they are squared. K = 1 is the usual AUC.
    The variance of a side with a single row is unknown; the largest possible one, 1/4, is used.
    """
    parts = auc_parts(members, scores)
    return parts.area, parts.spread()


@dataclass(frozen=True, slots=True)
class AucParts:
    """`macro_auc`'s mean, and the components of its error."""

    area: float
    deviation: np.ndarray  # shape (n,): each row's contribution to the error
    alone: float  # variance added by classes with one row
    worst: float  # the contribution of one more row, ranked as badly as the worst one seen
    classes: int

    def spread(self) -> float:
        """Standard error of the mean area."""
        return math.sqrt(float((self.deviation**2).sum()) + self.alone) / self.classes

    def losses(self) -> tuple[np.ndarray, float]:
        """Each row's loss, whose mean is 1 - AUC, and that of one more row, as bad as the worst."""
        n, lost = len(self.deviation), 1.0 - self.area
        return lost - n * self.deviation / self.classes, lost + n * self.worst / self.classes


def auc_parts(members: np.ndarray, scores: np.ndarray) -> AucParts:
    """The components of `macro_auc` and its interval."""
    areas = np.empty(len(members))
    deviation = np.zeros(members.shape[1])
    alone = worst = 0.0
    for k, (inside, score) in enumerate(zip(members, scores, strict=True)):
        parts = structural_components(inside, score)
        areas[k] = parts[inside].mean()
        worst = max(worst, float(areas[k] - parts.min()) / min(int(inside.sum()), int((~inside).sum())))
        for side in (inside, ~inside):
            n = int(side.sum())
            if n > 1:
                deviation[side] += (parts[side] - areas[k]) / math.sqrt(n * (n - 1))
            else:
                alone += 0.25
    return AucParts(float(areas.mean()), deviation, alone, worst, len(members))


def structural_components(inside: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Share of the other side's rows against which each row is ranked correctly, ties half; shape (n,). One sort."""
    order = np.argsort(score, kind="stable")
    ranked, hit = score[order], inside[order]
    tie = np.cumsum(np.r_[0, ranked[1:] != ranked[:-1]])
    of_class = np.bincount(tie, hit)
    others = np.bincount(tie) - of_class
    beaten = (np.cumsum(others) - others / 2) / others.sum()
    beaten_by = 1.0 - (np.cumsum(of_class) - of_class / 2) / of_class.sum()
    parts = np.empty(len(score))
    parts[order] = np.where(hit, beaten[tie], beaten_by[tie])
    return parts


def class_counts(true: np.ndarray, answered: np.ndarray, k: int) -> np.ndarray:
    """Rows of each true and predicted class, both as codes below k: shape (k, k)."""
    return np.bincount(true * k + answered, minlength=k * k).reshape(k, k).astype(np.float64)


def log_losses(codes: np.ndarray, proba: np.ndarray, *, least: float = SMALLEST_PROBABILITY) -> np.ndarray:
    """Minus log of the probability that each row's true class had, shape (n,).

    Args:
        codes: column of the true class in `proba`; one beyond the last column (a class unknown to the model) counts as `least`.
        least: smaller probabilities are raised to it.
    """
    known = codes < proba.shape[1]
    p = (
        np.where(known, proba[np.arange(len(codes)), np.where(known, codes, 0)], 0.0)
        if proba.shape[1]
        else np.zeros(len(codes))
    )
    return -np.log(np.clip(p, least, 1.0))


def brier_losses(codes: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Squared distance of each row's probabilities from its true class (Brier 1950), shape (n,).

    With two classes half of that, so that the range is [0, 1], as in sklearn.
    """
    truth = (codes[:, None] == np.arange(proba.shape[1])).astype(np.float64)
    unknown = (codes >= proba.shape[1]).astype(np.float64)
    total = ((proba - truth) ** 2).sum(axis=1) + unknown
    return total / 2.0 if proba.shape[1] == 2 else total


# Metrics of ranks use `macro_auc`. The others are batched over resamples: one value each, NaN = undefined.
COMPUTE: dict[str, Callable[..., Any]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "kappa": _kappa,
    "macro_f1": _macro_f1,
    "mcc": _mcc,
    "log_loss": _mean,
    "brier": _mean,
    "roc_auc": macro_auc,
    "mae": _mean,
    "rmse": _root_mean,
    "r2": _r2,
}
