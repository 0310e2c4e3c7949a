"""Class probabilities of the labels of new rows: the model behind a classifier's estimated scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.performance.likeness import LEAST_GAIN, Features, Ratio, binned, boosting, density_ratio, logistic
from core.records import Reason, because

if TYPE_CHECKING:
    import pandas as pd

LEAST_PROBABILITY = 1e-5  # where log-loss clips
_FOLDS = 4
_PRIOR_DRAWS = 20  # resamples for the uncertainty of the shifted class shares
_DRAWS = 60  # draws of the labels from q, for the chunk's own sampling error


def probability_columns(frame: pd.DataFrame, *, binary: bool) -> list[str]:
    """p, or p_0, p_1 and so on as many as the frame has."""
    if binary:
        return ["p"]
    numbered = [c for c in frame.columns if str(c).startswith("p_") and str(c)[2:].isdecimal()]
    return [f"p_{k}" for k in range(max(2, len(numbered)))]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What all metrics of a chunk share."""

    proba: np.ndarray
    pred: np.ndarray
    q: np.ndarray  # probability of each label, scaled so that sums fit within each predicted class
    q_ranked: np.ndarray  # the same without that scaling, which would blur the ranking of rows
    each: np.ndarray  # q of each map alone, shape (maps, n, K)
    share: np.ndarray  # weight of each map in q
    rows: float  # effective reference rows
    moved: tuple[np.ndarray, ...] = ()  # q under the class shares of resamples of the chunk; () = not shifted


class Labels:
    """The probable labels of new rows: a mixture of calibration maps weighted by similarity, or shifted class priors."""

    def __init__(self, reference: pd.DataFrame, task: str, seed: int) -> None:
        self._binary, self._seed = task == "binary", seed
        self._names = probability_columns(reference, binary=self._binary)
        self._features = Features(reference, {*self._names, "y_true", "y_pred"})
        self._proba = self._probabilities(reference)
        self._k = self._proba.shape[1]
        self._y = reference["y_true"].to_numpy().astype(np.int64).clip(0, self._k - 1)
        self._pred = reference["y_pred"].to_numpy().astype(np.int64).clip(0, self._k - 1)
        self._prior = np.bincount(self._y, minlength=self._k) / len(self._y)
        self._lines, self._trees = self._inputs(reference, self._proba)
        n = len(self._y)
        fold = np.random.default_rng(seed).permutation(np.arange(n) % _FOLDS)
        everything = np.ones(n, dtype=bool)
        self._unseen = np.empty((5, n, self._k))  # q of each map, by models not trained on the row
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
        """Centred log-probabilities, followed by the features."""
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
            logistic(self._lines[rows][:, : self._k], y, 10.0),
            isotonic,
            logistic(self._lines[rows], y, 1.0),
            boosting(self._seed, rounds, 8).fit(binned(self._trees[rows]), y),
        )

    def _apply(self, maps: tuple[Any, ...], proba: np.ndarray, lines: np.ndarray, trees: np.ndarray) -> np.ndarray:
        """q of each map, shape (5, n, K); the first is the model's own probability."""
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
        ratio = density_ratio((self._lines, self._trees), (lines, trees), self._seed)
        weights, rows = ratio.weights()
        share = self._even_share if rows == len(self._y) else self._mixture(weights)
        ranked = np.tensordot(share, each, 1)
        q = self._fitted_sums(ranked, np.tensordot(share, self._unseen, 1), pred, weights)
        still, new, by_prior = self._moved_prior(each, pred)
        gain = by_prior.gain()
        # Each by its own evidence: with weak features no classifier separates the rows, while the shares of the predictions
        # do. If the prior alone explains as much as all features, the shift is one of the prior.
        if gain <= LEAST_GAIN or gain < 0.98 * ratio.gain() - 1:
            return _Chunk(proba, pred, q, ranked, each, share, rows)
        factor = new / self._floored_prior()
        q = _shares(still * factor, 0.0)
        moved = tuple(_shares(still * (other / self._floored_prior()), 0.0) for other in self._priors(still, new))
        each = np.stack([_shares(by_map * factor) for by_map in each])
        return _Chunk(proba, pred, q, q, each, share, 0.7 * len(self._y), moved)

    def _mixture(self, weights: np.ndarray) -> np.ndarray:
        """Weight of each map: expectation-maximisation of the weighted likelihood of the reference's labels."""
        own = self._unseen[:, np.arange(len(self._y)), self._y]
        share = np.array([0.1, 0.3, 0.1, 0.3, 0.2])
        for _ in range(150):
            part = share[:, None] * own
            part /= part.sum(axis=0)
            updated = part @ weights + 0.2
            updated /= updated.sum()
            done = np.abs(updated - share).max() < 1e-5
            share = updated
            if done:
                break
        return share

    def _fitted_sums(self, q: np.ndarray, unseen: np.ndarray, pred: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """q scaled within each predicted class so that on the weighted reference its sums equal those of the labels."""
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
        """The class shares of resamples of the chunk's rows, for their uncertainty."""
        rng = np.random.default_rng(self._seed)
        n = len(still)
        return [self._shares_now(still[rng.integers(0, n, n)], new, near=1e-4) for _ in range(_PRIOR_DRAWS)]

    def _shares_now(self, still: np.ndarray, start: np.ndarray, *, near: float = 1e-5) -> np.ndarray:
        """Class shares of rows whose q was right under the reference's shares: expectation-maximisation."""
        prior, new = self._floored_prior(), start
        for _ in range(100):
            posterior = _shares(still * (new / prior), 0.0)
            updated = (posterior.sum(axis=0) + prior) / (len(still) + 1)
            done = np.abs(updated - new).max() < near
            new = updated
            if done:
                break
        return np.asarray(new)

    def _moved_prior(self, each: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray, Ratio]:
        """q before the shift, the new class shares if nothing else shifted (Saerens, Latinne and Decaestecker 2002), and
        how much that explains."""
        even = np.ones(len(self._y))
        share = self._even_share
        unseen = np.tensordot(share, self._unseen, 1)
        q = self._fitted_sums(np.tensordot(share, each, 1), unseen, pred, even)
        prior = self._floored_prior()
        new = self._shares_now(q, prior)
        explained = Ratio(*(np.log(np.maximum((x * (new / prior)).sum(axis=1), 1e-12)) for x in (unseen, q)))
        return q, new, explained

    def measure(self, prepared: _Chunk, metric: str) -> tuple[float, float, float] | Reason:
        q = prepared.q_ranked if metric == "roc_auc" else prepared.q
        value = self._value(prepared, q, metric)
        if not math.isfinite(value):
            return _UNTELLABLE.get(metric, because("rows_do_not_say"))
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
        # A label is random given q: few rows never agree exactly.
        floor = 0.25 / (n + 4) ** 2 if metric != "log_loss" else 0.0
        others = [v for v in (self._value(prepared, m, metric) for m in prepared.moved) if math.isfinite(v)]
        unsure = float(np.mean((np.array(others) - value) ** 2)) if others else 0.0
        sd = math.sqrt(chance * (1 + n / prepared.rows) + disagreement + unsure + floor)
        return value, sd, sd

    def _value(self, c: _Chunk, q: np.ndarray, metric: str) -> float:
        """The metric when the labels follow q; NaN when it is undefined."""
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
    "roc_auc": because("no_pair_to_rank"),
    "kappa": because("one_and_the_same_class_expected"),
}


def _shares(q: np.ndarray, least: float = 1e-4) -> np.ndarray:
    """Rows that sum to 1, no entry below about `least`."""
    q = np.maximum(q, least) if least else q
    total = q.sum(axis=1, keepdims=True)
    return np.divide(q, total, out=np.full_like(q, 1 / q.shape[1]), where=total > 0)


def _expected_auc(scores: np.ndarray, q: np.ndarray) -> float:
    """Probability that a positive row ranks above a negative one, ties half, when each row is positive with probability q."""
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    positive = np.add.reduceat(q[order], starts)
    negative = np.add.reduceat(1 - q[order], starts)
    pairs = positive.sum() * negative.sum()
    if pairs < 1e-9:
        return math.nan
    return float((positive * (np.cumsum(negative) - negative / 2)).sum() / pairs)
