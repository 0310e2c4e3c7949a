"""A schema's stored form, and how classes are added to it. Without numpy and pandas: every process reads schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from core.records import PLAINLY, Feature, FeatureSchema, JsonObject, Label, Written

_CLASS_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


def schema_to_document(schema: FeatureSchema) -> JsonObject:
    """The schema as plain JSON values; `schema_from_document` returns an equal one."""
    return {
        "task": schema.task,
        "target": schema.target,
        "id_column": schema.id_column,
        "time_column": schema.time_column,
        "class_type": type(schema.classes[0]).__name__ if schema.classes else None,
        "classes": list(schema.classes),
        "features": [
            {"name": f.name, "kind": f.kind, "categories": list(f.categories), "low": f.low, "high": f.high}
            | _written_document("written", f.written)
            for f in schema.features
        ],
        **({"excluded": list(schema.excluded)} if schema.excluded else {}),
        **({"day_first": schema.day_first} if schema.day_first is not None else {}),
        **_written_document("target_written", schema.target_written),
    }


def _written_document(key: str, written: Written) -> JsonObject:
    """Only values that differ from the default, a plainly written number; older schemas lack them."""
    return {} if written == PLAINLY else {key: {"decimal": written.decimal, "unit": written.unit}}


def _written(document: Mapping[str, Any], key: str) -> Written:
    return Written(**document[key]) if key in document else PLAINLY


def schema_from_document(document: Mapping[str, Any]) -> FeatureSchema:
    """The schema that a document holds; numbers that a database returned as another type are converted."""
    like = _CLASS_TYPES.get(document["class_type"] or "", str)
    features = tuple(
        Feature(
            name=f["name"],
            kind=f["kind"],
            categories=tuple(f["categories"]),
            low=None if f["low"] is None else float(f["low"]),
            high=None if f["high"] is None else float(f["high"]),
            written=_written(f, "written"),
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
        excluded=tuple(document.get("excluded", ())),
        target_written=_written(document, "target_written"),
        day_first=document.get("day_first"),
    )


def with_classes(schema: FeatureSchema, new_classes: Sequence[Label]) -> FeatureSchema:
    """The schema with more classes; with three or more the task is multiclass. Nothing for regression."""
    if schema.task == "regression":
        return schema
    classes = tuple(sorted({*schema.classes, *new_classes}, key=lambda c: (isinstance(c, str), c)))
    return dataclasses.replace(schema, classes=classes, task="binary" if len(classes) <= 2 else "multiclass")
