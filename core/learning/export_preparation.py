"""A pipeline's preprocessing of its features before the estimator, as positions and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from pandas import DataFrame
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from core.learning.models import FillEmpty
from core.records import FeatureSchema

UNSEEN = "\x00 no such category"


class NotExportable(Exception):
    """The estimator is of a kind that scorers do not support."""


@dataclasses.dataclass(slots=True)
class Prepared:
    """The effect of preprocessing on each raw feature, by output column.

    numeric: schema position, fill value (None: missing values stay), mean, scale; in the order of the columns.
    tables: schema position; columns by category, of a missing value, of an unseen category; they follow the numbers.
    """

    numeric: list[tuple[int, float | None, float, float]]
    tables: list[tuple[int, dict[str, list[float]], list[float], list[float]]]

    @property
    def width(self) -> int:
        return len(self.numeric) + sum(len(table[2]) for table in self.tables)


def steps_of(model: Any) -> tuple[list[Any], BaseEstimator]:
    """The preprocessing steps in order, and the model after them."""
    if not isinstance(model, Pipeline):
        return [], model
    steps = [step for _, step in model.steps if step not in (None, "passthrough")]
    before, last = steps_of(steps[-1])
    return [*steps[:-1], *before], last


def preparation_of(steps: Sequence[Any], schema: FeatureSchema) -> Prepared:
    """The effect on each feature of the steps before a model."""
    names = list(schema.names)
    if len(steps) == 1 and isinstance(steps[0], ColumnTransformer):
        return _side_by_side(steps[0], names)
    if any(f.kind != "numeric" for f in schema.features):
        raise NotExportable("a preparation of text that is not known")
    return Prepared(_numbers(steps, list(range(len(names)))), [])


def _side_by_side(transformer: ColumnTransformer, names: list[str]) -> Prepared:
    prepared = Prepared([], [])
    for _, step, columns in transformer.transformers_:
        if step == "drop" or not len(columns):
            continue
        if not all(isinstance(c, str) and c in names for c in columns):
            raise NotExportable("columns that are not named")
        at = [names.index(c) for c in columns]
        steps = _flat(step)
        if steps and isinstance(steps[0], (OneHotEncoder, OrdinalEncoder)):
            if any(not isinstance(s, FillEmpty) for s in steps[1:]):
                raise NotExportable("categories that are prepared further")
            prepared.tables += _categories(step, steps[0], at, columns)
        elif prepared.tables:
            raise NotExportable("numbers behind categories")
        else:
            prepared.numeric += _numbers(steps, at)
    return prepared


def _flat(step: Any) -> list[Any]:
    if isinstance(step, Pipeline):
        return [inner for _, s in step.steps for inner in _flat(s)]
    return [] if step in (None, "passthrough") else [step]


def _numbers(steps: Sequence[Any], at: Sequence[int]) -> list[tuple[int, float | None, float, float]]:
    """The effect on numbers of steps that keep one column per feature; filling must come before scaling."""
    n = len(at)
    fill: np.ndarray | None = None
    mean, scale = np.zeros(n), np.ones(n)
    for step in steps:
        if isinstance(step, SimpleImputer) and fill is None and not step.add_indicator:
            fill = np.asarray(step.statistics_, dtype=np.float64)
            if len(fill) != n or np.isnan(fill).any():
                raise NotExportable("a column without any value")
        elif isinstance(step, StandardScaler):
            own_mean = step.mean_ if step.with_mean else np.zeros(n)
            own_scale = step.scale_ if step.with_std else np.ones(n)
            mean, scale = mean + scale * own_mean, scale * own_scale
        elif not isinstance(step, FillEmpty):
            raise NotExportable(type(step).__name__)
    return [(j, None if fill is None else float(fill[i]), float(mean[i]), float(scale[i])) for i, j in enumerate(at)]


def _categories(
    step: Any, encoder: Any, at: Sequence[int], columns: Sequence[str]
) -> list[tuple[int, dict[str, list[float]], list[float], list[float]]]:
    """An encoder's output for each category, a missing and an unseen one: by calling it, not by reading its internals."""
    tables = []
    for i, j in enumerate(at):
        texts = [c for c in encoder.categories_[i].tolist() if isinstance(c, str)]
        asked: list[Any] = [*texts, None, UNSEEN]
        probe = {name: [None] * len(asked) for name in columns} | {columns[i]: asked}
        made = np.asarray(_transformed(step, DataFrame({n: _text(v) for n, v in probe.items()})), dtype=np.float64)
        own = made[:, _columns_of(encoder, i)].tolist()
        tables.append((j, dict(zip(texts, own[: len(texts)], strict=True)), own[-2], own[-1]))
    return tables


def _text(values: list[Any]) -> Any:
    import pandas as pd

    return pd.Series(values, dtype="str")


def _transformed(step: Any, X: DataFrame) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return step.transform(X)


def _columns_of(encoder: Any, i: int) -> slice:
    if isinstance(encoder, OrdinalEncoder):
        return slice(i, i + 1)
    widths = encoder._n_features_outs
    start = int(sum(widths[:i]))
    return slice(start, start + int(widths[i]))


def places_of(prepared: Prepared) -> list[int]:
    """Schema position of each column that the trees were trained on."""
    if any(len(missing) != 1 for _, _, missing, _ in prepared.tables):
        raise NotExportable("trees of one-hot columns")
    return [feature for feature, *_ in prepared.numeric] + [feature for feature, *_ in prepared.tables]
