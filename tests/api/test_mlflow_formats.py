"""The bodies of MLflow's scoring server, as its own helpers and pandas write them."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import BadInput, ContinualError, TooLarge
from core.http.mlflow_formats import rows_of, rows_of_csv

NAMES = ("temperature", "site")
ROWS = [{"temperature": 1.5, "site": "north"}, {"temperature": -2.0, "site": "süd"}]
FRAME = pd.DataFrame(ROWS)


def of_csv(text: str | bytes) -> list[dict[str, Any]]:
    """Rows of a CSV body whose temperature is numeric."""
    body = text.encode() if isinstance(text, str) else text
    return rows_of_csv(body, NAMES, numeric=frozenset({"temperature"}))


# --- JSON -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_split": FRAME.to_dict(orient="split")},
        {"dataframe_split": {"columns": ["site", "temperature"], "data": [["north", 1.5], ["süd", -2.0]]}},
        {"dataframe_split": {"data": [[1.5, "north"], [-2.0, "süd"]]}},
        {"dataframe_records": FRAME.to_dict(orient="records")},
        {"instances": ROWS},
        {"instances": [[1.5, "north"], [-2.0, "süd"]]},
        {"inputs": FRAME.to_dict(orient="list")},
        {"inputs": [[1.5, "north"], [-2.0, "süd"]]},
        {"inputs": ROWS, "params": {}},
        {"inputs": ROWS, "params": None},
    ],
)
def test_every_form_becomes_the_same_rows(document: Any) -> None:
    assert rows_of(document, NAMES) == ROWS


def test_what_mlflows_own_client_dumps_is_read() -> None:
    from mlflow.pyfunc.scoring_server.client import dump_input_data

    assert rows_of(json.loads(dump_input_data(FRAME)), NAMES) == ROWS
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert rows_of(json.loads(dump_input_data(values)), ("a", "b")) == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]
    assert rows_of(json.loads(dump_input_data([[1.5, "north"]])), NAMES) == ROWS[:1]
    with pytest.raises(BadInput, match="params"):
        rows_of(json.loads(dump_input_data(FRAME, params={"temperature": 0.5})), NAMES)


def test_scalars_are_rows_of_a_single_feature_and_columns_of_one_row() -> None:
    assert rows_of({"instances": [1, None]}, ("a",)) == [{"a": 1}, {"a": None}]
    assert rows_of({"inputs": [[1], [2]]}, ("a",)) == [{"a": 1}, {"a": 2}]
    assert rows_of({"inputs": {"temperature": 1.5, "site": ["north"]}}, NAMES) == ROWS[:1]


@pytest.mark.parametrize("content", [{"data": []}, {"columns": ["x"], "data": [], "index": []}])
def test_no_rows_are_no_rows(content: Any) -> None:
    assert rows_of({"dataframe_split": content}, NAMES) == []
    assert rows_of({"instances": []}, NAMES) == rows_of({"inputs": {}}, NAMES) == []


def test_names_and_values_are_left_to_a_later_step() -> None:
    odd = [{"x": {"y": [1]}}]
    assert rows_of({"dataframe_records": odd}, NAMES) == odd


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "body is null, expected an object with one of dataframe_split"),
        ([1], "body is a list of 1"),
        ({}, "an object with none, expected exactly one of dataframe_split, dataframe_records, instances, inputs"),
        ({"params": {}}, "an object with none"),
        ({"rows": []}, "an object with 'rows'"),
        ({"inputs": [], "instances": []}, "an object with 'inputs', 'instances'"),
        ({"inputs": [], "signature_name": "x"}, "'signature_name'"),
        ({"inputs": [], "params": {"n": 1}}, "params is an object, expected none"),
        ({"dataframe_split": []}, "dataframe_split is an empty list"),
        ({"dataframe_split": {}}, "dataframe_split.data is missing"),
        ({"dataframe_split": {"data": 3}}, "dataframe_split.data is 3"),
        ({"dataframe_split": {"data": [], "column": []}}, "'column', expected columns, data, index only"),
        ({"dataframe_split": {"data": [], "columns": "ab"}}, "columns is 'ab'"),
        ({"dataframe_split": {"data": [], "columns": [1]}}, "expected a list of names"),
        ({"dataframe_split": {"data": [], "columns": ["a", "a"]}}, "'a' twice"),
        (
            {"dataframe_split": {"data": [[1, "a"], [1]]}},
            "dataframe_split.data[1] is a list of 1, expected a list of 2",
        ),
        ({"dataframe_split": {"data": [[1]], "columns": ["a", "b"]}}, "expected a list of 2: 'a', 'b'"),
        ({"dataframe_records": {}}, "dataframe_records is an empty object, expected a list of rows"),
        ({"dataframe_records": [{}, [1]]}, "dataframe_records[1] is a list of 1"),
        ({"instances": {"site": ["a"]}}, "instances is an object, expected a list of rows"),
        ({"instances": [1, 2]}, "instances[0] is 1, expected a list of 2: 'temperature', 'site'"),
        ({"instances": [[1, "a"], {}]}, "instances[1] is an empty object"),
        ({"instances": [{}, True]}, "instances[1] is true"),
        ({"inputs": "text"}, "inputs is 'text'"),
        ({"inputs": {"temperature": [1, 2], "site": ["a"]}}, "inputs.site is 1 value, expected 2, as in 'temperature'"),
    ],
)
def test_other_shapes_are_refused_with_what_was_seen(document: Any, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        rows_of(document, NAMES)
    assert words in str(caught.value)
    assert caught.value.problems


def test_a_list_among_scalars_is_named() -> None:
    with pytest.raises(BadInput, match=r"instances\[2\] is a list of 1, expected a single value"):
        rows_of({"instances": [1, 2, [3]]}, ("a",))


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_split": {"data": [[]] * 100_001}},
        {"dataframe_records": [{}] * 100_001},
        {"instances": [0] * 100_001},
        {"inputs": {"temperature": [0] * 100_001}},
    ],
)
def test_too_many_rows_are_refused(document: Any) -> None:
    with pytest.raises(TooLarge, match="100,001 rows"):
        rows_of(document, NAMES)


# --- CSV --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_pandas_writes_is_read(encoding: str, newline: str) -> None:
    text = FRAME.to_csv(index=False, lineterminator=newline)
    assert of_csv(text.encode(encoding)) == ROWS


def test_empty_cells_are_missing_and_blank_lines_no_rows() -> None:
    rows = of_csv('temperature,site\n,\n\nNaN,NA\n 2 ,"a, ""b""\nc"\n')
    assert rows == [
        {"temperature": None, "site": None},
        {"temperature": None, "site": "NA"},
        {"temperature": 2.0, "site": 'a, "b"\nc'},
    ]
    assert of_csv("temperature,site\n") == []


def test_unknown_and_missing_columns_are_left_to_a_later_step() -> None:
    assert of_csv("temperature,colour\n1,7\n") == [{"temperature": 1.0, "colour": "7"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "body is empty, expected CSV with a header: 'temperature', 'site'"),
        ("\n\n", "body is empty"),
        ("1.5,north\n2,south\n", "header is '1.5', 'north', expected the names of the columns"),
        ("temperature,temperature\n1,2\n", "'temperature' twice"),
        ("temperature,site\n1,a\n2\n", "line 3 is 1 cell, expected 2"),
        ("temperature,site\n1,a,b\n", "line 2 is 3 cells"),
        ("temperature,site\n1,a\nwarm,b\n", "line 3, column 'temperature' is 'warm', expected a finite number"),
        ("temperature,site\n1_000,a\n", "'1_000'"),
        ("temperature,site\ninf,a\n", "'inf'"),
        ('temperature,site\n1,"a', "not CSV"),
        ('temperature,site\n1,"a"b\n', "line 2 is not CSV"),
        (b"temperature,site\n1,s\xfcd\n", "body is not UTF-8 at byte 20"),
    ],
)
def test_broken_csv_is_refused_with_line_and_column(text: str | bytes, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        of_csv(text)
    assert words in str(caught.value)
    assert caught.value.problems


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(TooLarge, match="100,001 rows"):
        of_csv("temperature,site\n" + "1,a\n" * 100_001)


# --- hostile ----------------------------------------------------------------------------------------------------


def _anything(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value with keys that the forms know."""
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind < 5:
        return rng.choice([None, True, 1, -1.5, "site", ""])
    if kind < 7:
        return [_anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = ("dataframe_split", "dataframe_records", "instances", "inputs", "columns", "data", "index", "site", "params")
    return {rng.choice(keys): _anything(rng, depth + 1) for _ in range(rng.randrange(3))}


def test_any_document_is_rows_or_refused() -> None:
    rng = random.Random(3)
    refused, taken, began = 0, 0, time.process_time()
    for _ in range(2_000):
        form = rng.choice(["dataframe_split", "dataframe_records", "instances", "inputs"])
        content = {"columns": _anything(rng, 1), "data": _anything(rng, 1)} if rng.random() < 0.3 else _anything(rng)
        try:
            rows = rows_of({form: content}, NAMES[: rng.randint(1, 2)])
        except BadInput:
            refused += 1
        else:
            taken += 1
            assert all(isinstance(row, dict) for row in rows)
    assert time.process_time() - began < 20
    assert taken > 100
    assert refused > 100


def test_damaged_csv_raises_nothing_but_our_errors() -> None:
    rng = random.Random(5)
    body = FRAME.to_csv(index=False).encode()
    refusals, taken, began = [], 0, time.process_time()
    for _ in range(400):
        damaged = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged) + 1)
            word = rng.choice(
                [b'"', b",", b"\r", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"", bytes([rng.randrange(256)])]
            )
            damaged[at : at + rng.randrange(4)] = word
        try:
            rows = of_csv(bytes(damaged))
        except ContinualError as error:
            refusals.append(str(error))
        else:
            taken += 1
            assert len({tuple(row) for row in rows}) <= 1
    assert time.process_time() - began < 20
    assert taken
    assert refusals
    assert max(map(len, refusals)) < 2_000
