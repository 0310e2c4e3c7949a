"""The model families that enter a race, and the committee that several of them vote in.

Every family is an unfitted sklearn pipeline that takes a DataFrame in schema order (numeric columns float64 with NaN,
the others text with None) and does imputation, scaling and categories itself. Out of scope: which rows
it is trained on (`core.learning.learner`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pandas import DataFrame
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from core.data.contract import schema_from_document
from core.data.packed import unpack
from core.data.rows import columns_of
from core.errors import BadInput
from core.learning.scorer import part_of
from core.learning.scorer_neighbours import nearest_rows
from core.records import FeatureSchema, Task

MAX_BINS = 63  # of a numeric feature in boosting
MAX_CATEGORIES = 50  # a feature's rarer categories share one code
TREES = 50
TREE_ROWS = (
    10_000  # each of the extra-trees learns from this many sampled rows of a larger window: bounds time and size
)

_CLASSIFICATION: tuple[Task, ...] = ("binary", "multiclass")
_EVERY: tuple[Task, ...] = (*_CLASSIFICATION, "regression")


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model, as a table entry; its display name is in `policy.FAMILY_LABELS`."""

    tasks: tuple[Task, ...]
    builder: Callable[[FeatureSchema, int], Pipeline]  # (schema, seed) -> unfitted pipeline
    windows: tuple[str, ...]  # the training windows it enters a race with by default
    fits: int = 1  # estimators that it trains; 0 = fitting only stores rows


# --- preparation ------------------------------------------------------------------------------------------------


def _columns(schema: FeatureSchema) -> tuple[list[str], list[str]]:
    """Names of the numeric features and of the others."""
    numeric = [f.name for f in schema.features if f.kind == "numeric"]
    return numeric, [f.name for f in schema.features if f.kind != "numeric"]


def _scaled(schema: FeatureSchema) -> ColumnTransformer:
    """Numbers imputed by the median and scaled, categories one-hot: what linear models and neighbours need."""
    numeric, other = _columns(schema)
    numbers = Pipeline(
        [("impute", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())]
    )
    categories = OneHotEncoder(handle_unknown="ignore", max_categories=MAX_CATEGORIES, sparse_output=False)
    return _side_by_side(numbers, numeric, categories, other)


def _coded(schema: FeatureSchema, *, impute: bool) -> ColumnTransformer:
    """For trees: numbers imputed or left missing, categories as integers, with separate codes for unseen and missing ones."""
    numeric, other = _columns(schema)
    numbers = SimpleImputer(strategy="median", keep_empty_features=True) if impute else FillEmpty()
    categories = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=-1 if impute else np.nan,
        encoded_missing_value=-2 if impute else np.nan,
        max_categories=MAX_CATEGORIES,
    )
    if not impute:  # a feature whose every value is missing stays NaN only
        categories = Pipeline([("code", categories), ("fill", FillEmpty())])
    return _side_by_side(numbers, numeric, categories, other)


def _side_by_side(numbers: Any, numeric: list[str], categories: Any, other: list[str]) -> ColumnTransformer:
    parts = [("numbers", numbers, numeric)] * bool(numeric) + [("categories", categories, other)] * bool(other)
    return ColumnTransformer(parts, verbose_feature_names_out=False)


class FillEmpty(TransformerMixin, BaseEstimator):
    """Fills columns without any value with 0 and leaves other missing values: boosting accepts NaN, but no column of NaN only."""

    def fit(self, X: Any, y: Any = None) -> FillEmpty:
        """Remember which columns are empty."""
        values = np.asarray(X, dtype=np.float64)
        self.empty_ = np.isnan(values).all(axis=0)
        self.n_features_in_ = values.shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The values, shape (n, columns)."""
        values = np.array(X, dtype=np.float64)
        values[:, self.empty_] = 0.0
        return values

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of the input features."""
        return np.asarray(input_features, dtype=object)


# --- families ---------------------------------------------------------------------------------------------------


def _logistic(schema: FeatureSchema, seed: int) -> Pipeline:
    return Pipeline([("prepare", _scaled(schema)), ("model", LogisticRegression(max_iter=100, random_state=seed))])


def _ridge(schema: FeatureSchema, seed: int) -> Pipeline:
    return Pipeline([("prepare", _scaled(schema)), ("model", Ridge(alpha=1.0, random_state=seed))])


def _booster(schema: FeatureSchema, seed: int) -> Any:
    """Gradient boosting: many small trees for a value, fewer rounds when each costs one tree per class.

    On the streams that were measured, coarse bins (64) and few rounds cost no accuracy and take two thirds of the time.
    """
    options: dict[str, Any] = {"max_bins": MAX_BINS, "early_stopping": False, "random_state": seed}
    if schema.task == "regression":
        return HistGradientBoostingRegressor(max_iter=100, learning_rate=0.1, max_leaf_nodes=8, **options)
    if len(schema.classes) <= 2:
        return HistGradientBoostingClassifier(max_iter=60, learning_rate=0.15, max_leaf_nodes=15, **options)
    rounds = int(np.clip(200 // len(schema.classes), 10, 40))
    return HistGradientBoostingClassifier(max_iter=rounds, learning_rate=0.25, max_leaf_nodes=15, **options)


def _boosting(schema: FeatureSchema, seed: int) -> Pipeline:
    return Pipeline([("prepare", _coded(schema, impute=False)), ("model", _booster(schema, seed))])


def _dated_boosting(schema: FeatureSchema, seed: int) -> Pipeline:
    return Pipeline([("prepare", _coded(schema, impute=False)), ("model", RowNumbered(_booster(schema, seed)))])


def _linear_boosting(schema: FeatureSchema, seed: int) -> Pipeline:
    """Many small trees on the residuals of a linear model, which are mostly additive."""
    trees = HistGradientBoostingRegressor(
        max_iter=300, learning_rate=0.1, max_leaf_nodes=4, max_bins=MAX_BINS, early_stopping=False, random_state=seed
    )
    rest = Pipeline([("prepare", _coded(schema, impute=False)), ("model", trees)])
    return Pipeline([("model", ResidualBoosting(_ridge(schema, seed), rest))])


def _extra_trees(schema: FeatureSchema, seed: int) -> Pipeline:
    kind = ExtraTreesRegressor if schema.task == "regression" else ExtraTreesClassifier
    model = kind(TREES, random_state=seed, n_jobs=1)
    return Pipeline([("prepare", _coded(schema, impute=True)), ("model", model)])


def _neighbours(schema: FeatureSchema, seed: int) -> Pipeline:
    options: dict[str, Any] = {"n_neighbors": 5, "weights": "distance", "algorithm": "brute", "n_jobs": 1}
    model = NearRegressor(**options) if schema.task == "regression" else NearClassifier(**options)
    return Pipeline([("prepare", _scaled(schema)), ("model", model)])


def _constant(schema: FeatureSchema, seed: int) -> Pipeline:
    model = DummyRegressor(strategy="median") if schema.task == "regression" else DummyClassifier(strategy="prior")
    return Pipeline([("model", model)])


class _Near:
    """Finds neighbours as the scorer does: the same rows at the same distances, whatever the size of the request."""

    n_neighbors: int
    _fit_X: np.ndarray

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[np.ndarray, np.ndarray] | np.ndarray:
        """Distances and indices of the nearest rows, each of shape (n, neighbours)."""
        rows, x = np.asarray(self._fit_X, dtype=np.float64), np.asarray(X, dtype=np.float64)
        squares, k = np.einsum("ij,ij->i", rows, rows), n_neighbors or self.n_neighbors
        nearest = [nearest_rows(rows, squares, x[i : i + 256], k) for i in range(0, len(x), 256)]
        numbers = np.vstack([n for _, n in nearest])
        return (np.vstack([d for d, _ in nearest]), numbers) if return_distance else numbers


class NearClassifier(_Near, KNeighborsClassifier):
    """Neighbours that vote."""


class NearRegressor(_Near, KNeighborsRegressor):
    """Neighbours whose mean is the prediction."""


class RowNumbered(ClassifierMixin, RegressorMixin, BaseEstimator):
    """A model with the row number as an extra feature, so that it can split at the time of a change.

    New rows get the newest number: they belong to the latest regime.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, X: np.ndarray, y: np.ndarray) -> RowNumbered:
        """Fit on rows in chronological order."""
        self.model_ = clone(self.model)
        self.n_rows_ = len(X)
        self.model_.fit(np.column_stack([X, np.arange(len(X), dtype=np.float64)]), y)
        if hasattr(self.model_, "classes_"):
            self.classes_ = self.model_.classes_
        return self

    def _with_newest(self, X: np.ndarray) -> np.ndarray:
        return np.column_stack([X, np.full(len(X), float(self.n_rows_ - 1))])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Class or value of each row, as of now."""
        return self.model_.predict(self._with_newest(X))

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of each row's classes, as of now."""
        return self.model_.predict_proba(self._with_newest(X))


class ResidualBoosting(RegressorMixin, BaseEstimator):
    """A linear model, and boosting on its residuals: extrapolates beyond the range of the training targets."""

    def __init__(self, linear: Pipeline, boosting: Pipeline) -> None:
        self.linear = linear
        self.boosting = boosting

    def fit(self, X: DataFrame, y: np.ndarray) -> ResidualBoosting:
        """Fit the linear model, then boosting on its residuals."""
        self.linear_ = clone(self.linear).fit(X, y)
        self.boosting_ = clone(self.boosting).fit(X, y - self.linear_.predict(X))
        return self

    def predict(self, X: DataFrame) -> np.ndarray:
        """The linear prediction plus the boosted correction."""
        return self.linear_.predict(X) + self.boosting_.predict(X)


# --- fitting and voting -----------------------------------------------------------------------------------------


def fit_family(family: str, schema: FeatureSchema, X: DataFrame, y: np.ndarray, *, seed: int) -> Pipeline:
    """A fitted pipeline of the family; the same rows and seed give the same model, bit for bit.

    Raises:
        BadInput: the family cannot be fitted on this window (fewer than two rows, or one class only).
    """
    if len(X) < 2 and family != "constant":
        raise BadInput(f"A window of {len(X)} rows, expected at least 2. Add labelled rows.")
    if schema.task != "regression" and family != "constant" and len(np.unique(y)) < 2:
        raise BadInput(f"One class only ('{y[0]}') in a window of {len(y)} rows, expected at least two.")
    pipeline = MODEL_FAMILIES[family].builder(schema, seed)
    if family == "neighbours":
        pipeline.named_steps["model"].set_params(n_neighbors=min(5, len(X)))
    if family == "extra_trees" and len(X) > TREE_ROWS:
        pipeline.named_steps["model"].set_params(bootstrap=True, max_samples=TREE_ROWS)
    with warnings.catch_warnings():
        # An optimiser that stops at its iteration limit, or a category unseen in a small window, is common here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return pipeline.fit(X, y)


def predict_quietly(model: Any, X: DataFrame, *, proba: bool) -> np.ndarray:
    """Probabilities, or values, without the warnings that an unseen category raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return model.predict_proba(X) if proba else np.asarray(model.predict(X), dtype=np.float64)


@lru_cache(maxsize=4)
def _scorer_of(packed: bytes) -> tuple[Any, FeatureSchema]:
    document, views = unpack(packed)
    return part_of(document["part"], views), schema_from_document(document["schema"])


class Converted(BaseEstimator):
    """An imported model reduced to its numbers: no object of its file is ever constructed here.

    Plain attributes only, so that skops can store it:
        packed: uint8 array, the scorer artefact that a separate process made from the file.
        task: the project's.
        classes_: as in the project; empty for regression.
    """

    def __init__(self, packed: Any = (), task: str = "binary", classes: Sequence[Any] = ()) -> None:
        self.packed = np.asarray(packed, dtype=np.uint8)
        self.task = task
        self.classes_ = np.array(list(classes))

    def _outputs(self, X: DataFrame) -> np.ndarray:
        part, schema = _scorer_of(self.packed.tobytes())
        return np.asarray(part.many(columns_of(X, schema), len(X)))

    def predict_proba(self, X: DataFrame) -> np.ndarray:
        """Probabilities, shape (rows, classes)."""
        return self._outputs(X)

    def predict(self, X: DataFrame) -> np.ndarray:
        """Classes, or values in regression."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self.task == "regression" else self.classes_[outputs.argmax(axis=1)]


class Committee(BaseEstimator):
    """Several fitted models that vote by weight. The artefact that is tested is the one that serves.

    Plain attributes only, so that skops can store it:
        members: fitted pipelines.
        weights: one per member, >= 0, sum 1.
        info: one dict per member: name, family, window, n_rows.
        task: the project's; regression averages, the others vote with probabilities.
        threshold: probability from which the second of two classes is predicted; None = the more likely one.
        classes_: union of the members' classes, sorted; empty for regression.
    """

    threshold: float | None = None  # missing in files stored before it existed

    def __init__(
        self,
        members: Sequence[Any] = (),
        weights: Sequence[float] = (),
        info: Sequence[Mapping[str, Any]] = (),
        task: str = "binary",
        threshold: float | None = None,
    ) -> None:
        self.members = list(members)
        self.weights = [float(w) for w in weights]
        self.info = [dict(i) for i in info]
        self.task = task
        self.threshold = threshold
        self.classes_ = union_of_classes(self.members) if task != "regression" else np.empty(0)

    def predict_proba(self, X: DataFrame) -> np.ndarray:
        """Weighted mean of the members' probabilities, shape (n, len(classes_)). Not for regression."""
        return self.vote([predict_quietly(m, X, proba=True) for m in self.members])

    def predict(self, X: DataFrame) -> np.ndarray:
        """The class with the largest vote (ties: the first), or the weighted mean value."""
        if self.task == "regression":
            return self.vote([predict_quietly(m, X, proba=False) for m in self.members])
        return self.classes_[chosen(self.predict_proba(X), self)]

    def vote(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The committee's prediction from its members' predictions, in their order."""
        if self.task == "regression":
            return np.sum([w * o for w, o in zip(self.weights, outputs, strict=True)], axis=0)
        total = np.zeros((len(outputs[0]), len(self.classes_)))
        for weight, output, member in zip(self.weights, outputs, self.members, strict=True):
            total[:, np.searchsorted(self.classes_, member.classes_)] += weight * output
        return total / total.sum(axis=1, keepdims=True)


def chosen(proba: np.ndarray, model: Any) -> np.ndarray:
    """Column of the class that a model predicts: the most likely (ties: the first), or by its threshold for two classes."""
    threshold = getattr(model, "threshold", None)
    if threshold is None or proba.shape[1] != 2:
        return np.argmax(proba, axis=1)
    return (proba[:, 1] >= threshold).astype(np.int64)


def union_of_classes(members: Sequence[Any]) -> np.ndarray:
    """All classes known to any of the models, sorted."""
    return np.unique(np.concatenate([np.asarray(m.classes_) for m in members])) if members else np.empty(0)


# Windows: "change" since the last change, "all", or that many of the newest rows.
MODEL_FAMILIES: dict[str, Family] = {
    "logistic": Family(_CLASSIFICATION, _logistic, ("change", "1000")),
    "ridge": Family(("regression",), _ridge, ("change", "1000", "all")),
    "boosting": Family(_EVERY, _boosting, ("change", "5000", "all")),
    "dated_boosting": Family(_EVERY, _dated_boosting, ("all",)),
    "linear_boosting": Family(("regression",), _linear_boosting, ("change", "all"), fits=2),
    "extra_trees": Family(_EVERY, _extra_trees, ("change", "all")),
    "neighbours": Family(_EVERY, _neighbours, ("1000", "all"), fits=0),
    "constant": Family(_EVERY, _constant, ("all",), fits=0),
}

# Families that race when a policy names none; "constant" is used only when nothing else can be fitted.
DEFAULT_FAMILIES: dict[Task, tuple[str, ...]] = {
    "binary": ("boosting", "dated_boosting", "extra_trees", "logistic", "neighbours"),
    "multiclass": ("boosting", "dated_boosting", "extra_trees", "logistic", "neighbours"),
    "regression": ("ridge", "linear_boosting", "boosting"),
}
