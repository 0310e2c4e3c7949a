"""What strangers send: refused with the right status, in problem JSON, and nothing is stored."""

from __future__ import annotations

import json
import random
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from api_helpers import ADMIN, ROW, arrow, npy, token

from core.errors import StorageError
from core.http.bodies import depth_exceeds
from core.services import auth, projects
from core.storage.workspace import Workspace

ARROW = {**ADMIN, "Content-Type": "application/vnd.apache.arrow.stream"}
NPY = {**ADMIN, "Content-Type": "application/x-npy"}
JSON = {**ADMIN, "Content-Type": "application/json"}


def _is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
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
    }
    for scope in auth.SCOPES:
        headers = {**token(state, scope), "Content-Type": "application/json"}
        for (method, path), needed in wanted.items():
            answer = client.request(method, path, headers=headers, content=b"[" if method == "POST" else None)
            if scope in (needed, "admin"):
                assert answer.status_code in (200, 400, 415), (scope, path, answer.text)
            else:
                assert needed in _is_problem(answer, 403)["detail"]


def test_expired_and_revoked_tokens_are_401(client: httpx.Client, state: Workspace) -> None:
    now = datetime.now(UTC)
    _, old = auth.create_token(
        state, "old", ["read"], None, now - timedelta(days=1), by="test", now=now - timedelta(days=2)
    )
    _is_problem(client.get("/predictions", headers={"Authorization": f"Bearer {old}"}), 401)
    info, secret = auth.create_token(state, "new", ["read"], by="test", now=now)
    assert info.id is not None
    auth.revoke_token(state, info.id, by="test", now=now)
    _is_problem(client.get("/predictions", headers={"Authorization": f"bearer {secret}"}), 401)


def test_a_token_of_one_project_neither_reaches_nor_names_another(client: httpx.Client, state: Workspace) -> None:
    other = projects.create_project(state, "Hidden thing", source="api", by="test", now=datetime.now(UTC))
    bound = token(state, "admin", project_id=projects.get_project(state, "default").id)
    assert client.post("/predict", json=ROW, headers=bound).status_code == 200
    for path in ("/projects/hidden-thing/predict", "/projects/nowhere/predict"):
        answer = client.post(path, json=ROW, headers=bound)
        assert "hidden-thing" not in _is_problem(answer, 403)["detail"]
    assert "hidden-thing" not in client.get("/metrics", headers=bound).text
    assert "hidden-thing" in client.get("/metrics", headers=ADMIN).text
    assert other.id != projects.get_project(state, "default").id


def test_without_default_several_projects_have_no_root(empty_client: httpx.Client) -> None:
    from core.storage.workspace import open_workspace

    ws = open_workspace()
    now = datetime.now(UTC)
    projects.create_project(ws, "One", source="generator", by="test", now=now)
    assert empty_client.post("/predict", json=ROW, headers=ADMIN).status_code == 409  # the only one is the root
    projects.create_project(ws, "Two", source="generator", by="test", now=now)
    detail = _is_problem(empty_client.get("/projects/three/model-status"), 404)["detail"]
    assert "one, two" in detail
    assert "one, two" in _is_problem(empty_client.post("/predict", json=ROW, headers=ADMIN), 404)["detail"]
    assert empty_client.post("/generate", headers=ADMIN).status_code == 404
    assert empty_client.get("/health").json()["model_version"] is None
    projects.create_project(ws, "default", source="generator", by="test", now=now)
    assert empty_client.post("/generate", json={"rows": 10}, headers=ADMIN).json()["project"] == "default"
    ws.database.dispose()


# --- what -------------------------------------------------------------------------------------------------------

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


def test_too_many_rows_or_labels_are_413(shared: httpx.Client) -> None:
    rows = {"rows": [{"feature1": 1}] * 100_001}
    document = _is_problem(shared.post("/predict", json=rows, headers=ADMIN), 413)
    assert document["errors"][0] == {"field": "rows", "seen": "100,001 rows", "expected": "at most 100,000 rows"}
    labels = {"labels": [{"row_id": "a", "label": 1}] * 100_001}
    _is_problem(shared.post("/labels", json=labels, headers=ADMIN), 413)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(shared: httpx.Client) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: {ADMIN['Authorization']}\r\n"
    with socket.create_connection((shared.base_url.host, shared.base_url.port), timeout=10) as raw:
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


def test_request_ids_are_echoed_or_made(shared: httpx.Client) -> None:
    assert shared.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    for unsafe in ("", "a b", "x" * 200, "é"):
        made = shared.get("/health", headers={"X-Request-ID": unsafe.encode()}).headers["x-request-id"]
        assert made != unsafe and len(made) == 16


# --- trouble of our own -----------------------------------------------------------------------------------------


def test_a_prediction_that_cannot_be_stored_is_not_answered(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(ws: Workspace, rows: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.services.serving.log_predictions", full)
    document = _is_problem(client.post("/predict", json=ROW, headers=ADMIN), 503)
    assert "prediction" not in document
    monkeypatch.undo()
    assert client.post("/predict", json=ROW, headers=ADMIN).status_code == 200


def test_a_fault_of_ours_is_a_500_without_internals(shared: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("/secret/path in the text")

    monkeypatch.setattr("core.services.metrics.metrics_text", broken)
    answer = shared.get("/metrics", headers=ADMIN)
    assert "secret" not in _is_problem(answer, 500)["detail"]
    assert answer.headers["x-request-id"]


def test_a_database_out_of_reach_is_a_503(client: httpx.Client, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT secret", {}, Exception("no such server"))

    monkeypatch.setattr("core.services.ingest.add_labels", away)
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


def _valid_bodies() -> list[tuple[str, dict[str, str], bytes]]:
    frame = pd.DataFrame([ROW, ROW])
    csv = {**ADMIN, "Content-Type": "text/csv"}
    parquet = {**ADMIN, "Content-Type": "application/vnd.apache.parquet"}
    return [
        ("/predict", JSON, json.dumps(ROW).encode()),
        ("/predict", JSON, json.dumps({"rows": [{**ROW, "_id": "a7", "_time": "2026-03-01T00:00:00Z"}, ROW]}).encode()),
        ("/predict", ARROW, arrow(frame)),
        ("/predict", NPY, npy(frame.to_numpy())),
        (
            "/labels",
            JSON,
            json.dumps({"labels": [{"row_id": "a7", "label": 1}, {"prediction_id": "b", "label": 0}]}).encode(),
        ),
        ("/generate", JSON, json.dumps({"rows": 9, "seed": 3, "noise": 0.1, "drift": {"kind": "mean_shift"}}).encode()),
        ("/batches?mode=ingest", csv, b"feature1,feature2,target\n0.5,1.5,1\n0.25,-2,0\n"),
        ("/batches", parquet, frame.assign(target=[0, 1]).to_parquet()),
    ]


@pytest.mark.campaign
def test_no_mutation_of_a_valid_body_is_a_fault_of_ours(shared: httpx.Client, campaign: Any) -> None:
    bodies = _valid_bodies()
    bodies = bodies[:5] * 3 + bodies[5:]  # each accepted batch makes the next one slower
    for number in campaign.rounds("mutated-bodies", campaign.mutated_bodies):
        rng = random.Random(number)
        path, headers, body = bodies[number % len(bodies)]
        mutated = _mutated(rng, body)
        answer = shared.post(path, headers=headers, content=mutated)
        assert answer.status_code < 500, (number, path, mutated, answer.text)
        if answer.status_code >= 400:
            _is_problem(answer, answer.status_code)


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
def test_depth_is_told_before_decoding(body: bytes, deep: bool) -> None:
    assert depth_exceeds(body, 32) is deep
