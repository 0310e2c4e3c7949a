"""Similarity of labelled reference rows to new ones: feature matrices, and a density ratio by a domain classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

LEAST_GAIN = 2.0  # minimum log-likelihood gain of the domain classifier before rows are weighted
_LEAST_ROWS, _LEAST_SHARE = 150.0, 0.08  # minimum of effective reference rows under the weights
_ENDS = (-6.0, 4.0)  # log density ratios are clipped to these
_LARGEST = 1e100
_CATEGORIES = 30  # most frequent categories of a feature that get their own code
_FLAGS = 8  # categories of a feature that get a column in linear models


class Features:
    """The feature columns as matrices, fitted on the reference: for trees (NaN = missing), and standardised for linear models."""

    def __init__(self, reference: pd.DataFrame, not_features: set[str]) -> None:
        from pandas.api import types

        self._numbers: list[tuple[str, float, float]] = []
        self._codes: list[tuple[str, dict[str, int]]] = []
        for name in reference.columns:
            if name in not_features:
                continue
            column = reference[name]
            if types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype):
                values = _finite(column)
                known = values[~np.isnan(values)]
                spread = float(known.std()) if len(known) else 0.0
                if spread > 0 and math.isfinite(spread):
                    self._numbers.append((name, float(np.median(known)), spread))
            else:
                counts = _texts(column).value_counts()
                if len(counts):
                    self._codes.append((name, {str(c): k for k, c in enumerate(counts.index[:_CATEGORIES])}))

    def matrices(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """For linear models, shape (n, a), and for trees, shape (n, b). A feature that the frame lacks is missing."""
        lines: list[np.ndarray] = []
        trees: list[np.ndarray] = []
        n = len(frame)
        for name, middle, spread in self._numbers:
            values = _finite(frame[name]) if name in frame.columns else np.full(n, np.nan)
            trees.append(values)
            lines.append(np.clip((np.where(np.isnan(values), middle, values) - middle) / spread, -6.0, 6.0))
        for name, codes in self._codes:
            if name in frame.columns:
                texts = _texts(frame[name])
                code = np.where(texts.notna(), texts.map(codes).fillna(len(codes)).to_numpy(dtype=np.float64), np.nan)
            else:
                code = np.full(n, np.nan)
            trees.append(code)
            lines += [(code == k).astype(np.float64) for k in range(min(_FLAGS, len(codes)))]
        return tuple(np.column_stack(c) if c else np.empty((n, 0)) for c in (lines, trees))  # type: ignore[return-value]


def _finite(column: pd.Series) -> np.ndarray:
    """Numbers; NaN where missing, infinite, not numeric, or so large that their squares would be infinite."""
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.abs(values) < _LARGEST, values, np.nan)


def _texts(column: pd.Series) -> pd.Series:
    """Cells as text, missing ones kept."""
    return column.astype(object).where(column.notna(), None).map(lambda v: None if v is None else str(v))


def binned(trees: np.ndarray) -> np.ndarray:
    """Rows to fit on: a column without any value cannot be binned, so it becomes a constant, which is equivalent."""
    return np.where(np.isnan(trees).all(axis=0), 0.0, trees)


def boosting(seed: int, rounds: int, leaves: int, *, regress: bool = False, least: int = 40, l2: float = 1.0) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if regress else HistGradientBoostingClassifier
    return kind(
        max_iter=rounds, learning_rate=0.1, max_leaf_nodes=leaves, min_samples_leaf=least, l2_regularization=l2,
        max_bins=64, early_stopping=False, random_state=seed,
    )  # fmt: skip


def logistic(X: np.ndarray, y: np.ndarray, strength: float) -> Any:
    """A logistic regression with few iterations: close to its optimum is good enough."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=150).fit(X, y)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much more likely each row is among the new ones than in the reference, as logarithms; cross-fitted."""

    reference: np.ndarray
    chunk: np.ndarray

    def likelihood(self) -> float:
        """Log-likelihood of the classification into reference and new rows."""
        odds = math.log(len(self.chunk) / len(self.reference))
        return float(-np.logaddexp(0, self.reference + odds).sum() - np.logaddexp(0, -(self.chunk + odds)).sum())

    def gain(self) -> float:
        """The log-likelihood gain over a constant classifier."""
        return self.likelihood() - Ratio(np.zeros(len(self.reference)), np.zeros(len(self.chunk))).likelihood()

    def weights(self) -> tuple[np.ndarray, float]:
        """A weight per reference row, mean 1, and the effective number of rows (Kish 1965).

        Tempered until enough effective rows remain; all 1 when the rows cannot be separated.
        """
        n = len(self.reference)
        if self.gain() <= LEAST_GAIN:
            return np.ones(n), float(n)
        temper = 1.0
        while True:
            weights = np.exp(temper * np.clip(self.reference, *_ENDS))
            weights /= weights.mean()
            rows = float(weights.sum() ** 2 / (weights**2).sum())
            if rows >= max(_LEAST_ROWS, _LEAST_SHARE * n) or temper < 0.05:
                return weights, rows
            temper *= 0.85


def density_ratio(reference: tuple[np.ndarray, np.ndarray], chunk: tuple[np.ndarray, np.ndarray], seed: int) -> Ratio:
    """The density ratio by a domain classifier: the mean log-odds of a linear model with squares and of boosted trees, in two folds.

    Args:
        reference, chunk: matrices for linear models and for trees.
    """
    n, m = len(reference[0]), len(chunk[0])
    if m < 2:
        return Ratio(np.zeros(n), np.zeros(m))
    lines, trees = (np.vstack([a, b]) for a, b in zip(reference, chunk, strict=True))
    lines = np.hstack([lines, lines**2])
    new = np.r_[np.zeros(n), np.ones(m)].astype(np.int64)
    rng = np.random.default_rng(seed)
    fold = np.r_[rng.permutation(np.arange(n) % 2), rng.permutation(np.arange(m) % 2)]
    odds = np.zeros(n + m)
    for k in (0, 1):
        train, test = fold != k, fold == k
        line = logistic(lines[train], new[train], 0.3).predict_proba(lines[test])[:, 1]
        tree = (
            boosting(seed, 25, 6, least=50, l2=5.0)
            .fit(binned(trees[train]), new[train])
            .predict_proba(trees[test])[:, 1]
        )
        for p in (line, tree):
            p = np.clip(p, 1e-9, 1 - 1e-9)
            odds[test] += np.log(p / (1 - p)) / 2
    odds += math.log(n / m)
    return Ratio(odds[:n], odds[n:])
