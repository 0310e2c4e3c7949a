"""Bodies that do not fit: the right status, and where, what was seen and what was expected; nothing is stored."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from api_helpers import ADMIN, INFER, ROW, arrow, input_of, is_problem, npy

ARROW = {**ADMIN, "Content-Type": "application/vnd.apache.arrow.stream"}
NPY = {**ADMIN, "Content-Type": "application/x-npy"}
JSON = {**ADMIN, "Content-Type": "application/json"}
BIG = "9" * 400
JSON_BODIES: list[tuple[bytes, int, str | None]] = [
    (b"", 400, None),
    (b"   ", 400, None),
    (b"{", 400, None),
    (b'{"feature1": 1,}', 400, None),
    (b'{"feature1": NaN, "feature2": 1}', 400, None),
    (b'{"feature1": Infinity, "feature2": 1}', 400, None),
    (b'{"feature1": -Infinity, "feature2": 1}', 400, None),
    (b'{"feature1": 1e400, "feature2": 1}', 400, None),
    (f'{{"feature1": {BIG}, "feature2": 1}}'.encode(), 400, None),
    (b"\xff\xfe{}", 400, None),
    (b'\xef\xbb\xbf{"feature1": 1, "feature2": 1}', 400, None),
    (b"[" * 100_000, 400, None),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, None),
    (b"[" * 33 + b"]" * 33, 400, None),
    (b"null", 422, "body"),
    (b"[]", 422, "body"),
    (b"3", 422, "body"),
    (b'"text"', 422, "body"),
    (b"{}", 422, "feature1"),
    (b'{"feature1": 1}', 422, "feature2"),
    (b'{"feature1": 1, "feature2": 2, "feature3": 3}', 422, "feature3"),
    (b'{"feature1": 1, "Feature2": 2}', 422, "feature2"),
    (b'{"feature1": "1", "feature2": 2}', 422, "feature1"),
    (b'{"feature1": true, "feature2": 2}', 422, "feature1"),
    (b'{"feature1": [1], "feature2": 2}', 422, "feature1"),
    (b'{"feature1": {}, "feature2": 2}', 422, "feature1"),
    (b'{"feature1": 1, "feature2": 2, "target": 1}', 422, "target"),
    (b'{"feature1": 1, "feature1": 1, "feature2": 2}', 422, "feature1"),
    (b'{"feature1": 1, "feature1" :2, "feature2": 2, "_time": "2026-01-01T10:00:00Z"}', 422, "feature1"),
    (b'{"rows": [{"feature1": 1, "feature2": 2, "feature2": 3}]}', 422, "rows[0].feature2"),
    (b'{"rows": [], "rows": [{"feature1": 1, "feature2": 2}]}', 422, "rows"),
    (b'{"rows": []}', 422, "rows"),
    (b'{"rows": {}}', 422, "rows"),
    (b'{"rows": null}', 422, "rows"),
    (b'{"rows": [3]}', 422, "rows[0]"),
    (b'{"rows": [{"feature1": 1, "feature2": 1}], "more": 1}', 422, "more"),
    (b'{"rows": [{"feature1": 1, "feature2": 1}, {"feature1": 1, "feature2": "x"}]}', 422, "rows[1].feature2"),
    (b'{"rows": [{"feature1": 1, "feature2": 1, "_id": ""}]}', 422, "rows[0]._id"),
    (b'{"rows": [{"feature1": 1, "feature2": 1, "_id": [1]}]}', 422, "rows[0]._id"),
    (b'{"rows": [{"feature1": 1, "feature2": 1, "_time": "soon"}]}', 422, "rows[0]._time"),
    (b'{"feature1": 1e308, "feature2": 1.7e308}', 422, "feature2"),
]


@pytest.mark.parametrize(("body", "status", "field"), JSON_BODIES, ids=[str(i) for i in range(len(JSON_BODIES))])
def test_bad_json_is_refused_and_its_field_named(
    shared: httpx.Client, body: bytes, status: int, field: str | None
) -> None:
    document = is_problem(shared.post("/predict", content=body, headers=JSON), status)
    if field is not None:
        assert field in [e["field"] for e in document["errors"]]


def test_a_misnamed_feature_is_answered_with_the_nearest_name(shared: httpx.Client) -> None:
    document = is_problem(shared.post("/predict", json={"feature1": 1, "featur2": 2}, headers=ADMIN), 422)
    assert {"field": "featur2", "seen": "an unknown feature", "expected": "'feature2'"} in document["errors"]


def test_one_bad_row_stores_none(client: httpx.Client) -> None:
    rows = [ROW, ROW, ROW, {"feature1": "x", "feature2": 1}]
    document = is_problem(client.post("/predict", json={"rows": rows}, headers=ADMIN), 422)
    assert document["errors"][0]["field"] == "rows[3].feature1"
    assert client.get("/predictions", headers=ADMIN).json()["predictions"] == []


def test_bad_tables_are_refused(shared: httpx.Client) -> None:
    good = pd.DataFrame([ROW])
    whole = arrow(good)
    for body, status in [
        (b"", 422),
        (b"nonsense", 415),
        (whole[: len(whole) // 2], 415),
        (whole[:8] + b"\xff" * 40 + whole[48:], 415),
        (arrow(good.rename(columns={"feature1": "featureI"})), 422),
        (arrow(good[["feature1"]]), 422),
        (arrow(good.assign(extra=1)), 422),
        (arrow(good.assign(feature1="x")), 422),
        (arrow(good.iloc[:0]), 422),
        (arrow(pd.DataFrame({"feature1": np.zeros(100_001), "feature2": 0.0})), 413),
    ]:
        answer = shared.post("/predict", content=body, headers=ARROW)
        is_problem(answer, status)
    claims = npy(np.zeros((1, 2))).replace(b"(1, 2)", b"(9999999999999, 2)".ljust(6))
    for body in [
        b"",
        b"nonsense",
        npy(np.zeros((3, 5))),
        npy(np.zeros(3)),
        npy(np.zeros((0, 2))),
        npy(np.zeros((2, 2, 2))),
        npy(3.0),
        npy([["a", "b"]]),
        npy(np.zeros((1, 2), dtype=complex)),
        npy(np.zeros((4, 2)))[:-8],
        claims,
        b"\x93NUMPY\x01\x00\x10\x00" + b"{'descr': 'O',  }",
    ]:
        is_problem(shared.post("/predict", content=body, headers=NPY), 422)
    assert shared.post("/predict", content=whole, headers=ARROW).status_code == 200


def test_a_column_whose_name_is_no_text_is_reported_as_damage(shared: httpx.Client) -> None:
    good = pd.DataFrame([ROW]).assign(target=1)
    for kind, whole in (("application/vnd.apache.parquet", good.to_parquet()), (ARROW["Content-Type"], arrow(good))):
        body = whole.replace(b"feature1", b"fea\xd9ure1")
        assert body != whole
        for path in ("/batches", "/batches?mode=score"):
            is_problem(shared.post(path, content=body, headers={**ADMIN, "Content-Type": kind}), 415)


def test_types_that_a_route_cannot_read_are_415(shared: httpx.Client) -> None:
    for path, kind in [
        ("/predict", "text/csv"),
        ("/predict", "application/vnd.apache.parquet"),
        ("/labels", "application/vnd.apache.arrow.stream"),
        ("/generate", "text/csv"),
        ("/retrain", "application/x-npy"),
        ("/batches", "application/json"),
        ("/batches", "application/x-npy"),
    ]:
        is_problem(shared.post(path, content=b"x", headers={**ADMIN, "Content-Type": kind}), 415)


def test_a_form_is_415_and_says_how_a_file_is_sent(shared: httpx.Client) -> None:
    for path in ("/predict", "/labels", "/invocations", "/batches", "/batches?mode=score"):
        form = {"file": ("rows.csv", b"feature1,feature2\n1,2\n")}
        detail = is_problem(shared.post(path, files=form, headers=ADMIN), 415)["detail"]
        assert "Send the file itself as the body: `curl --data-binary @FILE`" in detail, path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/predict", 'expected one row as an object of features, or {"rows": [...]}'),
        ("/explain", "expected an object of features"),
        ("/labels", "expected an object with labels, replace"),
        ("/generate", "expected an object with rows, features, "),
        ("/retrain", "expected an object with force"),
        ("/invocations", "expected an object with one of dataframe_split, dataframe_records, instances, inputs"),
        (INFER, "expected an object with id, model_name, "),
    ],
)
def test_a_document_that_is_no_object_is_named_with_what_is_expected(
    shared: httpx.Client, path: str, expected: str
) -> None:
    for body, seen in ((b"[]", "an empty list"), (b"[{}]", "a list of 1"), (b"null", "null"), (b"true", "true")):
        answer = shared.post(path, content=body, headers=JSON)
        assert answer.status_code == 422
        assert f"body is {seen}, {expected}" in answer.json()["error" if path == INFER else "detail"], path


def test_rows_that_are_no_list_are_named(shared: httpx.Client) -> None:
    for rows, seen in (({}, "an empty object"), (ROW, "an object"), ("x", "'x'"), (None, "null")):
        document = is_problem(shared.post("/predict", json={"rows": rows}, headers=ADMIN), 422)
        assert document["detail"] == f"The rows are not valid: rows is {seen}, expected a list of objects."


JSON_ROUTES = ["/predict", "/labels", "/generate", "/retrain", "/explain", "/invocations", INFER]
TABLE_ROUTES = ["/batches", "/batches?mode=score"]
NO_JSON = [
    b"{",
    b"nonsense",
    b"\xff\xfe{}",
    b'{"rows": NaN}',
    b'{"rows": -Infinity}',
    b'{"rows": 1e400}',
    b"[" * 10_000 + b"]" * 10_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
]


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize("number", range(len(NO_JSON)))
def test_what_is_no_json_is_400_on_every_route(shared: httpx.Client, path: str, number: int) -> None:
    detail = is_problem(shared.post(path, content=NO_JSON[number], headers=JSON), 400)["detail"]
    assert "not JSON" in detail or "nested more than 32 levels" in detail


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize("body", [b"[1]", b"3", b'"text"', b"null"])
def test_json_of_another_kind_is_422_on_every_route(shared: httpx.Client, path: str, body: bytes) -> None:
    assert is_problem(shared.post(path, content=body, headers=JSON), 422)["detail"]


# Route, Content-Type, body, what the answer says: the place, what is there or what was meant.
UNFIT: list[tuple[str, str, Any, list[str]]] = [
    ("/invocations", "application/json", {"instances": [[1]]}, ["instances[0]", "a list of 2: 'feature1', 'feature2'"]),
    ("/invocations", "application/json", {"inputs": {"feature1": [1]}}, ["feature2 is missing"]),
    ("/invocations", "application/json", {"instances": [["x", 2]]}, ["feature1 is 'x'", "a finite number or null"]),
    ("/invocations", "application/json", {"dataframe_records": [{**ROW, "x": 3}]}, ["x is an unknown feature"]),
    (
        "/invocations",
        "application/json",
        {"dataframe_records": [{"feature1": 1, "featur2": 2}]},
        ["expected 'feature2'"],
    ),
    ("/invocations", "application/json", {"instances": [], "inputs": []}, ["exactly one of"]),
    ("/invocations", "text/csv", "feature1,featur2\n1,2\n", ["expected 'feature2'"]),
    ("/invocations", "text/csv", "feature1,feature2\n1\n", ["line 2", "1 cell"]),
    ("/invocations", "text/csv", "feature1,feature2\n1,x\n", ["line 2", "'x'"]),
    ("/explain", "application/json", {"feature1": 1}, ["feature2 is missing"]),
    ("/explain", "application/json", {"feature1": 1, "featur2": 2}, ["expected 'feature2'"]),
    ("/explain", "application/json", {**ROW, "x": 3}, ["x is an unknown feature"]),
    ("/explain", "application/json", {**ROW, "feature1": "x"}, ["feature1 is 'x'"]),
    ("/explain", "application/json", {"rows": [ROW]}, ["rows is an unknown feature"]),
    (INFER, "application/json", {"inputs": [input_of("feature1")]}, ["'feature2' is missing"]),
    (INFER, "application/json", {"inputs": [input_of("feature1"), input_of("featur2")]}, ["expected 'feature2'"]),
    (
        INFER,
        "application/json",
        {"inputs": [input_of(n) for n in ("feature1", "feature2", "x")]},
        ["'x' is an unknown"],
    ),
    (INFER, "application/json", {"inputs": [input_of("feature1", "x"), input_of("feature2")]}, ["feature1 is 'x'"]),
    (
        INFER,
        "application/json",
        {"inputs": [input_of("feature1", datatype="BYTES"), input_of("feature2")]},
        ["'BYTES'"],
    ),
    (INFER, "application/json", {"inputs": [input_of("input", shape=[1, 3])]}, ["[1, 3]", "[n, 2]"]),
    (INFER, "application/json", {"input": []}, ["expected 'inputs'"]),
    ("/batches?mode=score", "text/csv", "feature1\n1\n", ["column feature2 is not there"]),
    ("/batches?mode=score", "text/csv", "feature1,featur2\n1,2\n", ["'featur2' is", "named 'feature2'"]),
    ("/batches?mode=score", "text/csv", "feature1,feature2\nx,2\n", ["column feature1, row 1", "'x'"]),
    ("/batches?mode=score", "text/csv", "feature1,feature2\n1,2,3\n", ["line 2", "3 fields"]),
    ("/batches", "text/csv", "feature1,featur2,target\n1,2,1\n", ["'featur2' is", "named 'feature2'"]),
    ("/batches", "text/csv", "feature1,feature2,target\nx,2,1\n", ["column feature1, row 1", "'x'"]),
    ("/batches", "text/csv", "feature1,feature2,target\n1,2\n", ["line 2", "2 fields"]),
    ("/labels", "application/json", {"labels": [{"rowid": "a", "label": 1}]}, ["rowid is an unknown field"]),
    ("/labels", "application/json", {"labels": [{"row_id": "a", "label": "x"}]}, ["labels[0].label is 'x'"]),
    ("/labels", "application/json", {"label": []}, ["expected 'labels'"]),
    ("/generate", "application/json", {"row": 5}, ["expected 'rows'"]),
    ("/generate", "application/json", {"rows": "5"}, ["rows is '5'", "a whole number"]),
    ("/generate", "application/json", {"rows": 10**12}, ["from 1 to 1,000,000"]),
    ("/retrain", "application/json", {"forc": True}, ["expected 'force'"]),
    ("/retrain", "application/json", {"force": 1}, ["force is 1", "true or false"]),
]


@pytest.mark.parametrize(("path", "kind", "body", "words"), UNFIT, ids=[str(i) for i in range(len(UNFIT))])
def test_rows_and_fields_that_do_not_fit_are_422_with_place_and_the_nearest_name(
    shared: httpx.Client, path: str, kind: str, body: Any, words: list[str]
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    document = is_problem(shared.post(path, content=content, headers={**ADMIN, "Content-Type": kind}), 422)
    reported = document["detail"] + json.dumps(document["errors"])
    for word in words:
        assert word in reported
