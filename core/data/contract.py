"""A schema's stored form, and how it grows. Neither numpy nor pandas: every process reads schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from core.records import Feature, FeatureSchema, Label

_CLASS_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


def schema_to_document(schema: FeatureSchema) -> dict[str, Any]:
    """The schema as plain JSON values; `schema_from_document` gives back the very same one."""
    return {
        "task": schema.task,
        "target": schema.target,
        "id_column": schema.id_column,
        "time_column": schema.time_column,
        "class_type": type(schema.classes[0]).__name__ if schema.classes else None,
        "classes": list(schema.classes),
        "features": [
            {"name": f.name, "kind": f.kind, "categories": list(f.categories), "low": f.low, "high": f.high}
            for f in schema.features
        ],
    }


def schema_from_document(document: Mapping[str, Any]) -> FeatureSchema:
    """The schema that a document holds; numbers that a database gave back as another type are mended."""
    like = _CLASS_TYPES.get(document["class_type"] or "", str)
    features = tuple(
        Feature(
            name=f["name"],
            kind=f["kind"],
            categories=tuple(f["categories"]),
            low=None if f["low"] is None else float(f["low"]),
            high=None if f["high"] is None else float(f["high"]),
        )
        for f in document["features"]
    )
    return FeatureSchema(
        task=document["task"],
        target=document["target"],
        features=features,
        classes=tuple(like(c) for c in document["classes"]),
        id_column=document["id_column"],
        time_column=document["time_column"],
    )


def with_classes(schema: FeatureSchema, new_classes: Sequence[Label]) -> FeatureSchema:
    """The schema with more classes; from the third one on the task is multiclass. Nothing for regression."""
    if schema.task == "regression":
        return schema
    classes = tuple(sorted({*schema.classes, *new_classes}, key=lambda c: (isinstance(c, str), c)))
    return dataclasses.replace(schema, classes=classes, task="binary" if len(classes) <= 2 else "multiclass")
