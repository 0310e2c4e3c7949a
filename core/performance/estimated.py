"""Scores without labels: what accuracy, F1, kappa, ROC AUC, log-loss, MAE and RMSE of new rows will turn out to be.

A classifier's estimate asks what the labels of the rows would be: q, a probability of each class a row, from which every
metric follows. A regressor's estimate models the size of its error. Both weigh the labelled reference rows by how much
they look like the new ones. A change of the concept itself is invisible here: labels that come later grade the
estimates, and `Trust` says when they contradict them. docs/performance.md has the formulas and what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from core.drift.encode import one_thread
from core.errors import BadInput, FieldProblem
from core.performance.realised import Z95

if TYPE_CHECKING:
    import pandas as pd

LEAST_REFERENCE = 100  # labelled rows without which nothing is estimated
MOST_REFERENCE = 10_000  # newest labelled rows that are used
GRADED_CHUNKS = 3  # newest labelled chunks whose mean z decides
# Of the mean z of one, two and three chunks; wider than 3 / sqrt(k), since errors of one estimator repeat themselves.
LIMITS_Z = (3.0, 2.6, 2.4)
LEAST_PROBABILITY = 1e-5  # where log-loss clips
METRICS = {
    "binary": ("accuracy", "f1", "kappa", "roc_auc", "log_loss"),
    "multiclass": ("accuracy", "f1", "kappa", "roc_auc", "log_loss"),
    "regression": ("mae", "rmse"),
}
_RANGES = {"kappa": (-1.0, 1.0), "log_loss": (0.0, math.inf), "mae": (0.0, math.inf), "rmse": (0.0, math.inf)}
_FOLDS = 4
_WIDTH_CHUNKS, _WIDTH_PRIOR = 20, 3.0  # newest graded chunks that tell the width, and chunks of z = 1 beside them
_PRIOR_DRAWS = 20  # resamples that tell how unsure the moved shares of the classes are
_DRAWS = 60  # of the labels from q, for the chunk's own chance
_LEAST_GAIN = 2.0  # log-likelihood by which rows must be told apart before they are weighted
_LEAST_ROWS, _LEAST_SHARE = 150.0, 0.08  # effective reference rows that the weights must leave
_ENDS = (-6.0, 4.0)  # log density ratios beyond are cut
_LARGEST = 1e100
_CATEGORIES = 30  # of a feature that keep a code of their own
_FLAGS = 8  # of a feature that get a column in linear models


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimated score with its 95 % band. `value` None = cannot tell, `reason` says why."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whether labels that came later bore the estimates out. `trusted` None = none came yet."""

    trusted: bool | None
    z: float | None  # mean of (realised - estimated) / its sd over the newest graded chunks
    n_chunks: int
    reason: str = ""


def trust_of(z_scores: Sequence[float]) -> Trust:
    """The trust that the graded chunks give.

    Args:
        z_scores: (realised - estimated) / sd of each labelled chunk, oldest first.
    """
    if not len(z_scores):
        return Trust(trusted=None, z=None, n_chunks=0, reason="No labels have come yet to grade it by.")
    newest = [float(z) for z in z_scores][-GRADED_CHUNKS:]
    z, limit = float(np.mean(newest)), LIMITS_Z[len(newest) - 1]
    chunks = f"the newest {len(newest)} labelled chunks" if len(newest) > 1 else "the one labelled chunk"
    if abs(z) > limit:
        side = "below" if z < 0 else "above"
        reason = f"Not trusted: over {chunks} the labels lie {abs(z):.1f} standard deviations {side} the estimate, more than {limit:.1f}."
        return Trust(trusted=False, z=z, n_chunks=len(z_scores), reason=reason)
    reason = f"Over {chunks} the labels agree with the estimate (mean z {z:+.1f}, within {limit:.1f})."
    return Trust(trusted=True, z=z, n_chunks=len(z_scores), reason=reason)


def width_of(z_scores: Sequence[float]) -> float:
    """By what later bands are wider, as the graded chunks show: at least 1.

    The root of the mean square of the newest z, which is 1 where bands are right; a few chunks of that count beside
    them, so that one chunk alone widens little.
    """
    newest = [float(z) ** 2 for z in z_scores][-_WIDTH_CHUNKS:]
    return max(1.0, math.sqrt((_WIDTH_PRIOR + math.fsum(newest)) / (_WIDTH_PRIOR + len(newest))))


@one_thread()
def fit_estimator(reference: pd.DataFrame, *, task: str, seed: int = 0) -> Estimator:
    """An estimator learnt from labelled rows that the model was not trained on, oldest first.

    Args:
        reference: y_true, y_pred (classes 0..K-1, or numbers), p (binary: P of class 1) or p_0 .. p_{K-1}; every other
            column is a feature. Rows whose label or prediction is missing are left out; the newest MOST_REFERENCE are used.
        task: "binary", "multiclass" or "regression".
        seed: of folds and draws; same rows and seed, same estimates.

    Raises:
        BadInput: an unknown task, or a column is missing.
    """
    if task not in METRICS:
        raise BadInput(f"There is no task '{task}'. Choose one of {', '.join(METRICS)}.")
    _require(reference, ["y_true", "y_pred", *_probability_columns(reference, task)], "reference")
    usable = reference[reference[["y_true", *_probability_columns(reference, task), "y_pred"]].notna().all(axis=1)]
    usable = usable.tail(MOST_REFERENCE).reset_index(drop=True)
    if len(usable) < LEAST_REFERENCE:
        return Estimator(task, None, f"The reference has {len(usable):,} labelled rows, needs {LEAST_REFERENCE:,}.")
    if task == "regression":
        return Estimator(task, _Errors(usable, seed), "")
    if usable["y_true"].nunique() < 2:
        return Estimator(task, None, "Every label of the reference is one class: there is nothing to tell apart.")
    return Estimator(task, _Labels(usable, task, seed), "")


class _Model(Protocol):
    """What stands behind an estimator: the figures of one chunk, and a metric's value and sd from them."""

    def prepare(self, chunk: pd.DataFrame) -> Any: ...
    def measure(self, prepared: Any, metric: str) -> tuple[float, float, float] | str: ...


class Estimator:
    """Estimates of chunks of rows, and the grades that labels gave them. Made by `fit_estimator`."""

    def __init__(self, task: str, model: _Model | None, why_not: str) -> None:
        self.task = task
        self._model, self._why_not = model, why_not
        self._last: tuple[pd.DataFrame, Any] | None = None
        self._grades: dict[str, list[float]] = {}

    def estimate(self, chunk: pd.DataFrame, metric: str) -> Estimate:
        """The score of the chunk without its labels.

        Args:
            chunk: columns as the reference; y_true is not looked at. What is common to the metrics is computed once.
            metric: one of METRICS[task].

        Raises:
            BadInput: the task has no such metric, or a column is missing.
        """
        found = self._measured(chunk, metric)
        if isinstance(found, str):
            return Estimate(value=None, low=None, high=None, reason=found)
        value, below, above = found
        least, most = _RANGES.get(metric, (0.0, 1.0))
        reach = Z95 * width_of(self._grades.get(metric, ()))
        return Estimate(value=value, low=max(least, value - reach * below), high=min(most, value + reach * above))

    def grade(self, chunk: pd.DataFrame, metric: str, realised: float | None) -> Trust:
        """Hold the estimate of a chunk against the score that its labels gave; called in the order of the labels.

        Later bands are as wide as the graded ones should have been (`width_of`); the grade itself is by the band as it
        comes from the rows.

        Args:
            realised: None (or NaN) when the labels give no score either; such a chunk does not count.
        """
        found = self._measured(chunk, metric)
        grades = self._grades.setdefault(metric, [])
        if not isinstance(found, str) and realised is not None and math.isfinite(realised):
            value, below, above = found
            grades.append((realised - value) / max(above if realised > value else below, 1e-12))
        return trust_of(grades)

    def _measured(self, chunk: pd.DataFrame, metric: str) -> tuple[float, float, float] | str:
        """Value and the standard deviations below and above it; or why it cannot be told."""
        if metric not in METRICS[self.task]:
            raise BadInput(
                f"There is no estimate of '{metric}' in {self.task}. Choose one of {', '.join(METRICS[self.task])}."
            )
        needed = ["y_pred", *_probability_columns(chunk, self.task)]
        _require(chunk, needed, "chunk")
        if self._model is None:
            return self._why_not
        if not len(chunk):
            return "The chunk has no row."
        missing = int(chunk[needed].isna().any(axis=1).sum())
        if missing:
            return f"{missing:,} of {len(chunk):,} rows have no prediction."
        if self._last is None or self._last[0] is not chunk:
            with one_thread():
                self._last = (chunk, self._model.prepare(chunk))
        found = self._model.measure(self._last[1], metric)
        if not isinstance(found, str) and not all(map(math.isfinite, found)):
            return "The rows do not say: the figures behind it are not finite."
        return found


def _probability_columns(frame: pd.DataFrame, task: str) -> list[str]:
    if task == "regression":
        return []
    if task == "binary":
        return ["p"]
    found = [c for c in frame.columns if str(c).startswith("p_") and str(c)[2:].isdecimal()]
    return [f"p_{k}" for k in range(max(2, len(found)))]


def _require(frame: pd.DataFrame, names: Sequence[str], word: str) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        problems = tuple(FieldProblem(field=f"column {n}", seen="not there", expected=f"in the {word}") for n in absent)
        raise BadInput(f"The {word} has no column {' and no column '.join(absent)}. Add it.", problems)


# --- what both share ----------------------------------------------------------------------------------------------


class _Features:
    """The feature columns as matrices, as the reference taught: for trees (NaN = missing) and standardised for lines."""

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
        """For lines, shape (n, a), and for trees, shape (n, b). A feature that the frame lacks is missing."""
        lines: list[np.ndarray] = []
        trees: list[np.ndarray] = []
        n = len(frame)
        for name, middle, spread in self._numbers:
            values = _finite(frame[name]) if name in frame.columns else np.full(n, np.nan)
            trees.append(values)
            lines.append(np.clip((np.where(np.isnan(values), middle, values) - middle) / spread, -6.0, 6.0))
        for name, codes in self._codes:
            if name in frame.columns:
                found = _texts(frame[name])
                code = np.where(found.notna(), found.map(codes).fillna(len(codes)).to_numpy(dtype=np.float64), np.nan)
            else:
                code = np.full(n, np.nan)
            trees.append(code)
            lines += [(code == k).astype(np.float64) for k in range(min(_FLAGS, len(codes)))]
        return tuple(np.column_stack(c) if c else np.empty((n, 0)) for c in (lines, trees))  # type: ignore[return-value]


def _finite(column: pd.Series) -> np.ndarray:
    """Numbers, NaN where missing, infinite, none, or so large that their squares would be infinite."""
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.abs(values) < _LARGEST, values, np.nan)


def _texts(column: pd.Series) -> pd.Series:
    """Cells as text, missing ones kept."""
    return column.astype(object).where(column.notna(), None).map(lambda v: None if v is None else str(v))


def _binned(trees: np.ndarray) -> np.ndarray:
    """Rows to fit on: a column without any value among them cannot be binned; as a constant it says as little."""
    return np.where(np.isnan(trees).all(axis=0), 0.0, trees)


def _boosting(seed: int, rounds: int, leaves: int, *, regress: bool = False, least: int = 40, l2: float = 1.0) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if regress else HistGradientBoostingClassifier
    return kind(
        max_iter=rounds, learning_rate=0.1, max_leaf_nodes=leaves, min_samples_leaf=least, l2_regularization=l2,
        max_bins=64, early_stopping=False, random_state=seed,
    )  # fmt: skip


def _logistic(X: np.ndarray, y: np.ndarray, strength: float) -> Any:
    """A logistic regression that stops after some rounds: near its optimum will do."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=150).fit(X, y)


@dataclass(frozen=True, slots=True)
class _Ratio:
    """How much likelier each row is among the new ones than in the reference, as logarithms; cross-fitted."""

    reference: np.ndarray
    chunk: np.ndarray

    def likelihood(self) -> float:
        """Log-likelihood of which rows are the new ones."""
        odds = math.log(len(self.chunk) / len(self.reference))
        return float(-np.logaddexp(0, self.reference + odds).sum() - np.logaddexp(0, -(self.chunk + odds)).sum())

    def gain(self) -> float:
        """The likelihood over that of telling nothing."""
        return self.likelihood() - _Ratio(np.zeros(len(self.reference)), np.zeros(len(self.chunk))).likelihood()

    def weights(self) -> tuple[np.ndarray, float]:
        """A weight a reference row, mean 1, and the effective number of rows (Kish 1965).

        Tempered until enough of them are left; all 1 when the rows cannot be told apart.
        """
        n = len(self.reference)
        if self.gain() <= _LEAST_GAIN:
            return np.ones(n), float(n)
        temper = 1.0
        while True:
            weights = np.exp(temper * np.clip(self.reference, *_ENDS))
            weights /= weights.mean()
            rows = float(weights.sum() ** 2 / (weights**2).sum())
            if rows >= max(_LEAST_ROWS, _LEAST_SHARE * n) or temper < 0.05:
                return weights, rows
            temper *= 0.85


def _ratio(reference: tuple[np.ndarray, np.ndarray], chunk: tuple[np.ndarray, np.ndarray], seed: int) -> _Ratio:
    """The density ratio by a domain classifier: the mean log-odds of a line in squares and of boosted trees, two folds.

    Args:
        reference, chunk: matrices for lines and for trees.
    """
    n, m = len(reference[0]), len(chunk[0])
    if m < 2:
        return _Ratio(np.zeros(n), np.zeros(m))
    lines, trees = (np.vstack([a, b]) for a, b in zip(reference, chunk, strict=True))
    lines = np.hstack([lines, lines**2])
    new = np.r_[np.zeros(n), np.ones(m)].astype(np.int64)
    rng = np.random.default_rng(seed)
    fold = np.r_[rng.permutation(np.arange(n) % 2), rng.permutation(np.arange(m) % 2)]
    odds = np.zeros(n + m)
    for k in (0, 1):
        train, test = fold != k, fold == k
        line = _logistic(lines[train], new[train], 0.3).predict_proba(lines[test])[:, 1]
        tree = (
            _boosting(seed, 25, 6, least=50, l2=5.0)
            .fit(_binned(trees[train]), new[train])
            .predict_proba(trees[test])[:, 1]
        )
        for p in (line, tree):
            p = np.clip(p, 1e-9, 1 - 1e-9)
            odds[test] += np.log(p / (1 - p)) / 2
    odds += math.log(n / m)
    return _Ratio(odds[:n], odds[n:])


# --- classes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What all metrics of a chunk need."""

    proba: np.ndarray
    pred: np.ndarray
    q: np.ndarray  # probability of each label, sums fitted to each predicted class
    q_ranked: np.ndarray  # the same without that fit, which would blur the order of rows
    each: np.ndarray  # q by each map alone, shape (maps, n, K)
    share: np.ndarray  # of each map in q
    rows: float  # effective reference rows
    moved: tuple[np.ndarray, ...] = ()  # q under shares of the classes that resamples of the chunk tell; () = not moved


class _Labels:
    """What the labels of new rows would be: a mixture of calibration maps, weighted by likeness, or moved priors."""

    def __init__(self, reference: pd.DataFrame, task: str, seed: int) -> None:
        self._binary, self._seed = task == "binary", seed
        self._names = _probability_columns(reference, task)
        self._features = _Features(reference, {*self._names, "y_true", "y_pred"})
        self._proba = self._probabilities(reference)
        self._k = self._proba.shape[1]
        self._y = reference["y_true"].to_numpy().astype(np.int64).clip(0, self._k - 1)
        self._pred = reference["y_pred"].to_numpy().astype(np.int64).clip(0, self._k - 1)
        self._prior = np.bincount(self._y, minlength=self._k) / len(self._y)
        self._lines, self._trees = self._inputs(reference, self._proba)
        n = len(self._y)
        fold = np.random.default_rng(seed).permutation(np.arange(n) % _FOLDS)
        everything = np.ones(n, dtype=bool)
        self._unseen = np.empty((5, n, self._k))  # q of each map by models that have not seen the row
        for k in range(_FOLDS):
            test = fold == k
            maps = self._fit(~test)
            self._unseen[:, test] = self._apply(maps, self._proba[test], self._lines[test], self._trees[test])
        self._maps = self._fit(everything)
        self._even_share = self._mixture(np.ones(n))

    def _probabilities(self, frame: pd.DataFrame) -> np.ndarray:
        if self._binary:
            p = np.clip(frame["p"].to_numpy(dtype=np.float64), 0.0, 1.0)
            return np.stack([1 - p, p], axis=1)
        return np.clip(frame[self._names].to_numpy(dtype=np.float64), 0.0, 1.0)

    def _inputs(self, frame: pd.DataFrame, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centred log-probabilities with the features beside them."""
        logs = np.log(np.clip(proba, 1e-6, 1.0))
        logs -= logs.mean(axis=1, keepdims=True)
        lines, trees = self._features.matrices(frame)
        return np.hstack([logs, lines]), np.hstack([logs, trees])

    def _fit(self, rows: np.ndarray) -> tuple[Any, ...]:
        """Beta calibration (Kull 2017), isotonic (Zadrozny 2002), and models of score and features, on some rows."""
        from sklearn.isotonic import IsotonicRegression

        y = self._y[rows]
        if len(np.unique(y)) < 2:
            return ()
        isotonic = [
            IsotonicRegression(out_of_bounds="clip").fit(self._proba[rows][:, k], y == k) for k in range(self._k)
        ]
        rounds = 100 if self._k <= 3 else 60 if self._k <= 6 else 30
        return (
            _logistic(self._lines[rows][:, : self._k], y, 10.0),
            isotonic,
            _logistic(self._lines[rows], y, 1.0),
            _boosting(self._seed, rounds, 8).fit(_binned(self._trees[rows]), y),
        )

    def _apply(self, maps: tuple[Any, ...], proba: np.ndarray, lines: np.ndarray, trees: np.ndarray) -> np.ndarray:
        """q of each map, shape (5, n, K); the first is the model's own word."""
        if not maps:
            return np.stack([_shares(proba)] * 5)
        score, isotonic, line, tree = maps
        return np.stack([
            _shares(proba),
            self._all_classes(score, lines[:, : self._k]),
            _shares(np.column_stack([m.predict(proba[:, k]) for k, m in enumerate(isotonic)]), 2e-3),
            self._all_classes(line, lines),
            self._all_classes(tree, trees),
        ])  # fmt: skip

    def _all_classes(self, model: Any, X: np.ndarray) -> np.ndarray:
        out = np.zeros((len(X), self._k))
        out[:, model.classes_] = model.predict_proba(X)
        return _shares(out)

    def prepare(self, chunk: pd.DataFrame) -> _Chunk:
        proba = self._probabilities(chunk)
        lines, trees = self._inputs(chunk, proba)
        pred = chunk["y_pred"].to_numpy().astype(np.int64).clip(0, self._k - 1)
        each = self._apply(self._maps, proba, lines, trees)
        ratio = _ratio((self._lines, self._trees), (lines, trees), self._seed)
        weights, rows = ratio.weights()
        share = self._even_share if rows == len(self._y) else self._mixture(weights)
        ranked = np.tensordot(share, each, 1)
        q = self._fitted_sums(ranked, np.tensordot(share, self._unseen, 1), pred, weights)
        still, new, by_prior = self._moved_prior(each, pred)
        gain = by_prior.gain()
        # Each on its own evidence: where features are weak no classifier tells the rows apart, while the answers' shares
        # do. The prior alone says as much as all features do: then it is the prior.
        if gain <= _LEAST_GAIN or gain < 0.98 * ratio.gain() - 1:
            return _Chunk(proba, pred, q, ranked, each, share, rows)
        factor = new / self._floored_prior()
        q = _shares(still * factor, 0.0)
        moved = tuple(_shares(still * (other / self._floored_prior()), 0.0) for other in self._priors(still, new))
        each = np.stack([_shares(by_map * factor) for by_map in each])
        return _Chunk(proba, pred, q, q, each, share, 0.7 * len(self._y), moved)

    def _mixture(self, weights: np.ndarray) -> np.ndarray:
        """Share of each map: expectation-maximisation of the weighted likelihood of the reference's labels."""
        own = self._unseen[:, np.arange(len(self._y)), self._y]
        share = np.array([0.1, 0.3, 0.1, 0.3, 0.2])
        for _ in range(150):
            part = share[:, None] * own
            part /= part.sum(axis=0)
            found = part @ weights + 0.2
            found /= found.sum()
            done = np.abs(found - share).max() < 1e-5
            share = found
            if done:
                break
        return share

    def _fitted_sums(self, q: np.ndarray, unseen: np.ndarray, pred: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """q scaled in each predicted class so that on the weighted reference its sums are those of the labels."""
        q = q.copy()
        labels = np.eye(self._k)[self._y]
        for c in np.unique(pred):
            there, here = self._pred == c, pred == c
            if there.sum() < 30:
                continue
            w = weights[there, None]
            scale = ((w * labels[there]).sum(axis=0) + 3 * self._prior) / (
                (w * unseen[there]).sum(axis=0) + 3 * self._prior + 1e-12
            )
            q[here] *= np.clip(np.where(self._prior > 0, scale, 1.0), 0.3, 3.0)
        return _shares(q, 0.0)

    def _floored_prior(self) -> np.ndarray:
        return np.maximum(self._prior, 1e-4)

    def _priors(self, still: np.ndarray, new: np.ndarray) -> list[np.ndarray]:
        """The classes' shares that resamples of the chunk's rows tell: how unsure they are."""
        rng = np.random.default_rng(self._seed)
        n = len(still)
        return [self._shares_now(still[rng.integers(0, n, n)], new, near=1e-4) for _ in range(_PRIOR_DRAWS)]

    def _shares_now(self, still: np.ndarray, start: np.ndarray, *, near: float = 1e-5) -> np.ndarray:
        """Shares of the classes among rows whose q was right under the reference's shares: expectation-maximisation."""
        prior, new = self._floored_prior(), start
        for _ in range(100):
            posterior = _shares(still * (new / prior), 0.0)
            found = (posterior.sum(axis=0) + prior) / (len(still) + 1)
            done = np.abs(found - new).max() < near
            new = found
            if done:
                break
        return np.asarray(new)

    def _moved_prior(self, each: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray, _Ratio]:
        """q before the move, the new shares when nothing but those moved (Saerens, Latinne and Decaestecker 2002), and
        what that explains."""
        even = np.ones(len(self._y))
        share = self._even_share
        unseen = np.tensordot(share, self._unseen, 1)
        q = self._fitted_sums(np.tensordot(share, each, 1), unseen, pred, even)
        prior = self._floored_prior()
        new = self._shares_now(q, prior)
        explained = _Ratio(*(np.log(np.maximum((x * (new / prior)).sum(axis=1), 1e-12)) for x in (unseen, q)))
        return q, new, explained

    def measure(self, prepared: _Chunk, metric: str) -> tuple[float, float, float] | str:
        q = prepared.q_ranked if metric == "roc_auc" else prepared.q
        value = self._value(prepared, q, metric)
        if not math.isfinite(value):
            return _UNTELLABLE.get(metric, "The rows do not say.")
        n = len(q)
        rng = np.random.default_rng(self._seed)
        upto = q.cumsum(axis=1)
        drawn = [
            self._value(prepared, np.eye(self._k)[(upto < rng.random((n, 1))).sum(axis=1).clip(0, self._k - 1)], metric)
            for _ in range(_DRAWS)
        ]
        known = [v for v in drawn if math.isfinite(v)]
        chance = float(np.var(known)) if len(known) > 1 else 0.25
        alone = np.array([self._value(prepared, m, metric) for m in prepared.each[1:]])
        share = prepared.share[1:] / prepared.share[1:].sum()
        apart = np.where(np.isfinite(alone), alone - value, 0.0) ** 2
        disagreement = 1.5 * max(float(share @ apart), 0.5 * float(apart.mean()))
        # A label is a draw, whatever q says: so few rows never agree for sure.
        floor = 0.25 / (n + 4) ** 2 if metric != "log_loss" else 0.0
        others = [v for v in (self._value(prepared, m, metric) for m in prepared.moved) if math.isfinite(v)]
        unsure = float(np.mean((np.array(others) - value) ** 2)) if others else 0.0
        sd = math.sqrt(chance * (1 + n / prepared.rows) + disagreement + unsure + floor)
        return value, sd, sd

    def _value(self, c: _Chunk, q: np.ndarray, metric: str) -> float:
        """The metric when the labels are q; NaN when they leave it open."""
        n = len(q)
        if metric == "accuracy":
            return float(q[np.arange(n), c.pred].mean())
        if metric == "log_loss":
            return float(-(q * np.log(np.clip(c.proba, LEAST_PROBABILITY, 1.0))).sum(axis=1).mean())
        if metric == "roc_auc":
            classes = [1] if self._binary else [k for k in range(self._k) if 0 < q[:, k].sum() < n]
            ranks = [_expected_auc(c.proba[:, k], q[:, k]) for k in classes]
            return float(np.mean(ranks)) if ranks else math.nan
        counts = np.stack([q[c.pred == k].sum(axis=0) for k in range(self._k)], axis=1)  # label, prediction
        if metric == "kappa":
            chance = float((counts.sum(axis=0) * counts.sum(axis=1)).sum()) / n**2
            return (float(np.trace(counts)) / n - chance) / (1 - chance) if chance < 1 - 1e-12 else math.nan
        both = counts.sum(axis=0) + counts.sum(axis=1)
        f1 = np.divide(2 * np.diag(counts), both, out=np.zeros(self._k), where=both > 0)
        if self._binary:
            return float(f1[1])
        present = both > 0.5
        return float(f1[present].mean()) if present.any() else math.nan


_UNTELLABLE = {
    "roc_auc": "Every label would be one class: there is no pair of rows to rank.",
    "kappa": "Labels and predictions would be one and the same class: chance alone agrees on every row.",
}


def _shares(q: np.ndarray, least: float = 1e-4) -> np.ndarray:
    """Rows that sum to 1, no entry below about `least`."""
    q = np.maximum(q, least) if least else q
    total = q.sum(axis=1, keepdims=True)
    return np.divide(q, total, out=np.full_like(q, 1 / q.shape[1]), where=total > 0)


def _expected_auc(scores: np.ndarray, q: np.ndarray) -> float:
    """Chance that a positive row ranks above a negative one, ties half, when each row is positive with chance q."""
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    positive = np.add.reduceat(q[order], starts)
    negative = np.add.reduceat(1 - q[order], starts)
    pairs = positive.sum() * negative.sum()
    if pairs < 1e-9:
        return math.nan
    return float((positive * (np.cumsum(negative) - negative / 2)).sum() / pairs)


# --- numbers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A chunk of a regression."""

    lines: np.ndarray
    trees: np.ndarray
    weights: np.ndarray
    rows: float


class _Errors:
    """How large the model's error on new rows is: models of the absolute and of the squared error."""

    def __init__(self, reference: pd.DataFrame, seed: int) -> None:
        self._seed = seed
        self._features = _Features(reference, {"y_true", "y_pred"})
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
        """A line, trees, and trees of what the line leaves: these go on growing where the reference ends."""
        from sklearn.linear_model import Ridge

        line = Ridge(10.0).fit(self._lines[rows], error[rows])
        left = error[rows] - line.predict(self._lines[rows])
        return (
            line,
            _boosting(self._seed, 60, 12, regress=True, least=30, l2=5.0).fit(_binned(self._trees[rows]), error[rows]),
            _boosting(self._seed, 60, 8, regress=True, least=30, l2=5.0).fit(_binned(self._trees[rows]), left),
        )

    def prepare(self, chunk: pd.DataFrame) -> _Numbers:
        lines, trees = self._inputs(chunk)
        # The absolute values and squares are for the error's models; likeness takes squares of its own.
        width = lines.shape[1] // 3
        weights, rows = _ratio((self._lines[:, :width], self._trees), (lines[:, :width], trees), self._seed).weights()
        return _Numbers(lines, trees, weights, rows)

    def measure(self, prepared: _Numbers, metric: str) -> tuple[float, float, float] | str:
        """The mean of the third model's two words: its mean on the chunk, plain and doubly robust (plus the weighted
        residuals of the reference). What the other models and the weighted errors themselves say widens the band."""
        error, unseen, weights = self._error[metric], self._unseen[metric], prepared.weights
        given = np.clip(_errors_of(self._models[metric], prepared.lines, prepared.trees), 0.0, error.max())
        plain = given.mean(axis=1)
        robust = plain + (weights * (error - unseen)).mean(axis=1)
        average = float((weights * error).mean())
        value = max(float(plain[2] + robust[2]) / 2, 0.0)
        left = float((weights * (error - unseen[2]) ** 2).mean())
        spread = float((weights * (error - average) ** 2).mean())
        chance = (left + float(given[2].var())) / given.shape[1] + max(left, spread) / prepared.rows
        half = math.sqrt(chance + (0.6 * float(np.ptp([*plain, *robust, average]))) ** 2)
        if metric == "mae":
            return value, half, half
        root = math.sqrt(value)
        below, above = (abs(math.sqrt(max(value + s * Z95 * half, 0.0)) - root) / Z95 for s in (-1, 1))
        return root, below, above


def _errors_of(models: tuple[Any, Any, Any], lines: np.ndarray, trees: np.ndarray) -> np.ndarray:
    """The error of each row by a line, by trees, and by the line with trees of what it leaves; shape (3, n)."""
    line, tree, rest = models
    by_line = line.predict(lines)
    return np.stack([by_line, tree.predict(trees), by_line + rest.predict(trees)])
