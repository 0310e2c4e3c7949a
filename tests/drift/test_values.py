"""Columns of any type as numbers or as counts, and what is refused by name."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from core.drift import values
from core.drift.values import Counts, Unfit, counts_of, numbers_of, table_of


def objects(*cells: Any) -> pd.Series:
    return pd.Series(cells, dtype=object)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([1.5, np.nan, np.inf]), [1.5, np.inf]),
        (pd.Series([1, 2]), [1.0, 2.0]),
        (pd.Series([1.5, np.nan], dtype="float32"), [1.5]),
        (pd.Series([1, None], dtype="Int64"), [1.0]),
        (pd.Series([1.5, None], dtype=pd.ArrowDtype(pa.float64())), [1.5]),
        (pd.Series([Decimal("1.5"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))), [1.5]),
        (pd.Series([3, 4], dtype="category"), [3.0, 4.0]),
        (objects(Decimal("1.5"), None, 2), [1.5, 2.0]),
        (pd.Series(["1.5", None, "-2"], dtype="str"), [1.5, -2.0]),
        (objects(None, None), []),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_numbers_of_any_type_become_doubles_without_the_missing_ones(column: pd.Series, expected: list[float]) -> None:
    found = numbers_of(column)
    assert found.rows == len(column) and found.known == len(expected)
    assert found.values.dtype == np.float64 and found.values.tolist() == expected


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pd.Series(["east", "west"], dtype="str"), "text where numbers were expected"),
        (objects(1.5, "two", 3), "mixed types: 1 of 3 values are not numbers"),
        (pd.Series([True, False]), "bool where numbers were expected"),
        (pd.Series([True, None], dtype="boolean"), "boolean where numbers were expected"),
        (pd.Series([1 + 2j]), "complex128 where numbers were expected"),
        (pd.Series(pd.date_range("2026-01-01", periods=2)), "where numbers were expected"),
        (objects([1], {"a": 2}), "text where numbers were expected"),
        (objects(10**400, 1), "outside the range of doubles"),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_what_is_no_number_is_refused_with_what_was_seen(column: pd.Series, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        numbers_of(column)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series(["b", "a", None, "b"], dtype="str"), {"a": 1, "b": 2}),
        (pd.Series(["b", None], dtype="category"), {"b": 1}),
        (pd.Series(["b", None], dtype=pd.ArrowDtype(pa.string())), {"b": 1}),
        (pd.Series([True, False, True]), {"true": 2, "false": 1}),
        (pd.Series([True, None], dtype="boolean"), {"true": 1}),
        (pd.Series([1.0, 2.5, np.nan]), {"1": 1, "2.5": 1}),
        (pd.Series([1, None], dtype="Int64"), {"1": 1}),
        (objects(1, "1", 1.0, True, "true", None), {"1": 3, "true": 2}),
        (objects([1], [1], None), {"[1]": 2}),
        (objects(datetime.date(2026, 1, 2)), {"2026-01-02": 1}),
        (objects(None), {}),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_categories_are_counted_by_the_text_that_a_file_would_hold(column: pd.Series, expected: dict[str, int]) -> None:
    found = counts_of(column)
    assert found.counts == expected and found.rows == len(column) and found.distinct == len(expected)
    assert found.known == int(column.notna().sum())


def test_categories_without_a_row_are_not_counted() -> None:
    column = pd.Series(pd.Categorical(["a", "a"], categories=["a", "never"]))
    assert counts_of(column).counts == {"a": 2}


def test_more_different_texts_than_anyone_names_are_reported_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MOST_CATEGORIES", 5)
    found = counts_of(pd.Series([*"abcdef", None], dtype="str"))
    assert found.counts == {} and (found.other, found.distinct, found.known, found.rows) == (6, 6, 6, 7)


def test_a_table_has_the_categories_of_both_sides_in_order() -> None:
    names, table = table_of(Counts(5, {"b": 3, "a": 2}), Counts(4, {"c": 1, "a": 3}))
    assert names == ("a", "b", "c") and table.tolist() == [[2, 3, 0], [3, 0, 1]]


def test_what_one_side_did_not_name_is_taken_together() -> None:
    reference, current = Counts(10, {"a": 4, "b": 3}, other=2), Counts(6, {"a": 2, "c": 1, "": 1})
    names, table = table_of(reference, current)
    assert names == ("a", "b", "") and table.tolist() == [[4, 3, 2], [2, 0, 2]]
    assert table.sum(axis=1).tolist() == [reference.known, current.known]


def test_two_empty_columns_make_an_empty_table() -> None:
    names, table = table_of(Counts(3, {}), Counts(0, {}))
    assert names == () and table.shape == (2, 0)
