"""Small models of every family, task and kind of column, and their scorers."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.data.packed import unpack
from core.data.rows import frame_of
from core.learning.export import export
from core.learning.models import MODEL_FAMILIES, fit_family
from core.learning.scorer import part_of
from core.learning.scorer_parts import Part
from core.records import Feature, FeatureKind, FeatureSchema, Label, Task

KINDS: dict[str, tuple[FeatureKind, ...]] = {
    "numeric": ("numeric",) * 4,
    "categorical": ("categorical",) * 3,
    "boolean": ("boolean",) * 3,
    "mixed": ("categorical", "numeric", "boolean", "numeric", "numeric"),
}
CLASSES: dict[str, tuple[Task, tuple[Label, ...]]] = {
    "text": ("binary", ("no", "yes")),
    "whole numbers": ("binary", (0, 1)),
    "booleans": ("binary", (False, True)),
    "three": ("multiclass", ("ant", "bee", "fly")),
    "three numbers": ("multiclass", (2, 3, 5)),
    "value": ("regression", ()),
}
CATEGORIES = {"categorical": ("a", "b", "c", "d"), "boolean": ("false", "true"), "numeric": ()}
FITTING = [(f, c) for f, family in MODEL_FAMILIES.items() for c, (task, _) in CLASSES.items() if task in family.tasks]


def schema_of(kinds: tuple[FeatureKind, ...], task: Task, classes: tuple[Label, ...]) -> FeatureSchema:
    features = tuple(Feature(name=f"f{j}", kind=k, categories=CATEGORIES[k]) for j, k in enumerate(kinds))
    return FeatureSchema(task=task, target="y", features=features, classes=classes)


def columns_for(
    schema: FeatureSchema, n: int, *, seed: int = 0, missing: float = 0.1, unseen: bool = False
) -> list[Any]:
    """Columns with gaps; `unseen` puts in categories that no other rows have, and numbers far outside."""
    rng = np.random.default_rng(seed)
    columns: list[Any] = []
    for f in schema.features:
        gone = rng.random(n) < missing
        if f.kind == "numeric":
            column = rng.normal(size=n) * (10.0 if unseen else 1.0)
            column[gone] = np.nan
            columns.append(column)
            continue
        known = [*f.categories, "never seen"] if unseen else list(f.categories)
        columns.append([None if g else str(v) for v, g in zip(rng.choice(known, n), gone, strict=True)])
    return columns


def target_for(schema: FeatureSchema, columns: list[Any], *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 0.3, len(columns[0]))
    for f, column in zip(schema.features, columns, strict=True):
        if f.kind == "numeric":
            z = z + np.nan_to_num(column)
        else:
            z = z + np.array([0.0 if v is None else f.categories.index(v) - 1.0 for v in column])
    if not schema.classes:
        return z
    k = len(schema.classes)
    codes = np.digitize(z, np.quantile(z, np.arange(1, k) / k))
    return np.array([schema.classes[c] for c in codes.tolist()])


def rows_of(columns: list[Any]) -> list[list[Any]]:
    plain = [c.tolist() if isinstance(c, np.ndarray) else c for c in columns]
    return [list(row) for row in zip(*plain, strict=True)]


def scorer_of(model: Any, schema: FeatureSchema, columns: list[Any]) -> Part:
    """The exported scorer; that there is one is part of what is tested."""
    document, views = unpack(export(model, schema, frame_of(columns, schema)))
    assert document["part"] is not None, "left to the pipeline"
    return part_of(document["part"], views)


def trained(
    family: str, schema: FeatureSchema, *, n: int = 150, seed: int = 0, **options: Any
) -> tuple[Any, list[Any]]:
    columns = columns_for(schema, n, seed=seed, **options)
    return fit_family(family, schema, frame_of(columns, schema), target_for(schema, columns), seed=seed), columns
