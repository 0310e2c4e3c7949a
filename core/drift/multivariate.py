"""Multivariate drift: whether a classifier can separate the windows, and whether the old structure still fits the rows.

Both detect what no single column shows, e.g. two features that are no longer correlated. Needs sklearn, imported on use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.drift.encode import encoded, one_thread, sampled
from core.errors import BadInput, NotEnoughRows
from core.records import DomainClassification, FeatureSchema, Reason, Reconstruction, because

if TYPE_CHECKING:
    import pandas as pd

Z95 = 1.959963984540054
MIN_ROWS = 100  # of each window
FOLDS = 2
GATE = 0.55  # the AUC must exceed it, and be significantly above 0.5
NAMED = 10  # features in the result
PAIRS = 10  # pairs of features whose product is an input of the classifier
SURE = 4.5  # standard errors by which their correlations must differ
MOST_SPREADS = 10.0  # standard deviations from the median; values farther away are clipped
LEAST_SPREAD = 1e-100  # so that dividing by it stays finite
VARIANCE = 0.65  # minimum share that the principal components keep
CHUNKS = 20  # parts of the reference half, for the variation of the reconstruction error
LEAST_CHUNKS = 5
SIGMAS = 3.0


@one_thread()
def domain_classifier(
    reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema, *, seed: int = 0, gate: float = GATE
) -> DomainClassification:
    """How well the windows can be separated, and by which features.

    The AUC is cross-fitted: each row is scored by a model that has not seen it. 0.5 = not at all, 1 = perfectly; low and
    high are a 95 % interval from DeLong's standard errors of the folds. Drifted when low is above 0.5 and the AUC above the gate. `features` maps the
    features that matter to the AUC that is lost when they are shuffled, largest first.

    Raises:
        NotEnoughRows: a window has fewer than MIN_ROWS rows.
    """
    n_rows = min(len(reference), len(current))
    if n_rows < MIN_ROWS:
        raise NotEnoughRows("A domain classifier in each window", needed=MIN_ROWS, found=n_rows)
    rng = np.random.default_rng(seed)
    X, y, names = encoded(sampled(reference, rng), sampled(current, rng), schema)
    if not X.shape[1]:
        return DomainClassification(drifted=False, auc=0.5, low=0.5, high=0.5, features={})
    fold = _folds(y, rng)
    auc, spread = 0.0, 0.0
    lost = np.zeros(X.shape[1])
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        # A column without any value cannot be binned; a constant is equivalent.
        filled = np.where(np.isnan(X[train]).all(axis=0), 0.0, X)
        products = _products(filled[train], y[train], [not n for n in names])
        model = _classifier([*map(len, names), *[0] * len(products.pairs)], seed)
        model.fit(products.added(filled[train]), y[train])
        scores = model.predict_proba(products.added(filled[test]))[:, 1]
        part, part_spread = delong(scores[y[test]], scores[~y[test]])
        # Each fold's test rows train the other models: errors add up as if perfectly correlated, which bounds any correlation.
        auc, spread = auc + part / FOLDS, spread + part_spread / FOLDS
        lost += _importance(model, products, filled[test], y[test], part, rng) / FOLDS
    low, high = max(0.0, auc - Z95 * spread), min(1.0, auc + Z95 * spread)
    order = [int(j) for j in np.argsort(-lost, kind="stable") if lost[j] > 0.002][:NAMED]
    return DomainClassification(
        drifted=bool(low > 0.5 and auc > gate),
        auc=auc,
        low=low,
        high=high,
        features={schema.names[j]: round(float(lost[j]), 4) for j in order},
    )


def delong(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """AUC of two samples of scores, and its standard error (DeLong, DeLong and Clarke-Pearson 1988, ties half).

    Args:
        positive, negative: shape (n,) and (m,), at least two each.
    """
    a, b = np.sort(positive), np.sort(negative)
    wins = (np.searchsorted(b, positive, "left") + np.searchsorted(b, positive, "right")) / (2 * len(b))
    losses = (np.searchsorted(a, negative, "left") + np.searchsorted(a, negative, "right")) / (2 * len(a))
    return float(wins.mean()), math.sqrt(wins.var(ddof=1) / len(a) + losses.var(ddof=1) / len(b))


def _folds(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fold for each row, both windows spread evenly over all of them."""
    fold = np.empty(len(y), dtype=np.int64)
    for side in (False, True):
        at = np.flatnonzero(y == side)
        fold[at] = rng.permutation(np.arange(len(at)) % FOLDS)
    return fold


def _classifier(codes: list[int], seed: int) -> Any:
    """The unfitted model.

    Args:
        codes: categories of each column, 0 for numbers.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.15, max_leaf_nodes=8, min_samples_leaf=20, early_stopping=False,
        max_bins=max(64, *codes),  # each category needs a bin
        categorical_features=[n > 0 for n in codes] if any(codes) else None, random_state=seed,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Products:
    """Pairs of columns whose correlation differs between the windows; their product lets a tree see it with one split.

    Trees find an interaction only after a split that gains nothing by itself; among many columns they split elsewhere.
    """

    center: np.ndarray  # shape (columns,)
    spread: np.ndarray
    pairs: tuple[tuple[int, int], ...]

    def added(self, X: np.ndarray) -> np.ndarray:
        """The columns, plus one for each pair."""
        if not self.pairs:
            return X
        a, b = (list(side) for side in zip(*self.pairs, strict=True))
        scaled = np.clip((X - self.center) / self.spread, -MOST_SPREADS, MOST_SPREADS)
        return np.column_stack([X, scaled[:, a] * scaled[:, b]])


def _products(X: np.ndarray, y: np.ndarray, numeric: list[bool]) -> _Products:
    """The pairs of numeric columns whose correlations differ most significantly (Fisher's z), at most PAIRS.

    Args:
        X: rows to learn from, shape (n, columns); a missing cell counts as the median.
    """
    center, spread = _center_and_spread(X)
    scaled = np.where(np.isnan(X), 0.0, np.clip((X - center) / spread, -MOST_SPREADS, MOST_SPREADS))
    apart = np.abs(_fisher(scaled[y]) - _fisher(scaled[~y])) / math.sqrt(1 / y.sum() + 1 / (~y).sum())
    is_numeric = np.asarray(numeric)
    apart[~is_numeric] = apart[:, ~is_numeric] = 0.0
    rows, columns = np.triu_indices(len(apart), k=1)
    values = apart[rows, columns]
    order = [int(i) for i in np.argsort(-values, kind="stable")[:PAIRS] if values[i] > SURE]
    return _Products(center, spread, tuple((int(rows[i]), int(columns[i])) for i in order))


def _fisher(scaled: np.ndarray) -> np.ndarray:
    """Fisher's z of the correlation of each pair of columns, shape (columns, columns); 0 where one is constant."""
    centered = scaled - scaled.mean(axis=0)
    length = np.sqrt((centered**2).sum(axis=0))
    unit = np.divide(centered, length, out=np.zeros_like(centered), where=length > 1e-9)
    return np.arctanh(np.clip(unit.T @ unit, -0.999, 0.999))


def _center_and_spread(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median of each column and its spread, above 0, shape (columns,): the standard deviation where that is defined.

    A column of NaN has the median 0 and the spread 1.
    """
    known = ~np.isnan(X)
    center, spread = np.zeros(X.shape[1]), np.ones(X.shape[1])
    for j in np.flatnonzero(known.any(axis=0)):
        values = X[known[:, j], j]
        center[j] = np.median(values)
        # Because of rounding the standard deviation of equal values is not always 0.
        spread[j] = max(float(values.std()), LEAST_SPREAD) if values.min() < values.max() else 1.0
    return center, spread


def _importance(
    model: Any, products: _Products, X: np.ndarray, y: np.ndarray, auc: float, rng: np.random.Generator
) -> np.ndarray:
    """AUC lost on unseen rows when one column at a time is shuffled (Breiman 2001).

    A column on which no tree splits loses nothing and is skipped: with many columns, that is most of them.
    """
    lost = np.zeros(X.shape[1])
    mixed = X.copy()
    cut = _columns_cut_at(model, products, X.shape[1])
    for j in range(X.shape[1]):
        shuffle = rng.permutation(X[:, j])
        if j not in cut:
            continue
        mixed[:, j] = shuffle
        shuffled = model.predict_proba(products.added(mixed))[:, 1]
        lost[j] = auc - delong(shuffled[y], shuffled[~y])[0]
        mixed[:, j] = X[:, j]
    return lost


def _columns_cut_at(model: Any, products: _Products, columns: int) -> set[int]:
    """The columns on which any tree of the model splits, by themselves or in a product."""
    used: set[int] = set()
    for trees in model._predictors:
        for tree in trees:
            for j in tree.nodes["feature_idx"][tree.nodes["is_leaf"] == 0].tolist():
                used.update((j,) if j < columns else products.pairs[j - columns])
    return used


# --- reconstruction -----------------------------------------------------------------------------------------------


def pca_reconstruction(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    schema: FeatureSchema,
    *,
    seed: int = 0,
    chunks: int = CHUNKS,
    variance: float = VARIANCE,
) -> Reconstruction:
    """Whether the structure of the reference still fits the current rows.

    Principal components learnt on one half of the reference rows keep the share `variance` of their variance; the error of a row is
    the Euclidean distance to its reconstruction from them (the measure of NannyML's `DataReconstructionDriftCalculator`).
    The other half, in `chunks` consecutive parts, shows how the mean error varies by chance: low and high are its mean
    +- 3 standard deviations for a window with as many rows as the current one. Drifted when the current mean is
    outside. At most 5,000 rows of each window are used.

    Numbers are standardised, a missing cell becomes the mean, a category its share of the reference rows (a new one 0).
    A change only along the kept components, e.g. a plain shift of a strong one, is not detected.

    Returns:
        Errors in standard deviations of a feature. Every number is None when nothing can be tested: see `reason`.

    Raises:
        BadInput: chunks below 5, or variance not in (0, 1).
    """
    if chunks < LEAST_CHUNKS or not 0.0 < variance < 1.0:
        raise BadInput(
            f"chunks is {chunks} and variance {variance}; expected at least {LEAST_CHUNKS} chunks and a share below 1."
        )
    n_rows = min(len(reference), len(current))
    if n_rows < MIN_ROWS:
        return _not_judged(because("too_few_rows_of_window", rows=n_rows, needed=MIN_ROWS))
    rng = np.random.default_rng(seed)
    X, y, names = encoded(sampled(reference, rng), sampled(current, rng), schema)
    old, new = X[~y], X[y]
    learnt = rng.permutation(len(old)) % 2 == 0
    old, new = _as_numbers(old, old[learnt], names), _as_numbers(new, old[learnt], names)
    varied = np.ptp(old[learnt], axis=0) > LEAST_SPREAD
    if varied.sum() < 2:
        return _not_judged(because("too_few_features_vary", features=int(varied.sum())))
    center, spread = old[learnt][:, varied].mean(axis=0), old[learnt][:, varied].std(axis=0)
    # One outlying cell must not dominate the mean error of a window.
    old, new = (np.clip((part[:, varied] - center) / spread, -MOST_SPREADS, MOST_SPREADS) for part in (old, new))
    axes = _principal_axes(old[learnt], variance)
    before, after = _distances(old[~learnt], axes), _distances(new, axes)
    low, high = _band(before, len(after), chunks)
    error = float(after.mean())
    drifted = not low <= error <= high
    return Reconstruction(
        drifted=drifted,
        error_reference=float(before.mean()),
        error_current=error,
        low=low,
        high=high,
        components=len(axes),
        reason=_reconstruction_reason(error, low, high),
    )


def _not_judged(why: Reason) -> Reconstruction:
    return Reconstruction(drifted=False, reason=because("not_judged", why=why))


def _reconstruction_reason(error: float, low: float, high: float) -> Reason:
    if error > high:
        return because("structure_broke", error=error, low=low, high=high)
    if error < low:
        return because("structure_tightened", error=error, low=low, high=high)
    return because("structure_holds", error=error, low=low, high=high)


def _as_numbers(X: np.ndarray, learnt: np.ndarray, names: list[list[str]]) -> np.ndarray:
    """Missing numbers become the mean of the learnt rows, category codes their share of the learnt rows."""
    filled = X.copy()
    for j, codes in enumerate(names):
        missing, known = np.isnan(X[:, j]), ~np.isnan(learnt[:, j])
        if codes:
            # Missing is a category too: the last one.
            place = np.where(missing, len(codes), np.nan_to_num(X[:, j])).astype(np.int64)
            own = np.where(known, np.nan_to_num(learnt[:, j]), len(codes)).astype(np.int64)
            filled[:, j] = (np.bincount(own, minlength=len(codes) + 1) / len(own))[place]
        else:
            filled[missing, j] = learnt[known, j].mean() if known.any() else 0.0
    return filled


def _principal_axes(scaled: np.ndarray, variance: float) -> np.ndarray:
    """The fewest axes that keep this share of the variance, but not all; shape (k, columns), k >= 1."""
    _, lengths, axes = np.linalg.svd(scaled, full_matrices=False)
    explained = np.cumsum(lengths**2) / (lengths**2).sum()
    return axes[: min(int(np.searchsorted(explained, variance)) + 1, len(axes) - 1)]


def _distances(scaled: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """How far each row is from its reconstruction, shape (n,)."""
    return np.linalg.norm(scaled - scaled @ axes.T @ axes, axis=1)


def _band(errors: np.ndarray, n_current: int, chunks: int) -> tuple[float, float]:
    """The range of the mean error of n_current rows by chance: mean +- 3 sd of the chunks, scaled to that many rows.

    With few chunks their standard deviation is itself uncertain: Student's t replaces the normal's 3. The mean of the
    reference errors is uncertain too.
    """
    from scipy.stats import norm, t

    parts = np.array_split(errors, chunks)
    of_one_row = float(np.std([part.mean() for part in parts], ddof=1)) * math.sqrt(len(errors) / chunks)
    spread = of_one_row * math.sqrt(1 / n_current + 1 / len(errors))
    half = float(t.ppf(norm.cdf(SIGMAS), chunks - 1)) * spread
    # If every row is reconstructed exactly, rounding errors are no drift.
    half = max(half, 1e-9)
    return max(0.0, float(errors.mean()) - half), float(errors.mean()) + half
