"""Many rows of one call as one block: they come back as they were, with ids of their own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.packed import pack
from core.errors import StorageError
from core.records import Feature, FeatureSchema
from core.services.serving import blocks

FEATURES = (
    Feature(name="size", kind="numeric"),
    Feature(name="colour", kind="categorical", categories=("blue", "red")),
    Feature(name="wet", kind="boolean", categories=("false", "true")),
)
COLUMNS: list[Any] = [np.array([1.5, np.nan, -3.0]), ["red", None, "grün"], ["true", "false", None]]


def schema(classes: tuple[Any, ...]) -> FeatureSchema:
    return FeatureSchema(task="binary" if classes else "regression", target="y", features=FEATURES, classes=classes)


def test_rows_and_answers_of_classes_come_back() -> None:
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    said = {1: {"action": "abstain", "answer": None, "hits": []}, 2: {"action": "warn", "answer": "no", "hits": []}}
    block = blocks.read(blocks.write(schema(("no", "yes")), COLUMNS, ("no", "yes"), np.array([0, 1, 0]), chances, said))
    assert block.names == ("size", "colour", "wet") and block.classes == ("no", "yes")
    assert block.labels() == ["no", "yes", "no"] and block.answered() == ["no", None, "no"]
    np.testing.assert_array_equal(block.probabilities, chances)  # type: ignore[arg-type]
    assert block.guarded == said
    assert block.features() == [
        {"size": 1.5, "colour": "red", "wet": "true"},
        {"size": None, "colour": None, "wet": "false"},
        {"size": -3.0, "colour": "grün", "wet": None},
    ]


def test_an_override_is_what_was_answered_and_the_models_word_is_kept() -> None:
    said = {0: {"action": "override", "answer": "no", "hits": []}}
    chances = np.array([[0.1, 0.9]] * 3)
    block = blocks.read(blocks.write(schema(("no", "yes")), COLUMNS, ("no", "yes"), np.ones(3), chances, said))
    assert block.labels() == ["yes"] * 3 and block.answered() == ["no", "yes", "yes"]


@pytest.mark.parametrize("classes", [(0, 1), (False, True)])
def test_classes_keep_their_type(classes: tuple[Any, ...]) -> None:
    block = blocks.read(blocks.write(schema(classes), COLUMNS, classes, np.array([0, 1, 1]), np.full((3, 2), 0.5), {}))
    assert block.labels() == [classes[0], classes[1], classes[1]]
    assert all(type(label) is type(classes[0]) for label in block.labels())


def test_values_of_a_regression_come_back_exactly() -> None:
    values = np.array([0.1, -1e300, 5e-324])
    block = blocks.read(blocks.write(schema(()), COLUMNS, (), values, None, {}))
    assert block.labels() == values.tolist() == block.answered() and block.probabilities is None


def test_columns_that_are_parts_of_a_matrix_are_written_in_their_order() -> None:
    numeric = FeatureSchema(task="regression", target="y", features=(FEATURES[0], Feature(name="b", kind="numeric")))
    matrix = np.arange(6.0).reshape(3, 2)
    block = blocks.read(blocks.write(numeric, list(matrix.T), (), np.zeros(3), None, {}))
    assert block.features() == [{"size": 0.0, "b": 1.0}, {"size": 2.0, "b": 3.0}, {"size": 4.0, "b": 5.0}]


@given(st.text(max_size=20), st.integers(0, 9_999_999))
def test_an_id_names_its_block_and_its_place(base: str, place: int) -> None:
    found = blocks.base_of(blocks.row_id(base, place))
    assert found == ((base, place) if base else None)


@pytest.mark.parametrize("name", ["", "a7", "a.b", "a.", ".5", "a.-1", "a.1e3", "a.12345678", "a.٣"])
def test_other_ids_name_no_block(name: str) -> None:
    assert blocks.base_of(name) is None


def test_damaged_blocks_are_refused() -> None:
    data = blocks.write(schema(()), COLUMNS, (), np.zeros(3), None, {})
    with pytest.raises(StorageError):
        blocks.read(data[:-1])
    with pytest.raises(StorageError):
        blocks.read(pack({"names": ["size"]}, {}))


def test_a_block_of_ten_thousand_rows_is_not_much_larger_than_its_numbers(now: datetime) -> None:
    n = 10_000
    numeric = tuple(Feature(name=f"f{j}", kind="numeric") for j in range(20))
    wide = FeatureSchema(task="binary", target="y", features=numeric, classes=("no", "yes"))
    x = [np.random.default_rng(j).normal(size=n) for j in range(20)]
    data = blocks.write(wide, x, wide.classes, np.zeros(n), np.full((n, 2), 0.5), {})
    assert n * 23 * 8 < len(data) < n * 23 * 8 + 2_000
