"""The slices on which a challenger is held against its rival, over columns as real tables have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.learning import comparing
from core.records import Feature, FeatureSchema


def slices_of(column: Any, kind: Any = "categorical") -> dict[str, list[bool]]:
    """What the conditions on a single feature `c` choose."""
    schema = FeatureSchema(task="binary", target="y", features=(Feature(name="c", kind=kind),), classes=("no", "yes"))
    found = comparing._slices(pd.DataFrame({"c": column}), schema)
    return {rule: inside.tolist() for rule, inside in found}


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA])
@pytest.mark.parametrize("dtype", ["str", "object", "category"])
def test_a_missing_cell_in_a_text_column_is_a_slice_of_its_own(gap: Any, dtype: str) -> None:
    found = slices_of(pd.Series(["red", gap, "blue", "red"], dtype=dtype))
    assert found == {
        "c is missing": [False, True, False, False],
        "c = red": [True, False, False, True],
        "c = blue": [False, False, True, False],
    }


def test_missing_numbers_are_a_slice_and_in_neither_half() -> None:
    found = slices_of([1.0, np.nan, 3.0, 2.0], "numeric")
    assert found == {
        "c is missing": [False, True, False, False],
        "c at most 2": [True, False, False, True],
        "c above 2": [False, False, True, False],
    }


@pytest.mark.parametrize("kind", ["numeric", "categorical", "boolean"])
@pytest.mark.parametrize(
    "column", [[np.nan] * 3, pd.Series([None] * 3, dtype="str"), pd.Series([None] * 3, dtype=object)]
)
def test_a_column_without_any_value_has_one_slice(column: Any, kind: str) -> None:
    assert slices_of(column, kind) == {"c is missing": [True] * 3}


def test_booleans_with_gaps_are_named_as_they_are_written() -> None:
    found = slices_of(pd.Series(["true", None, "false"], dtype="str"), "boolean")
    assert list(found) == ["c is missing", "c = false", "c = true"]


def test_a_challenger_that_loses_where_a_value_is_missing_is_called_so() -> None:
    """The one slice in which it loses every row is named; the others show nothing."""
    gone = np.arange(60) < 20
    X = pd.DataFrame({"c": pd.Series([None if g else "red" for g in gone], dtype="str")})
    schema = FeatureSchema(
        task="binary", target="y", features=(Feature(name="c", kind="categorical"),), classes=("no", "yes")
    )
    worst = comparing._worst_slice(X, np.where(gone, 0.0, 1.0), np.ones(60), schema)
    assert worst is not None
    assert (worst.rule, worst.n, worst.losses, worst.wins) == ("c is missing", 20, 20, 0)


def test_the_worst_slice_is_the_one_that_chance_explains_least() -> None:
    """Nine losses in a half of fifty (p = .004) weigh more than four in sixteen rows (p = .125)."""
    x = np.arange(100.0)
    rare = (x >= 50) & (x < 66)
    X = pd.DataFrame({"x": x, "c": pd.Series(np.where(rare, "rare", "common"), dtype="str")})
    schema = FeatureSchema(
        task="binary", target="y", features=(Feature(name="x", kind="numeric"), Feature(name="c", kind="categorical"))
    )
    lost = (x < 9) | ((x >= 50) & (x < 54))
    worst = comparing._worst_slice(X, np.where(lost, 0.0, 1.0), np.ones(100), schema)
    assert worst is not None
    assert (worst.rule, worst.losses, worst.tried) == ("x at most 49.5", 9, 4)
    assert worst.p == pytest.approx(2 / 2**9)
