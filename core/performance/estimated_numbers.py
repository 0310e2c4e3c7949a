"""The size of a regressor's error on new rows: the model behind its estimated scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.performance.intervals import Z95
from core.performance.likeness import Features, binned, boosting, density_ratio
from core.records import Reason

if TYPE_CHECKING:
    import pandas as pd

_FOLDS = 4


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A chunk of rows in regression."""

    lines: np.ndarray
    trees: np.ndarray
    weights: np.ndarray
    rows: float


class Errors:
    """The size of the model's error on new rows: models of the absolute and of the squared error."""

    def __init__(self, reference: pd.DataFrame, seed: int) -> None:
        self._seed = seed
        self._features = Features(reference, {"y_true", "y_pred"})
        pred = reference["y_pred"].to_numpy(dtype=np.float64)
        self._middle, self._spread = float(pred.mean()), float(pred.std()) or 1.0
        self._lines, self._trees = self._inputs(reference)
        error = np.abs(reference["y_true"].to_numpy(dtype=np.float64) - pred)
        self._error = {"mae": error, "rmse": error**2}
        n = len(error)
        fold = np.random.default_rng(seed).permutation(np.arange(n) % _FOLDS)
        self._unseen = {metric: np.empty((3, n)) for metric in self._error}
        self._models = {metric: self._fit(np.ones(n, dtype=bool), e) for metric, e in self._error.items()}
        for metric, e in self._error.items():
            for k in range(_FOLDS):
                test = fold == k
                self._unseen[metric][:, test] = _errors_of(self._fit(~test, e), self._lines[test], self._trees[test])

    def _inputs(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        pred = frame["y_pred"].to_numpy(dtype=np.float64)
        lines, trees = self._features.matrices(frame)
        z = np.column_stack([np.clip((pred - self._middle) / self._spread, -6.0, 6.0), lines])
        return np.hstack([z, np.abs(z), z**2]), np.column_stack([pred, trees])

    def _fit(self, rows: np.ndarray, error: np.ndarray) -> tuple[Any, Any, Any]:
        """A linear model, trees, and trees on the linear model's residuals, which extrapolate beyond the reference."""
        from sklearn.linear_model import Ridge

        line = Ridge(10.0).fit(self._lines[rows], error[rows])
        left = error[rows] - line.predict(self._lines[rows])
        return (
            line,
            boosting(self._seed, 60, 12, regress=True, least=30, l2=5.0).fit(binned(self._trees[rows]), error[rows]),
            boosting(self._seed, 60, 8, regress=True, least=30, l2=5.0).fit(binned(self._trees[rows]), left),
        )

    def prepare(self, chunk: pd.DataFrame) -> _Numbers:
        lines, trees = self._inputs(chunk)
        # The absolute values and squares are for the error models; the density ratio adds squares of its own.
        width = lines.shape[1] // 3
        weights, rows = density_ratio(
            (self._lines[:, :width], self._trees), (lines[:, :width], trees), self._seed
        ).weights()
        return _Numbers(lines, trees, weights, rows)

    def measure(self, prepared: _Numbers, metric: str) -> tuple[float, float, float] | Reason:
        """The mean of the third model's two estimates: its mean on the chunk, plain and doubly robust (plus the weighted
        residuals of the reference). Disagreement with the other models and the weighted errors widens the band."""
        error, unseen, weights = self._error[metric], self._unseen[metric], prepared.weights
        predicted = np.clip(_errors_of(self._models[metric], prepared.lines, prepared.trees), 0.0, error.max())
        plain = predicted.mean(axis=1)
        robust = plain + (weights * (error - unseen)).mean(axis=1)
        average = float((weights * error).mean())
        value = max(float(plain[2] + robust[2]) / 2, 0.0)
        left = float((weights * (error - unseen[2]) ** 2).mean())
        spread = float((weights * (error - average) ** 2).mean())
        chance = (left + float(predicted[2].var())) / predicted.shape[1] + max(left, spread) / prepared.rows
        half = math.sqrt(chance + (0.6 * float(np.ptp([*plain, *robust, average]))) ** 2)
        if metric == "mae":
            return value, half, half
        root = math.sqrt(value)
        below, above = (abs(math.sqrt(max(value + s * Z95 * half, 0.0)) - root) / Z95 for s in (-1, 1))
        return root, below, above


def _errors_of(models: tuple[Any, Any, Any], lines: np.ndarray, trees: np.ndarray) -> np.ndarray:
    """The error of each row by a linear model, by trees, and by the linear model plus trees on its residuals; shape (3, n)."""
    line, tree, rest = models
    by_line = line.predict(lines)
    return np.stack([by_line, tree.predict(trees), by_line + rest.predict(trees)])
