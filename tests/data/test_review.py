"""What was inferred of a first file is corrected column by column."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from core.data.inferring import first_schema
from core.data.review import ColumnReview, columns_to_review, reviewed_schema
from core.errors import BadInput
from core.records import FeatureSchema


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"x": [1.5, 2.5, 3.5, 4.5], "site": [1, 2, 1, 2], "empty": [None] * 4, "y": ["no", "yes", "no", "yes"]}
    )


@pytest.fixture
def inferred(frame: pd.DataFrame) -> FeatureSchema:
    return first_schema(frame, target="y", id_column="", time_column="")[0]


def test_columns_that_are_left_out_come_last_and_unticked(frame: pd.DataFrame, inferred: FeatureSchema) -> None:
    shown = columns_to_review(frame, inferred, limit=9)
    assert [(c.name, c.kind, c.used, c.seen) for c in shown[:2]] == [
        ("x", "numeric", True, "1.5, 2.5, 3.5, 4.5"),
        ("site", "numeric", True, "1, 2, 1, 2"),
    ]
    assert [(c.name, c.used, c.seen) for c in shown[2:]] == [("empty", False, "")]
    assert len(columns_to_review(frame, inferred, limit=2)) == 2


def test_nothing_said_changes_nothing(frame: pd.DataFrame, inferred: FeatureSchema) -> None:
    shown = columns_to_review(frame, inferred, limit=9)
    assert reviewed_schema(frame, inferred, shown, shown) == inferred


def test_a_kind_is_corrected_and_a_column_left_out(frame: pd.DataFrame, inferred: FeatureSchema) -> None:
    shown = columns_to_review(frame, inferred, limit=9)
    wanted = [dataclasses.replace(shown[0], used=False), dataclasses.replace(shown[1], kind="categorical"), *shown[2:]]
    found = reviewed_schema(frame, inferred, shown, wanted)
    assert [(f.name, f.kind, f.categories) for f in found.features] == [("site", "categorical", ("1", "2"))]
    assert set(found.excluded) == {"empty", "x"}


def test_columns_that_were_not_shown_stay_as_inferred(frame: pd.DataFrame, inferred: FeatureSchema) -> None:
    shown = columns_to_review(frame, inferred, limit=1)
    found = reviewed_schema(frame, inferred, shown, [dataclasses.replace(shown[0], used=False)])
    assert found.names == ("site",)


def test_at_least_one_column_is_used(frame: pd.DataFrame, inferred: FeatureSchema) -> None:
    shown = columns_to_review(frame, inferred, limit=9)
    none: list[ColumnReview] = [dataclasses.replace(column, used=False) for column in shown]
    with pytest.raises(BadInput, match="No column is selected"):
        reviewed_schema(frame, inferred, shown, none)
