"""The Open Inference Protocol, held against the client that others speak it with."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import time
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import np_to_triton_dtype

from core.errors import BadInput, ContinualError, TooLarge
from core.http.open_inference import (
    InferenceRequest,
    Wanted,
    answer_infer,
    label_datatype,
    model_metadata,
    read_infer,
    server_metadata,
)
from core.http.problems import NotJson
from core.records import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    task="binary",
    target="failed",
    features=(
        Feature(name="temperature", kind="numeric"),
        Feature(name="site", kind="categorical", categories=("north", "süd")),
        Feature(name="indoor", kind="boolean"),
    ),
    classes=("no", "yes"),
)
NUMBERS = FeatureSchema(
    task="regression",
    target="y",
    features=tuple(Feature(name=name, kind="numeric") for name in ("a", "b", "c")),
)
ASKED = InferenceRequest("7", 2, {}, (), binary_default=True)


def tensor(name: str, values: np.ndarray, *, binary: bool = True) -> InferInput:
    """An input as a client makes it."""
    made = InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    return made.set_data_from_numpy(values, binary_data=binary)


def inputs(*, binary: bool = True) -> list[InferInput]:
    """Two rows of every feature, in another order than the schema's."""
    return [
        tensor("site", np.array(["süd", ""], dtype=object), binary=binary),
        tensor("indoor", np.array([[True], [False]]), binary=binary),
        tensor("temperature", np.array([1.5, -2.0]), binary=binary),
    ]


def asked(
    tensors: list[InferInput], schema: FeatureSchema = SCHEMA, outputs: list[InferRequestedOutput] | None = None
) -> InferenceRequest:
    """What is read of a client's request."""
    return read_infer(*InferenceServerClient.generate_request_body(tensors, outputs, request_id="7"), schema)


def one(values: np.ndarray, kind: Any = "numeric", *, binary: bool = True) -> list[Any]:
    """The column that is read of one tensor."""
    schema = FeatureSchema(task="regression", target="y", features=(Feature(name="x", kind=kind),))
    return asked([tensor("x", values, binary=binary)], schema).columns["x"]


def entry(name: str, datatype: str, data: Any, shape: Any = None, **more: Any) -> dict[str, Any]:
    """An input in JSON."""
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data, **more}


def document(**changes: Any) -> dict[str, Any]:
    """A request of one row in JSON; `changes` replace or add inputs, None removes them."""
    known = {
        "temperature": entry("temperature", "FP64", [1.0]),
        "site": entry("site", "BYTES", ["north"]),
        "indoor": entry("indoor", "BOOL", [True]),
    }
    return {"inputs": [value for value in {**known, **changes}.values() if value is not None]}


def refusal(request: Any, schema: FeatureSchema = SCHEMA, *, tail: bytes = b"") -> str:
    """The text that refuses a request."""
    header = json.dumps(request).encode()
    with pytest.raises(BadInput) as caught:
        read_infer(header + tail, len(header) if tail else None, schema)
    assert caught.value.problems
    return str(caught.value)


# --- metadata ---------------------------------------------------------------------------------------------------


def test_metadata_lists_inputs_and_outputs() -> None:
    assert server_metadata() == {"name": "continual-ml", "version": "0.1.0", "extensions": ["binary_tensor_data"]}
    assert model_metadata("pumps", 3, SCHEMA) == {
        "name": "pumps",
        "versions": ["3"],
        "platform": "continual-ml",
        "inputs": [
            {"name": "temperature", "datatype": "FP64", "shape": [-1]},
            {"name": "site", "datatype": "BYTES", "shape": [-1]},
            {"name": "indoor", "datatype": "BOOL", "shape": [-1]},
        ],
        "outputs": [
            {"name": "prediction", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]},
        ],
    }
    assert model_metadata("m", 1, NUMBERS)["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [
        ((), "FP64"),
        ((0, 1), "INT64"),
        ((False, True), "BOOL"),
        (("a", "b"), "BYTES"),
        ((0.5, 1), "FP64"),
        ((0, "b"), "BYTES"),
        ((True, 2), "BYTES"),
        ((1, 2**63), "BYTES"),
    ],
)
def test_predictions_have_the_datatype_of_the_classes(classes: tuple[Any, ...], datatype: str) -> None:
    assert label_datatype(classes) == datatype


# --- requests that are taken ------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False])
def test_a_clients_tensors_become_columns_in_the_schemas_order(binary: bool) -> None:
    request = asked(inputs(binary=binary))
    assert list(request.columns.items()) == [
        ("temperature", [1.5, -2.0]),
        ("site", ["süd", ""]),
        ("indoor", [True, False]),
    ]
    assert (request.id, request.rows, request.outputs, request.binary_default) == ("7", 2, (), True)
    assert request.matrix is None


def test_binary_and_json_tensors_may_stand_in_one_request() -> None:
    mixed = [inputs()[0], inputs(binary=False)[1], inputs()[2]]
    assert asked(mixed).columns == asked(inputs()).columns


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("binary", [True, False])
def test_every_numeric_datatype_is_read_exactly(dtype: str, binary: bool) -> None:
    limits = np.finfo(dtype) if dtype[0] == "f" else np.iinfo(dtype)
    values = np.array([limits.min, limits.max, 3], dtype=dtype)
    read = one(values, binary=binary)
    assert read == values.tolist()
    assert set(map(type, read)) == {float if dtype[0] == "f" else int}


def test_missing_values_are_nan_in_tensors_and_null_in_json() -> None:
    assert one(np.array([np.nan, 1.0], dtype=np.float16)) == [None, 1.0]
    signalling = np.array([0x7F800001], dtype=np.uint32).view(np.float32)
    assert one(signalling) == [None]
    request = document(
        temperature=entry("temperature", "INT8", [None]),
        site=entry("site", "BYTES", [None]),
        indoor=entry("indoor", "BOOL", [[None]], [1, 1]),
    )
    columns = read_infer(json.dumps(request).encode(), None, SCHEMA).columns
    assert columns == {"temperature": [None], "site": [None], "indoor": [None]}


def test_categories_may_be_whole_numbers_or_booleans() -> None:
    assert one(np.array([3, -4]), "categorical") == [3, -4]
    assert one(np.array([True, False]), "categorical") == ["true", "false"]
    assert one(np.array([True, False]), "categorical", binary=False) == ["true", "false"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_one_input_may_hold_all_numeric_features(dtype: str, binary: bool) -> None:
    values = np.arange(6, dtype=dtype).reshape(2, 3)
    request = asked([tensor("input", values, binary=binary)], NUMBERS)
    assert request.matrix is not None
    assert (request.rows, request.columns, request.matrix.dtype) == (2, {}, np.float64)
    assert np.array_equal(request.matrix, values)


@pytest.mark.parametrize("data", [[1, None, 3], [[1, None, 3]]])
def test_a_matrix_in_json_is_flat_or_nested(data: list[Any]) -> None:
    body = json.dumps({"inputs": [entry("input", "FP64", data, [1, 3])]}).encode()
    matrix = read_infer(body, None, NUMBERS).matrix
    assert np.array_equal(matrix, [[1, np.nan, 3]], equal_nan=True)


def test_a_feature_named_input_is_a_feature() -> None:
    schema = FeatureSchema(task="regression", target="y", features=(Feature(name="input", kind="numeric"),))
    request = asked([tensor("input", np.array([[1.0], [2.0]]))], schema)
    assert (request.columns, request.matrix) == ({"input": [1.0, 2.0]}, None)


def test_outputs_are_those_named_in_the_form_asked_for() -> None:
    wanted = [
        InferRequestedOutput("probabilities"),
        InferRequestedOutput("prediction", binary_data=False, class_count=1),
    ]
    request = asked(inputs(), outputs=wanted)
    assert request.outputs == (Wanted("probabilities", True), Wanted("prediction", False))
    default = {**document(), "outputs": [{"name": "prediction"}], "parameters": {"binary_data_output": True}}
    assert read_infer(json.dumps(default).encode(), None, SCHEMA).outputs == (Wanted("prediction", True),)


# --- requests that are refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "body is an empty list, expected an object with id"),
        ({}, "inputs is missing, expected a list"),
        ({"inputs": {}}, "inputs is an empty object"),
        ({"inputs": [3]}, "inputs[0] is 3"),
        ({"inputs": [{"name": None}]}, "inputs[0].name is null"),
        ({**document(), "id": 3}, "id is 3, expected text"),
        ({**document(), "outpus": []}, "'outputs'"),
        ({**document(), "parameters": []}, "parameters of the request is an empty list"),
        ({**document(), "parameters": {"binary_data_output": 1}}, "expected true or false"),
        ({**document(), "outputs": 1}, "outputs is 1"),
        ({**document(), "outputs": [{"name": "score"}]}, "'score', expected 'prediction', 'probabilities'"),
        ({**document(), "outputs": [{"name": "prediction"}] * 2}, "'prediction' twice"),
        (
            {**document(), "outputs": [{"name": "prediction", "parameters": {"shared_memory_region": "r"}}]},
            "shared_memory_region of output prediction is shared memory",
        ),
        (document(site=None), "input 'site' is missing, expected BYTES of shape [n]"),
        (
            document(more=entry("temperture", "FP64", [1.0])),
            "'temperture' is an unknown feature, expected 'temperature'",
        ),
        (document(more=entry("zzz", "FP64", [1.0])), "expected one of 'temperature', 'site', 'indoor'"),
        (document(more=entry("site", "BYTES", ["a"])), "input 'site' is present 2 times, expected once"),
        ({"inputs": [entry("input", "FP64", [1.0, 2.0, 3.0], [1, 3])]}, "these are not numeric: 'site', 'indoor'"),
        (document(site=entry("site", "BYTES", ["a", "b"])), "shape of input 'site' is 2 rows, expected 1"),
        (document(site=entry("site", "FP64", [1.0])), "datatype of input 'site' is 'FP64', expected BYTES or BOOL"),
        (document(indoor=entry("indoor", "INT64", [1])), "expected BOOL: the feature is boolean"),
        (document(temperature=entry("temperature", "BYTES", ["1"])), "the feature is numeric"),
        (document(temperature=entry("temperature", "BOOL", [True])), "is 'BOOL'"),
        (document(temperature=entry("temperature", "BF16", [1.0])), "is 'BF16'"),
        (document(temperature=entry("temperature", None, [1.0])), "is null"),
        (document(temperature=entry("temperature", "FP64", ["1"])), "rows[0].temperature is '1', expected a number"),
        (document(temperature=entry("temperature", "FP64", [True])), "rows[0].temperature is true"),
        (document(temperature=entry("temperature", "FP64", [[1.0]])), "rows[0].temperature is a list"),
        (document(temperature=entry("temperature", "INT8", [1.0])), "is 1.0, expected a whole number"),
        (document(temperature=entry("temperature", "INT8", [128])), "is 128, expected -128 to 127"),
        (document(temperature=entry("temperature", "UINT16", [-1])), "is -1, expected 0 to 65535"),
        (document(site=entry("site", "BYTES", [3])), "rows[0].site is 3, expected text"),
        (document(indoor=entry("indoor", "BOOL", [1])), "expected true, false or null"),
        (document(site=entry("site", "BYTES", "text", [1])), "data of input 'site' is 'text', expected a list"),
        (document(site={"name": "site", "datatype": "BYTES", "shape": [1]}), "is missing, expected a list"),
        (document(site=entry("site", "BYTES", [["a"], ["b"]], [1, 1])), "is a list of 2, expected 1"),
        (document(site=entry("site", "BYTES", [["a", "b"]], [1, 1])), "row 0 is a list of 2, expected a list of 1"),
        (
            document(site=entry("site", "BYTES", ["a"], [1], parameters=[])),
            "parameters of input 'site' is an empty list",
        ),
        (
            document(site=entry("site", "BYTES", ["a"], parameters={"shared_memory_region": "r"})),
            "shared_memory_region of input 'site' is shared memory",
        ),
        (
            document(site=entry("site", "BYTES", ["a"], parameters={"binary_data_size": 5})),
            "data and binary_data_size, expected only one of them",
        ),
        (document(site=entry("site", "BYTES", None, [1], parameters={"binary_data_size": 5})), "at most 0"),
        (document(site=entry("site", "BYTES", None, [1], parameters={"binary_data_size": -5})), "is -5"),
        (document(site=entry("site", "BYTES", None, [1], parameters={"binary_data_size": "5"})), "is '5'"),
    ],
)
def test_what_contradicts_the_protocol_or_the_schema_is_refused(request_: Any, words: str) -> None:
    assert words in refusal(request_)


@pytest.mark.parametrize(
    "shape", [[-1], [0], [1, 2], [1, 1, 1], ["1"], [1.0], [True], [2], "1", 10**6, {}, [], [10**30]]
)
def test_shapes_that_are_not_the_datas_are_refused(shape: Any) -> None:
    site = {"name": "site", "datatype": "BYTES", "shape": shape, "data": ["a"]}
    assert "input 'site'" in refusal(document(site=site))


@pytest.mark.parametrize("shape", [[3], [1, 2], [3, 1], [-1, 3], [0, 3], [1, 3, 1]])
def test_a_matrix_needs_a_row_a_question_and_a_column_a_feature(shape: list[int]) -> None:
    assert "expected [n, 3]" in refusal({"inputs": [entry("input", "FP64", [1.0, 2.0, 3.0], shape)]}, NUMBERS)


def test_more_rows_than_the_limit_are_refused_before_they_are_looked_for() -> None:
    body = json.dumps(document(temperature=entry("temperature", "FP64", [1.0], [10**15]))).encode()
    with pytest.raises(TooLarge, match="100,000"):
        read_infer(body, None, SCHEMA)


@pytest.mark.parametrize("length", [-1, 10**9])
def test_a_header_length_beyond_the_body_is_refused(length: int) -> None:
    with pytest.raises(BadInput, match="Inference-Header-Content-Length"):
        read_infer(json.dumps(document()).encode(), length, SCHEMA)


@pytest.mark.parametrize("body", [b"", b"{", b"[NaN]", b'{"id": "\xff"}', b"[" * 99])
def test_what_is_no_json_is_called_so(body: bytes) -> None:
    with pytest.raises(NotJson):
        read_infer(body, None, SCHEMA)


def test_binary_tensors_without_the_header_length_are_answered_with_what_is_missing() -> None:
    body, _ = InferenceServerClient.generate_request_body(inputs())
    with pytest.raises(NotJson, match="Inference-Header-Content-Length"):
        read_infer(body, None, SCHEMA)


def binary(name: str, datatype: str, shape: list[int], size: int) -> dict[str, Any]:
    """An input that claims a part of the tail."""
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(
    ("tail", "size", "words"),
    [
        (b"\1\0\0\0ab", 6, "is 6, expected 5, where the last text ends"),
        (b"\1\0\0\0ab", 5, "1 byte after the last tensor"),
        (b"\2\0\0\0a", 5, "rows[0].site is a text of 2 bytes, expected at most 1"),
        (b"\xff\xff\xff\xffa", 5, "a text of 4,294,967,295 bytes"),
        (b"\1\0\0\0\xff", 5, "invalid UTF-8"),
        (b"\1\0\0", 3, "expected at least 4"),
        (b"\1\0\0\0a", 6, "at most 5"),
    ],
)
def test_binary_texts_must_fill_their_tensor(tail: bytes, size: int, words: str) -> None:
    assert words in refusal(document(site=binary("site", "BYTES", [1], size)), tail=tail)


def test_the_second_text_may_not_begin_beyond_the_tensor() -> None:
    schema = FeatureSchema(task="regression", target="y", features=(Feature(name="x", kind="categorical"),))
    tail = b"\4\0\0\0abcd\0"
    assert "rows[1].x is a text" in refusal({"inputs": [binary("x", "BYTES", [2], 9)]}, schema, tail=tail)


@pytest.mark.parametrize(
    ("datatype", "tail", "words"),
    [
        ("FP64", bytes(7), "is 7, expected 8 for 1 value of FP64"),
        ("FP32", struct.pack("<f", float("inf")), "rows[0].temperature is infinity"),
        ("FP64", struct.pack("<d", float("-inf")), "rows[0].temperature is -infinity"),
        ("INT16", bytes(3), "expected 2"),
    ],
)
def test_binary_numbers_must_fill_their_tensor_and_be_finite(datatype: str, tail: bytes, words: str) -> None:
    temperature = binary("temperature", datatype, [1], len(tail))
    assert words in refusal(document(temperature=temperature), tail=tail)


def test_binary_booleans_are_zero_or_one() -> None:
    assert "rows[0].indoor is the byte 2" in refusal(document(indoor=binary("indoor", "BOOL", [1], 1)), tail=b"\2")


def test_an_infinite_number_of_a_matrix_is_named_by_row_and_feature() -> None:
    values = np.arange(6.0).reshape(2, 3)
    values[1, 2] = np.inf
    with pytest.raises(BadInput, match=r"rows\[1\]\.c is infinity"):
        asked([tensor("input", values)], NUMBERS)


# --- answers ----------------------------------------------------------------------------------------------------


def answered(request: InferenceRequest, **changes: Any) -> InferResult:
    """What a client reads of an answer."""
    given: dict[str, Any] = {"labels": ["no", "jä"], "probabilities": [[0.9, 0.1], [0.2, 0.8]], "classes": ("no", "jä")}
    body, length = answer_infer(request, name="pumps", version=3, **{**given, **changes})
    return InferenceServerClient.parse_response_body(body, header_length=length)


@pytest.mark.parametrize("binary_", [True, False])
def test_a_client_reads_the_answer(binary_: bool) -> None:
    request = InferenceRequest("7", 2, {}, (), binary_default=binary_)
    result = answered(request, parameters={"prediction_ids": "a,b"})
    reported = result.get_response()
    assert (reported["model_name"], reported["model_version"], reported["id"]) == ("pumps", "3", "7")
    assert reported["parameters"] == {"prediction_ids": "a,b"}
    labels = [v.decode() if binary_ else v for v in result.as_numpy("prediction")]
    assert labels == ["no", "jä"]
    assert result.as_numpy("probabilities").tolist() == [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize("binary_", [True, False])
@pytest.mark.parametrize(
    ("labels", "classes"),
    [([2, -1], (-1, 2)), ([True, False], (False, True)), ([0.5, 2.0], ()), ([0.5, 2], (0.5, 2))],
)
def test_labels_keep_their_type(labels: list[Any], classes: tuple[Any, ...], binary_: bool) -> None:
    request = InferenceRequest(None, 2, {}, (Wanted("prediction", binary_),), binary_default=False)
    result = answered(request, labels=labels, classes=classes, probabilities=None)
    assert result.as_numpy("prediction").tolist() == labels
    assert result.get_output("prediction")["datatype"] == label_datatype(classes)
    assert "id" not in result.get_response()


def test_outputs_come_in_the_order_and_form_asked_for() -> None:
    wanted = (Wanted("probabilities", True), Wanted("prediction", False))
    result = answered(InferenceRequest("7", 2, {}, wanted, binary_default=False), probabilities=np.eye(2))
    assert [output["name"] for output in result.get_response()["outputs"]] == ["probabilities", "prediction"]
    assert result.get_output("prediction")["data"] == ["no", "jä"]
    assert result.as_numpy("probabilities").tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_an_answer_without_binary_tensors_is_json_alone() -> None:
    plain = InferenceRequest(None, 1, {}, (), binary_default=False)
    body, length = answer_infer(plain, name="m", version=1, labels=[1.5], probabilities=None, classes=())
    assert length is None
    assert json.loads(body)["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [1], "data": [1.5]}]


def test_withheld_answers_are_nan_in_binary_numbers_and_null_elsewhere() -> None:
    nan = [[float("nan")] * 2, [0.2, 0.8]]
    numbers = answered(ASKED, labels=[None, 1.0], classes=(), probabilities=None)
    assert np.array_equal(numbers.as_numpy("prediction"), [np.nan, 1.0], equal_nan=True)
    texts = answered(ASKED, labels=[None, "jä"], probabilities=nan)
    assert texts.get_output("prediction")["data"] == [None, "jä"]
    assert np.array_equal(texts.as_numpy("probabilities"), nan, equal_nan=True)
    plain = InferenceRequest(None, 2, {}, (), binary_default=False)
    assert answered(plain, probabilities=nan).get_output("probabilities")["data"] == [None, None, 0.2, 0.8]
    assert answered(plain, labels=[None, 1], classes=(1,)).get_output("prediction")["data"] == [None, 1]


# --- hostile ----------------------------------------------------------------------------------------------------


def test_damaged_requests_raise_nothing_but_our_errors_and_quickly() -> None:
    rng = random.Random(7)
    bodies = [
        (*InferenceServerClient.generate_request_body(inputs(), request_id="7"), SCHEMA),
        (*InferenceServerClient.generate_request_body(inputs(binary=False)), SCHEMA),
        (*InferenceServerClient.generate_request_body([tensor("input", np.ones((2, 3), dtype=np.float32))]), NUMBERS),
    ]
    words = [
        b"null",
        b"-1",
        b"[]",
        b"{}",
        b"1e308",
        b"99999999999999999999",
        b'""',
        b"true",
        b"\xff\xff\xff\xff",
        b"[[1]]",
    ]
    refusals, taken, began = [], 0, time.process_time()
    for _ in range(400):
        body, length, schema = rng.choice(bodies)
        damaged = bytearray(body)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(damaged) + 1)
            damaged[at : at + rng.choice((0, 1, 2, 4, 8))] = rng.choice([*words, bytes([rng.randrange(256)]), b""])
        if length is not None and rng.random() < 0.3:
            length += rng.randint(-40, 40)
        try:
            request = read_infer(bytes(damaged), length, schema)
        except ContinualError as error:
            refusals.append(str(error))
        else:
            taken += 1
            assert all(len(column) == request.rows for column in request.columns.values())
    assert time.process_time() - began < 20
    assert taken
    assert refusals
    assert max(map(len, refusals)) < 2_000


@pytest.mark.parametrize("member", ["name", "shape", "datatype", "data", "parameters"])
@pytest.mark.parametrize(
    "value", [None, True, -1, 1.5, "x", [], {}, [None], [{}], {"binary_data_size": 1}, [[[]]], [1, 1]]
)
def test_any_value_in_any_member_is_taken_or_refused(member: str, value: Any) -> None:
    request = document(site={**entry("site", "BYTES", ["a"]), member: value})
    with contextlib.suppress(BadInput):
        assert read_infer(json.dumps(request).encode(), None, SCHEMA).rows == 1
