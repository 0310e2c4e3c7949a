"""Exports a fitted estimator as a scorer of plain arrays, and verifies that its predictions are the same.

An estimator that is not supported, or whose scorer differs, is served by the pipeline itself: its artefact then
has the part None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pandas import DataFrame
from sklearn.base import is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from core.data.contract import schema_to_document
from core.data.packed import pack, repacked, unpack
from core.learning.export_preparation import UNSEEN, NotExportable, Prepared, places_of, preparation_of, steps_of
from core.learning.export_trees import Nodes, hist_nodes, tree_nodes
from core.learning.models import Committee, Converted, ResidualBoosting, RowNumbered, predict_quietly
from core.learning.scorer import TOLERANCE, largest_difference, part_of
from core.records import FeatureSchema, JsonObject

FORMAT = 1  # version of the document


CHECK_ROWS = 24  # stored in the artefact with the estimator's predictions


CHECKED = 400  # maximum number of rows on which an export is verified


_FORESTS = (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    DecisionTreeClassifier,
    DecisionTreeRegressor,
)


_BOOSTED = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)


_LINES = (LogisticRegression, LinearRegression, Ridge, Lasso)


_NEIGHBOURS = (KNeighborsClassifier, KNeighborsRegressor)


def export(model: Any, schema: FeatureSchema, X: DataFrame) -> bytes:
    """The scorer artefact of a fitted estimator: its numbers, or only a mark that the pipeline itself must predict.

    Args:
        X: rows in schema order on which the scorer is verified; some of them become the artefact's check rows. Missing
            values and unseen categories are tested too.
    """
    checks = _check_rows(schema, X)
    try:
        expected = _answers(model, checks, schema)
    except ValueError:  # a foreign pipeline that accepts no missing values, or no unseen categories
        checks = X.dropna().head(CHECKED).reset_index(drop=True)
        expected = _answers(model, checks, schema)
    book = _Book()
    part: JsonObject | None
    if isinstance(model, Converted):  # already plain numbers
        return repacked(
            model.packed.tobytes(),
            _document(unpack(model.packed.tobytes())[0]["part"], model, schema, X, checks, expected),
        )
    try:
        part = book.part(model, schema)
        if not _same(part, book.arrays, checks, expected, schema):
            part = None
    except NotExportable:
        part = None
    document = _document(part, model, schema, X, checks, expected)
    return pack(document, book.arrays if part is not None else {}, squeeze=True)


def _document(
    part: JsonObject | None,
    model: Any,
    schema: FeatureSchema,
    X: DataFrame,
    checks: DataFrame,
    expected: np.ndarray,
) -> JsonObject:
    stored = np.linspace(0, len(checks) - 1, min(CHECK_ROWS, len(checks))).astype(int)
    return {
        "part": part,
        "format": FORMAT,
        "schema": schema_to_document(schema),
        "classes": [] if schema.task == "regression" else [_plain(c) for c in model.classes_],
        "threshold": getattr(model, "threshold", None),
        "ranges": _ranges(schema, X),
        "checks": {
            "rows": [[None if v is None or v != v else v for v in row] for row in _rows(checks.iloc[stored], schema)],
            "answers": expected[stored].tolist(),
        },
    }


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _ranges(schema: FeatureSchema, X: DataFrame) -> JsonObject:
    """The range of each feature in the model's rows: its lowest and highest number, or its categories."""
    ranges: JsonObject = {}
    for f in schema.features:
        column = X[f.name].dropna()
        if f.kind != "numeric":
            ranges[f.name] = sorted({*column.unique().tolist(), *f.categories})
        elif len(column):
            ranges[f.name] = [float(column.min()), float(column.max())]
    return ranges


def _check_rows(schema: FeatureSchema, X: DataFrame) -> DataFrame:
    """Rows of X, and copies of some with missing values and unseen categories."""
    chosen = X.iloc[np.unique(np.linspace(0, len(X) - 1, min(CHECKED, len(X))).astype(int))]
    odd = chosen.head(len(schema.features) + 2).copy()
    for i, f in enumerate(schema.features):
        if i < len(odd):
            odd.iloc[i, i] = np.nan if f.kind == "numeric" else (UNSEEN if i % 2 else None)
    import pandas as pd

    return pd.concat([chosen, odd], ignore_index=True)


def _answers(model: Any, X: DataFrame, schema: FeatureSchema) -> np.ndarray:
    answers = np.asarray(predict_quietly(model, X, proba=schema.task != "regression"), dtype=np.float64)
    return answers.reshape(len(X), -1)


def _rows(X: DataFrame, schema: FeatureSchema) -> list[list[Any]]:
    columns = [
        X[f.name].tolist() if f.kind == "numeric" else [v if isinstance(v, str) else None for v in X[f.name]]
        for f in schema.features
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _same(
    part: JsonObject,
    arrays: dict[str, tuple[str, bytes]],
    X: DataFrame,
    expected: np.ndarray,
    schema: FeatureSchema,
) -> bool:
    """Whether the scorer gives the estimator's predictions, one row at a time and all at once."""
    document, views = unpack(pack({"part": part}, arrays))
    scorer = part_of(document["part"], views)
    rows, wanted = _rows(X, schema), expected.tolist()
    columns = [
        np.array([row[j] for row in rows], dtype=np.float64) if f.kind == "numeric" else [row[j] for row in rows]
        for j, f in enumerate(schema.features)
    ]
    value = schema.task == "regression"
    return all(
        largest_difference(answers, wanted, value=value) <= TOLERANCE
        for answers in ([scorer.one(row) for row in rows], scorer.many(columns, len(rows)).tolist())
    )


class _Book:
    """Collects the arrays of a scorer while its document is written."""

    def __init__(self) -> None:
        self.arrays: dict[str, tuple[str, bytes]] = {}

    def keep(self, values: Any, *, whole: bool = False) -> str:
        """Store an array and return its name."""
        name = f"a{len(self.arrays)}"
        self.put(name, values, whole=whole)
        return name

    def put(self, name: str, values: Any, *, whole: bool = False) -> None:
        kind = "<i4" if whole else "<f8"
        self.arrays[name] = ("i" if whole else "d", np.ascontiguousarray(values, dtype=kind).tobytes())

    def part(self, model: Any, schema: FeatureSchema) -> JsonObject:
        """The document of an estimator.

        Raises:
            NotExportable: the estimator is of an unsupported kind.
        """
        if isinstance(model, Committee):
            return self._committee(model, schema)
        prepare, last = steps_of(model)
        if isinstance(last, ResidualBoosting) and not prepare:
            parts = [self.part(last.linear_, schema), self.part(last.boosting_, schema)]
            return {"kind": "sum", "parts": parts}
        if isinstance(last, (DummyClassifier, DummyRegressor)):
            return {"kind": "constant", "answer": _constant(last)}
        prepared = preparation_of(prepare, schema)
        if isinstance(last, _LINES):
            return self._linear(last, prepared)
        if isinstance(last, RowNumbered):
            return self._boosted(last.model_, prepared, fixed=float(last.n_rows_ - 1))
        if isinstance(last, _BOOSTED):
            return self._boosted(last, prepared)
        if isinstance(last, _FORESTS):
            return self._forest(last, prepared)
        if isinstance(last, _NEIGHBOURS):
            return self._neighbours(last, prepared)
        raise NotExportable(type(last).__name__)

    def _committee(self, model: Committee, schema: FeatureSchema) -> JsonObject:
        regression = model.task == "regression"
        if len(model.members) == 1 and (regression or len(model.members[0].classes_) == len(model.classes_)):
            return self.part(model.members[0], schema)
        members = [
            {
                "part": self.part(member, schema),
                "weight": weight,
                "places": [0] if regression else np.searchsorted(model.classes_, member.classes_).tolist(),
            }
            for member, weight in zip(model.members, model.weights, strict=True)
        ]
        width = 1 if regression else len(model.classes_)
        return {"kind": "vote", "width": width, "shared": not regression, "members": members}

    def _linear(self, model: Any, prepared: Prepared) -> JsonObject:
        weights = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
        bias = np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64)).copy()
        if weights.shape[1] != prepared.width or len(bias) not in (1, len(weights)):
            raise NotExportable("weights of another width")
        bias = np.broadcast_to(bias, len(weights)).copy()
        n = len(prepared.numeric)
        raw = np.zeros((len(weights), n))
        for i, (_, fill, mean, scale) in enumerate(prepared.numeric):
            if fill is None:
                raise NotExportable("a linear model of values with gaps")
            raw[:, i] = weights[:, i] / scale
            bias -= raw[:, i] * mean
        tables, at = [], n
        for feature, known, missing, unseen in prepared.tables:
            own = weights[:, at : at + len(missing)]
            at += len(missing)
            tables.append(
                {
                    "feature": feature,
                    "known": {text: (own @ np.array(columns)).tolist() for text, columns in known.items()},
                    "missing": (own @ np.array(missing)).tolist(),
                    "unseen": (own @ np.array(unseen)).tolist(),
                }
            )
        link = "identity" if is_regressor(model) else "sigmoid" if len(weights) == 1 else "softmax"
        return {
            "kind": "linear",
            "link": link,
            "numeric": [feature for feature, *_ in prepared.numeric],
            "fill": [fill for _, fill, _, _ in prepared.numeric],
            "bias": bias.tolist(),
            "weights": self.keep(raw),
            "tables": tables,
        }

    def _boosted(self, model: Any, prepared: Prepared, *, fixed: float | None = None) -> JsonObject:
        """Boosted trees; the last column may be one `fixed` number, whose tests are then resolved during the export."""
        if model.is_categorical_ is not None and np.any(model.is_categorical_):
            raise NotExportable("splits on sets of categories")
        places = [*places_of(prepared), *([-1] if fixed is not None else [])]
        nodes, of = Nodes(1), []
        for stage in model._predictors:
            for k, predictor in enumerate(stage):
                nodes.add(hist_nodes(predictor.nodes, places, fixed))
                of.append(k)
        base = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)
        link = "identity" if is_regressor(model) else "sigmoid" if len(base) == 1 else "softmax"
        if link == "identity" and type(model._loss.link).__name__ != "IdentityLink":
            raise NotExportable("another link")
        return {**self._trees(nodes, prepared, of), "link": link, "mean": False, "single": False, "base": base.tolist()}

    def _forest(self, model: Any, prepared: Prepared) -> JsonObject:
        trees = [model] if isinstance(model, (DecisionTreeClassifier, DecisionTreeRegressor)) else model.estimators_
        outputs = 1 if is_regressor(model) else len(model.classes_)
        places, nodes = places_of(prepared), Nodes(outputs)
        for tree in trees:
            nodes.add(tree_nodes(tree.tree_, places, outputs))
        return {
            **self._trees(nodes, prepared, [0] * len(trees)),
            "link": "identity",
            "mean": True,
            "single": True,
            "base": [0.0] * outputs,
        }

    def _trees(self, nodes: Nodes, prepared: Prepared, of: Sequence[int]) -> JsonObject:
        name = f"t{len(self.arrays)}-"
        for part in ("feature", "left", "right", "roots"):
            self.put(name + part, getattr(nodes, part), whole=True)
        self.put(name + "of", of, whole=True)
        self.put(name + "threshold", nodes.threshold)
        self.put(name + "value", nodes.value)
        self.arrays[name + "gap_left"] = ("b", bytes(nodes.gap_left))
        if any(mean != 0.0 or scale != 1.0 for _, _, mean, scale in prepared.numeric):
            raise NotExportable("trees of scaled values")
        return {
            "kind": "trees",
            "arrays": name,
            "codes": [
                {
                    "feature": feature,
                    "known": {t: c[0] for t, c in known.items()},
                    "missing": _gap(missing[0]),
                    "unseen": _gap(unseen[0]),
                }
                for feature, known, missing, unseen in prepared.tables
            ],
            "fill": [{"feature": f, "value": fill} for f, fill, _, _ in prepared.numeric if fill is not None],
        }

    def _neighbours(self, model: Any, prepared: Prepared) -> JsonObject:
        known = model.metric == "minkowski" and model.p == 2 and model.weights == "distance"
        if not known or any(fill is None for _, fill, _, _ in prepared.numeric) or np.ndim(model._y) != 1:
            raise NotExportable("another kind of neighbours")
        rows = np.asarray(model._fit_X, dtype=np.float64)
        if rows.shape[1] != prepared.width:
            raise NotExportable("rows of another width")
        return {
            "kind": "neighbours",
            "k": int(model.n_neighbors),
            "numeric": [
                {"feature": f, "fill": fill, "mean": mean, "scale": scale} for f, fill, mean, scale in prepared.numeric
            ],
            "tables": [
                {"feature": f, "known": t, "missing": missing, "unseen": unseen}
                for f, t, missing, unseen in prepared.tables
            ],
            "rows": self.keep(rows),
            "shape": list(rows.shape),
            "targets": self.keep(np.asarray(model._y, dtype=np.float64).reshape(-1)),
            "classes": None if is_regressor(model) else len(model.classes_),
        }


def _gap(code: float) -> float | None:
    return None if code != code else code


def _constant(model: Any) -> list[float]:
    if isinstance(model, DummyRegressor):
        return [float(np.asarray(model.constant_).reshape(-1)[0])]
    if model.strategy != "prior":
        raise NotExportable("a dummy that draws")
    return [float(p) for p in model.class_prior_]
