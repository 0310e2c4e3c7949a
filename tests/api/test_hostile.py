"""What strangers send: refused with the right status, in problem JSON, and nothing is stored."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from api_helpers import ADMIN, ROW, arrow, npy, token
from patience import limit

from core.errors import BadInput, StorageError, TooLarge
from core.http import jobs, json_decoding, problems
from core.http.json_decoding import depth_exceeds
from core.http.middleware import RequestMiddleware
from core.services.access import tokens
from core.services.access.tokens import TokenRights
from core.services.operations.metrics import Requests
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace

ARROW = {**ADMIN, "Content-Type": "application/vnd.apache.arrow.stream"}
NPY = {**ADMIN, "Content-Type": "application/x-npy"}
JSON = {**ADMIN, "Content-Type": "application/json"}
HANG_S = 1.0


def _is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    if problems.is_inference(answer.request.url.path):
        assert answer.headers["content-type"] == "application/json"
        parsed: str = answer.json()["error"]
        assert answer.json() == {"error": parsed} and parsed
        return {"detail": parsed, "errors": []}
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert list(document) == ["type", "title", "status", "detail", "errors"]
    assert document["status"] == status
    for entry in document["errors"]:
        assert list(entry) == ["field", "seen", "expected"]
    return document


# --- who --------------------------------------------------------------------------------------------------------

CLOSED = [
    ("POST", "/predict"),
    ("POST", "/labels"),
    ("POST", "/generate"),
    ("POST", "/retrain"),
    ("POST", "/batches"),
    ("GET", "/predictions"),
    ("GET", "/metrics"),
    ("GET", "/jobs/x"),
    ("GET", "/jobs/x/result"),
    ("POST", "/explain"),
    ("POST", "/invocations"),
    ("GET", "/ping"),
    ("GET", "/version"),
    ("GET", "/v2"),
    ("GET", "/v2/models/default"),
    ("GET", "/v2/models/default/versions/1/ready"),
    ("POST", "/v2/models/default/infer"),
    ("POST", "/batches?mode=score"),
]
BAD_HEADERS = [
    {},
    {"Authorization": "Bearer wrong-token-wrong-token"},
    {"Authorization": "Bearer"},
    {"Authorization": "Basic YTpi"},
    {"Authorization": "cml_x"},
    {"Authorization": "Bearer \xff\xfe"},
    {"Authorization": "Bearer " + "x" * 5000},
]


@pytest.mark.parametrize(("method", "path"), [*CLOSED, *((m, "/projects/default" + p) for m, p in CLOSED)])
def test_closed_routes_ask_for_a_token(shared: httpx.Client, method: str, path: str) -> None:
    for headers in BAD_HEADERS:
        encoded = {k: v.encode("latin-1") for k, v in headers.items()}
        answer = shared.request(method, path, headers=encoded)
        _is_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_scopes_open_their_routes_only(client: httpx.Client, state: Workspace) -> None:
    wanted = {
        ("POST", "/predict"): "predict",
        ("POST", "/labels"): "ingest",
        ("POST", "/generate"): "ingest",
        ("POST", "/batches"): "ingest",
        ("POST", "/retrain"): "admin",
        ("GET", "/predictions"): "read",
        ("GET", "/metrics"): "read",
        ("POST", "/batches?mode=score"): "predict",
        ("POST", "/explain"): "predict",
        ("POST", "/invocations"): "predict",
        ("POST", "/v2/models/default/infer"): "predict",
        ("GET", "/v2/models/default"): "predict",
        ("GET", "/ping"): "predict",
        ("GET", "/version"): "predict",
    }
    for scope in tokens.SCOPES:
        headers = {**token(state, scope), "Content-Type": "application/json"}
        for (method, path), needed in wanted.items():
            answer = client.request(method, path, headers=headers, content=b"[" if method == "POST" else None)
            if scope in (needed, "admin"):
                assert answer.status_code in (200, 400, 415), (scope, path, answer.text)
            else:
                assert needed in _is_problem(answer, 403)["detail"]


def test_expired_and_revoked_tokens_are_401(client: httpx.Client, state: Workspace) -> None:
    now = datetime.now(UTC)
    _, old = tokens.create_token(
        state,
        "old",
        TokenRights(scopes=["read"], expires_at=now - timedelta(days=1)),
        by="test",
        now=now - timedelta(days=2),
    )
    for method, path in CLOSED:
        detail = _is_problem(client.request(method, path, headers={"Authorization": f"Bearer {old}"}), 401)["detail"]
        assert "expired" in detail
    info, secret = tokens.create_token(state, "new", TokenRights(scopes=["read"]), by="test", now=now)
    assert info.id is not None
    tokens.revoke_token(state, info.id, by="test", now=now)
    _is_problem(client.get("/predictions", headers={"Authorization": f"bearer {secret}"}), 401)


def test_a_token_of_one_project_neither_reaches_nor_names_another(client: httpx.Client, state: Workspace) -> None:
    other = projects.create_project(state, "Hidden thing", Origin(source="api"), by="test", now=datetime.now(UTC))
    bound = token(state, "admin", project_id=projects.get_project(state, "default").id)
    assert client.post("/predict", json=ROW, headers=bound).status_code == 200
    routes = ("predict", "explain", "invocations", "labels", "generate", "retrain", "batches")
    for path in [f"/projects/{slug}/{route}" for slug in ("hidden-thing", "nowhere") for route in routes]:
        answer = client.post(path, json=ROW, headers=bound)
        assert "hidden-thing" not in _is_problem(answer, 403)["detail"]
    assert "hidden-thing" not in client.get("/metrics", headers=bound).text
    assert "hidden-thing" in client.get("/metrics", headers=ADMIN).text
    assert other.id != projects.get_project(state, "default").id


def test_without_default_several_projects_have_no_root(empty_client: httpx.Client) -> None:
    from core.storage.workspace import open_workspace

    ws = open_workspace()
    now = datetime.now(UTC)
    projects.create_project(ws, "One", Origin(source="generator"), by="test", now=now)
    assert empty_client.post("/predict", json=ROW, headers=ADMIN).status_code == 409  # the only one is the root
    projects.create_project(ws, "Two", Origin(source="generator"), by="test", now=now)
    bound = token(ws, "admin", project_id=projects.get_project(ws, "one").id)
    for path in ("/projects/three/model-status", "/model-status"):
        detail = _is_problem(empty_client.get(path, headers=ADMIN), 404)["detail"]
        assert "one, two" in detail
        for headers in ({}, {"Authorization": "Bearer cml_wrong"}, {"Authorization": "Basic YTpi"}, bound):
            detail = _is_problem(empty_client.get(path, headers=headers), 404)["detail"]
            assert "one" not in detail.replace("none", "") and "two" not in detail, headers
    assert "one, two" in _is_problem(empty_client.post("/predict", json=ROW, headers=ADMIN), 404)["detail"]
    assert empty_client.post("/generate", headers=ADMIN).status_code == 404
    assert empty_client.get("/health").json()["model_version"] is None
    projects.create_project(ws, "default", Origin(source="generator"), by="test", now=now)
    assert empty_client.post("/generate", json={"rows": 10}, headers=ADMIN).json()["project"] == "default"
    ws.database.dispose()


# --- what -------------------------------------------------------------------------------------------------------


def test_a_body_of_too_many_values_is_refused_before_it_is_decoded(
    shared: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = b'{"feature1": 1, "feature2": 2}'
    fits = b'{"rows": [' + b",".join([row] * 100_000) + b"]}"
    assert json_decoding.decode(fits)["rows"][0]["feature2"] == 2
    columns = b'{"inputs": {"a": [' + b",".join([b"0"] * 100_000) + b"]}}"
    assert len(json_decoding.decode(columns)["inputs"]["a"]) == 100_000
    text = b'{"a": "' + b"{[:," * 300_000 + b'"}'
    assert len(json_decoding.decode(text)["a"]) == 1_200_000

    def never(_: bytes) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(json_decoding.orjson, "loads", never)
    for body in (
        b'{"rows": [' + b"0," * 5_000_000 + b"0]}",
        b'{"rows": [' + b"{}," * 5_000_000 + b"{}]}",
        b"[" + b"[]," * 5_000_000 + b"[]]",
        b"{" + b",".join(b'"a%d":0' % i for i in range(200_000)) + b"}",
    ):
        with pytest.raises(TooLarge):
            json_decoding.decode(body)
        assert _is_problem(shared.post("/predict", content=body, headers=JSON), 413)["errors"][0]["field"] == "body"


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
    document = _is_problem(shared.post("/predict", content=body, headers=JSON), status)
    if field is not None:
        assert field in [e["field"] for e in document["errors"]]


def test_a_misnamed_feature_is_answered_with_the_nearest_name(shared: httpx.Client) -> None:
    document = _is_problem(shared.post("/predict", json={"feature1": 1, "featur2": 2}, headers=ADMIN), 422)
    assert {"field": "featur2", "seen": "an unknown feature", "expected": "'feature2'"} in document["errors"]


def test_one_bad_row_stores_none(client: httpx.Client) -> None:
    rows = [ROW, ROW, ROW, {"feature1": "x", "feature2": 1}]
    document = _is_problem(client.post("/predict", json={"rows": rows}, headers=ADMIN), 422)
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
        _is_problem(answer, status)
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
        _is_problem(shared.post("/predict", content=body, headers=NPY), 422)
    assert shared.post("/predict", content=whole, headers=ARROW).status_code == 200


def test_a_column_whose_name_is_no_text_is_reported_as_damage(shared: httpx.Client) -> None:
    good = pd.DataFrame([ROW]).assign(target=1)
    for kind, whole in (("application/vnd.apache.parquet", good.to_parquet()), (ARROW["Content-Type"], arrow(good))):
        body = whole.replace(b"feature1", b"fea\xd9ure1")
        assert body != whole
        for path in ("/batches", "/batches?mode=score"):
            _is_problem(shared.post(path, content=body, headers={**ADMIN, "Content-Type": kind}), 415)


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
        _is_problem(shared.post(path, content=b"x", headers={**ADMIN, "Content-Type": kind}), 415)
    packed = {**JSON, "Content-Encoding": "gzip"}
    _is_problem(shared.post("/predict", content=b"\x1f\x8b", headers=packed), 415)


# --- on every route that takes a body ---------------------------------------------------------------------------

INFER = "/v2/models/default/infer"
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
    detail = _is_problem(shared.post(path, content=NO_JSON[number], headers=JSON), 400)["detail"]
    assert "not JSON" in detail or "nested more than 32 levels" in detail


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize("body", [b"[1]", b"3", b'"text"', b"null"])
def test_json_of_another_kind_is_422_on_every_route(shared: httpx.Client, path: str, body: bytes) -> None:
    assert _is_problem(shared.post(path, content=body, headers=JSON), 422)["detail"]


def _input(name: str, data: Any = 1.0, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": "FP64", "data": [data], **more}


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
    (INFER, "application/json", {"inputs": [_input("feature1")]}, ["'feature2' is missing"]),
    (INFER, "application/json", {"inputs": [_input("feature1"), _input("featur2")]}, ["expected 'feature2'"]),
    (INFER, "application/json", {"inputs": [_input(n) for n in ("feature1", "feature2", "x")]}, ["'x' is an unknown"]),
    (INFER, "application/json", {"inputs": [_input("feature1", "x"), _input("feature2")]}, ["feature1 is 'x'"]),
    (INFER, "application/json", {"inputs": [_input("feature1", datatype="BYTES"), _input("feature2")]}, ["'BYTES'"]),
    (INFER, "application/json", {"inputs": [_input("input", shape=[1, 3])]}, ["[1, 3]", "[n, 2]"]),
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
    document = _is_problem(shared.post(path, content=content, headers={**ADMIN, "Content-Type": kind}), 422)
    reported = document["detail"] + json.dumps(document["errors"])
    for word in words:
        assert word in reported


@pytest.mark.parametrize("path", JSON_ROUTES + TABLE_ROUTES)
def test_two_gigabytes_announced_are_413_before_anything_is_read(shared: httpx.Client, path: str) -> None:
    kind = "text/csv" if path in TABLE_ROUTES else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {ADMIN['Authorization']}\r\nContent-Type: {kind}\r\n"
    with socket.create_connection((shared.base_url.host, shared.base_url.port), timeout=limit(10)) as raw:
        raw.sendall(f"{head}Content-Length: {2 * 1024**3}\r\n\r\n".encode())
        said = raw.recv(4000)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"Split it into several requests" in said


NEEDS_A_CHAMPION = [("POST", p) for p in ("/predict", "/explain", "/invocations", INFER, "/batches?mode=score")] + [
    ("GET", "/ping"),
    ("GET", "/v2/models/default"),
    ("GET", "/v2/models/default/ready"),
]


def test_without_a_champion_it_is_409_and_says_how_there_will_be_one(empty_client: httpx.Client) -> None:
    assert empty_client.post("/generate", json={"rows": 20}, headers=ADMIN).status_code == 200
    for method, path in NEEDS_A_CHAMPION:
        kind = {"Content-Type": "text/csv" if path in TABLE_ROUTES else "application/json"}
        body = b"{}" if method == "POST" else None
        detail = _is_problem(empty_client.request(method, path, content=body, headers={**ADMIN, **kind}), 409)["detail"]
        assert "champion" in detail and "retrain" in detail.lower(), (path, detail)


@pytest.mark.parametrize(
    "path", ["/predict", "/labels", "/explain", "/invocations", "/batches", "/generate", "/retrain"]
)
def test_an_unknown_project_is_404_and_those_that_exist_are_named(shared: httpx.Client, path: str) -> None:
    for address in (f"/projects/nowhere{path}", "/v2/models/nowhere/infer"):
        assert "default" in _is_problem(shared.post(address, json=ROW, headers=ADMIN), 404)["detail"]


# --- limits -----------------------------------------------------------------------------------------------------


def test_too_many_rows_or_labels_are_413(shared: httpx.Client) -> None:
    rows = {"rows": [{"feature1": 1}] * 100_001}
    document = _is_problem(shared.post("/predict", json=rows, headers=ADMIN), 413)
    assert document["errors"][0] == {"field": "rows", "seen": "100,001 rows", "expected": "at most 100,000 rows"}
    labels = {"labels": [{"row_id": "a", "label": 1}] * 100_001}
    _is_problem(shared.post("/labels", json=labels, headers=ADMIN), 413)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(shared: httpx.Client) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: {ADMIN['Authorization']}\r\n"
    with socket.create_connection((shared.base_url.host, shared.base_url.port), timeout=limit(10)) as raw:
        raw.sendall(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
        said = raw.recv(4000)
    assert said.startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_counted_while_it_comes(
    shared: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.http.bodies.MAX_JSON_BYTES", 10)
    _is_problem(shared.post("/labels", content=(b"x" * 1000 for _ in range(40_000)), headers=JSON), 413)


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/projects", "/projects/default", "/predict/", "/v1/predict", "/%00"]
)
def test_unknown_addresses_are_404(shared: httpx.Client, path: str) -> None:
    _is_problem(shared.get(path, headers=ADMIN), 404)


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/predict", "POST"), ("DELETE", "/health", "GET")])
def test_other_methods_are_405_with_allow(shared: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = shared.request(method, path)
    _is_problem(answer, 405)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("slug", ["x' OR 1=1 --", "<script>", "..%2F..", "a" * 3000, "%F0%9F%92%A9", "%ff"])
def test_slugs_that_are_none_are_404_everywhere(shared: httpx.Client, slug: str) -> None:
    _is_problem(shared.post(f"/projects/{slug}/predict", json=ROW, headers=ADMIN), 404)
    _is_problem(shared.get(f"/projects/{slug}/model-status"), 404)


def _raw(client: httpx.Client, head: bytes) -> tuple[int, str]:
    """Status and what else is said to a request as it is on the line."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=limit(30)) as line:
        line.sendall(head)
        said = b""
        while piece := line.recv(65_536):
            said += piece
    return int(said.split()[1]), said.decode()


@pytest.mark.parametrize("path", ["/predict", "/health", "/projects/default/predict", "/docs"])
def test_a_head_without_one_host_is_refused(shared: httpx.Client, path: str) -> None:
    method = "POST" if path.endswith("predict") else "GET"
    start = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode()
    code, reported = _raw(shared, start + b"\r\n")
    assert code == 400 and "Host" in reported
    assert _raw(shared, start + b"Host: a\r\nHost: b\r\n\r\n")[0] == 400
    old = start.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert _raw(shared, old + b"\r\n")[0] in (200, 401)  # that version knows no Host


@pytest.mark.parametrize("path", ["/predict", "/health"])
@pytest.mark.parametrize(
    ("headers", "query"), [([(b"x-long", b"x" * 65_536)], b""), ([(b"x", b"1")] * 33_000, b""), ([], b"q" * 65_536)]
)
def test_a_large_head_that_arrives_in_one_piece_is_refused(
    path: str, headers: list[tuple[bytes, bytes]], query: bytes
) -> None:
    said: list[Any] = []

    async def _send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": path, "raw_path": path.encode()}
    scope |= {"query_string": query, "headers": [(b"host", b"a"), *headers]}
    asyncio.run(RequestMiddleware(None, Requests())(scope, None, _send))  # type: ignore[arg-type]
    assert said[0]["status"] == 431


def test_answers_are_not_kept_on_the_way_but_for_the_documentation(client: httpx.Client) -> None:
    row = client.post("/predict", json=ROW, headers=ADMIN)
    reported = [
        row,
        *(client.get(path, headers=ADMIN) for path in ("/predictions", "/model-status", "/metrics", "/health")),
    ]
    reported += [client.get("/predictions"), client.get("/jobs/nothing", headers=ADMIN), client.get("/nowhere")]
    assert {answer.headers.get_list("cache-control") == ["no-store"] for answer in reported} == {True}
    assert "cache-control" not in client.get("/openapi.json").headers


def test_a_token_whose_project_is_gone_reads_no_metrics(
    client: httpx.Client, state: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = token(state, "read", project_id=projects.get_project(state, "default").id)
    assert client.get("/metrics", headers=bound).status_code == 200
    monkeypatch.setattr("core.services.incidents.status.project_refs", lambda ws: [])
    assert "no longer exists" in _is_problem(client.get("/metrics", headers=bound), 403)["detail"]


def test_request_ids_are_echoed_or_made(shared: httpx.Client) -> None:
    assert shared.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    for unsafe in ("", "a b", "x" * 200, "é"):
        made = shared.get("/health", headers={"X-Request-ID": unsafe.encode()}).headers["x-request-id"]
        assert made != unsafe and len(made) == 16


# --- trouble of our own -----------------------------------------------------------------------------------------


def test_a_prediction_that_cannot_be_stored_is_not_answered(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.services.serving.prediction_log._Log._insert", full)
    document = _is_problem(client.post("/predict", json=ROW, headers=ADMIN), 503)
    assert "prediction" not in document
    monkeypatch.undo()
    assert client.post("/predict", json=ROW, headers=ADMIN).status_code == 200


def test_a_fault_of_ours_is_a_500_without_internals(shared: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("/secret/path in the text")

    monkeypatch.setattr("core.services.operations.metrics.metrics_text", broken)
    answer = shared.get("/metrics", headers=ADMIN)
    assert "secret" not in _is_problem(answer, 500)["detail"]
    assert answer.headers["x-request-id"]


def test_a_database_out_of_reach_is_a_503(client: httpx.Client, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT secret", {}, Exception("no such server"))

    monkeypatch.setattr("core.services.ingestion.label_intake.add_labels", away)
    answer = client.post("/labels", json={"labels": [{"row_id": "a", "label": 1}]}, headers=ADMIN)
    assert "SELECT" not in str(_is_problem(answer, 503))
    assert issubclass(StorageError, Exception)


# --- the campaign -----------------------------------------------------------------------------------------------

_WORDS = [
    b"NaN",
    b"null",
    b"1e999",
    b"-0",
    b"{}",
    b"[]",
    b'""',
    b"\\u0000",
    b"\\ud800",
    b"true",
    b"\x00",
    b"\xff",
    b"'",
]


def _mutated(rng: random.Random, body: bytes) -> bytes:
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(body) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            body = body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
        elif kind == 1:
            body = body[:at] + body[at + rng.randint(1, 6) :]
        elif kind == 2:
            body = body[:at] + rng.choice(_WORDS) + body[at:]
        elif kind == 3:
            end = min(at + rng.randint(1, 12), len(body))
            body = body[:end] + body[at:end] * rng.randint(1, 3) + body[end:]
        else:
            body = body[:at]
    return body


def _valid_bodies() -> list[tuple[int, str, dict[str, str], bytes]]:
    """How often, the route, headers, and a body in every form that the route reads."""
    frame = pd.DataFrame([ROW, ROW])
    labelled = frame.assign(target=[0, 1])
    csv = {**ADMIN, "Content-Type": "text/csv"}
    parquet = {**ADMIN, "Content-Type": "application/vnd.apache.parquet"}
    split = {"columns": ["feature1", "feature2"], "index": [0], "data": [[0.1, 2.0]]}
    tensors = {"id": "7", "inputs": [_input("feature1"), _input("feature2")], "outputs": [{"name": "prediction"}]}
    part = {"name": "input", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": 16}}
    binary_head = json.dumps({"inputs": [part]}).encode()
    binary = {**ADMIN, "Content-Type": "application/octet-stream"}
    labels = {"labels": [{"row_id": "a7", "label": 1}, {"prediction_id": "b", "label": 0}]}
    rows = {"rows": [{**ROW, "_id": "a7", "_time": "2026-03-01T00:00:00Z"}, ROW]}
    drift = {"rows": 9, "seed": 3, "noise": 0.1, "drift": {"kind": "mean_shift"}}
    documents: list[tuple[str, Any]] = [
        ("/predict", ROW),
        ("/predict", rows),
        ("/labels", labels),
        ("/explain", ROW),
        ("/invocations", {"dataframe_split": split}),
        ("/invocations", {"dataframe_records": [ROW, ROW]}),
        ("/invocations", {"instances": [[0.1, 2.0]]}),
        ("/invocations", {"inputs": {"feature1": [0.1], "feature2": [2.0]}}),
        (INFER, tensors),
        (INFER.replace("/infer", "/versions/1/infer"), tensors),
    ]
    plain = frame.to_csv(index=False).encode()
    return [
        *((6, path, JSON, json.dumps(document).encode()) for path, document in documents),
        (6, "/predict", ARROW, arrow(frame)),
        (6, "/predict", NPY, npy(frame.to_numpy())),
        (6, "/invocations", csv, plain),
        (6, INFER, {**binary, "Inference-Header-Content-Length": str(len(binary_head))}, binary_head + bytes(16)),
        (3, "/batches?mode=score", csv, plain),
        (3, "/batches?mode=score", parquet, frame.to_parquet()),
        (3, "/batches?mode=score", {**ADMIN, "Content-Type": ARROW["Content-Type"]}, arrow(frame)),
        # Each accepted batch makes the next one slower, each accepted cycle waits for somebody to run it.
        (1, "/generate", JSON, json.dumps(drift).encode()),
        (1, "/retrain", JSON, b'{"force": false}'),
        (1, "/batches?mode=ingest", csv, labelled.to_csv(index=False).encode()),
        (1, "/batches", csv, gzip.compress(labelled.to_csv(index=False).encode())),
        (1, "/batches", parquet, labelled.to_parquet()),
        (1, "/batches", {**ADMIN, "Content-Type": ARROW["Content-Type"]}, arrow(labelled)),
    ]


@pytest.mark.campaign
def test_no_mutation_of_a_valid_body_is_a_fault_of_ours_or_takes_long(
    shared: httpx.Client, campaign: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "WAIT_S", 0.0)  # cycles are asked for, and nobody is here to run them
    monkeypatch.setattr("core.services.automation.workers.start_worker", lambda ws: None)
    monkeypatch.setattr("core.data.synthetic.MAX_ROWS", 100)
    valid = [given for often, *given in _valid_bodies() for _ in range(often)]
    counted: Counter[int] = Counter()
    longest = 0.0
    for number in campaign.rounds("mutated-bodies", campaign.mutated_bodies):
        rng = random.Random(number)
        path, headers, body = valid[number % len(valid)]
        mutated = _mutated(rng, body)
        took = HANG_S
        for _ in range(5):  # a busy machine is slow once or twice, a body that hangs is always
            if took < HANG_S:
                break
            began = time.perf_counter()
            answer = shared.post(path, headers=headers, content=mutated)
            took = time.perf_counter() - began
        assert took < HANG_S, (number, path, mutated, took)
        assert answer.status_code < 500, (number, path, mutated, answer.text)
        if answer.status_code >= 400:
            _is_problem(answer, answer.status_code)
        counted[answer.status_code] += 1
        longest = max(longest, took)
    sys.stdout.write(f"mutated bodies by status: {dict(counted)}, the slowest {longest:.2f} s\n")


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b'{"rows":[' + b'{"a":[1],"b":"]]]]"},' * 500 + b"{}]}", False),
        (b'["' + b"[" * 500 + b'"]', False),
        (b'["\\"' + b"[" * 500 + b'"]', False),
        (b"[" * 40 + b"]" * 40, True),
        (b'{"a":' * 40 + b"1" + b"}" * 40, True),
        (b'{"\\"":' * 40 + b"1" + b"}" * 40, True),
        (b"[" * 32 + b"]" * 32, False),
        (b"[" * 33 + b"]" * 33, True),
        (b'"' + b"\\" * 100_001, False),
    ],
)
def test_depth_is_reported_before_decoding(body: bytes, deep: bool) -> None:
    assert depth_exceeds(body, 32) is deep


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (b'{"a":NaN}', "send null"), (b'{"\xc3\xa9":-Infinity}', "send null"), (b'{"a":nan}', "send null"),
        (b'{"a":1e400}', "Send a number below"), (b"{'a':1}", "double quotes"), (b'{"a":', "end of data"),
    ],
)  # fmt: skip
def test_what_is_not_json_says_what_to_send(body: bytes, advice: str) -> None:
    with pytest.raises(problems.NotJson, match=advice):
        json_decoding.decode(body)


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (b'{"a":1,"a":2}', ["a"]),
        (b'{"a":1,"a" : 1,"b":"::"}', ["a"]),
        (b'{"a":1,"\\u0061":1,"b":"\\":"}', ["a"]),
        (b'[{"a":{"b":[1,{"c":0,"c":0,"d":0,"d":0,"d":0}]}}]', ["[0].a.b[1].c", "[0].a.b[1].d"]),
        (b'{"a":1' + b'0' * 300 + b',"b":":","b":2}', ["b"]),
        (b'{"a":1,"b":":"}', []),
        (b'{"a":{"a":{"a":[{"a":1},{"a":1}]}}}', []),
        (b'{"a:":1,"\\"a":":","b":"\\\\"}', []),
        (b'[":",{"x":":"},[[{}]]]', []),
    ],
)  # fmt: skip
def test_names_given_more_than_once_are_refused(body: bytes, places: list[str]) -> None:
    if not places:
        assert json_decoding.decode(body) == json.loads(body)
        return
    with pytest.raises(BadInput) as refused:
        json_decoding.decode(body)
    assert [p.field for p in refused.value.problems] == places
    assert {p.expected for p in refused.value.problems} == {"once"}


def test_a_name_given_twice_in_a_large_body_is_refused_in_time() -> None:
    rows = b",".join([b'{"a":1.25,"b":"x:y"}'] * 400_000)
    began = time.process_time()
    with pytest.raises(BadInput):
        json_decoding.decode(b'{"rows":[' + rows + b',{"a":1,"a":2}]}')
    assert time.process_time() - began < 2
