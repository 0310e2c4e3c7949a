"""The review of an inferred schema: a person corrects the kind and use of each column of a first file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from core.data.inferring import first_schema
from core.data.looking import kind_of
from core.errors import BadInput
from core.records import FeatureKind, FeatureSchema

SEEN = 4  # example values shown for a column


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReview:
    """One column as inferred, or as a person corrected it."""

    name: str
    kind: FeatureKind
    used: bool  # False: kept with the rows, not used for training
    seen: str = ""  # its first values


def columns_to_review(frame: pd.DataFrame, inferred: FeatureSchema, *, limit: int) -> list[ColumnReview]:
    """The features, then the excluded columns; at most `limit` of them."""
    columns: list[tuple[str, FeatureKind | None]] = [(f.name, f.kind) for f in inferred.features]
    columns += [(name, None) for name in inferred.excluded]
    return [
        ColumnReview(
            name=name,
            kind=kind or kind_of(frame[name]),
            used=kind is not None,
            seen=", ".join(map(str, frame[name].dropna().iloc[:SEEN])),
        )
        for name, kind in columns[:limit]
    ]


def reviewed_schema(
    frame: pd.DataFrame, inferred: FeatureSchema, shown: Sequence[ColumnReview], wanted: Sequence[ColumnReview]
) -> FeatureSchema:
    """The schema after a person's corrections; columns that were not shown keep what was inferred.

    Args:
        shown: the columns as they were inferred.
        wanted: the same columns in the same order, with the person's corrections.

    Raises:
        BadInput: a column cannot be of the requested kind, or none is used.
    """
    unused = {now.name for now in wanted if not now.used}
    kinds = {
        now.name: now.kind
        for before, now in zip(shown, wanted, strict=True)
        if now.used and (now.kind != before.kind or not before.used)
    }
    schema = inferred
    if kinds:
        schema, _ = first_schema(
            frame,
            target=inferred.target,
            id_column=inferred.id_column or "",
            time_column=inferred.time_column or "",
            task=inferred.task,
            kinds=kinds,
        )
    features = tuple(f for f in schema.features if f.name not in unused)
    if not features:
        raise BadInput("No column is selected, expected at least one feature. Select one.")
    excluded = tuple(dict.fromkeys([*schema.excluded, *(f.name for f in schema.features if f.name in unused)]))
    return dataclasses.replace(schema, features=features, excluded=excluded)
