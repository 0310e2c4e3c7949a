"""Requests that are too large, addresses and methods that do not exist, and what the head of every response says."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest
from api_helpers import ADMIN, INFER, ROW, is_problem
from patience import limit

from core.http.middleware import RequestMiddleware
from core.services.operations.metrics import Requests

JSON = {**ADMIN, "Content-Type": "application/json"}
JSON_ROUTES = ["/predict", "/labels", "/generate", "/retrain", "/explain", "/invocations", INFER]
TABLE_ROUTES = ["/batches", "/batches?mode=score"]


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
        detail = is_problem(empty_client.request(method, path, content=body, headers={**ADMIN, **kind}), 409)["detail"]
        assert "champion" in detail and "retrain" in detail.lower(), (path, detail)


@pytest.mark.parametrize(
    "path", ["/predict", "/labels", "/explain", "/invocations", "/batches", "/generate", "/retrain"]
)
def test_an_unknown_project_is_404_and_those_that_exist_are_named(shared: httpx.Client, path: str) -> None:
    for address in (f"/projects/nowhere{path}", "/v2/models/nowhere/infer"):
        assert "default" in is_problem(shared.post(address, json=ROW, headers=ADMIN), 404)["detail"]


def test_too_many_rows_or_labels_are_413(shared: httpx.Client) -> None:
    rows = {"rows": [{"feature1": 1}] * 100_001}
    document = is_problem(shared.post("/predict", json=rows, headers=ADMIN), 413)
    assert document["errors"][0] == {"field": "rows", "seen": "100,001 rows", "expected": "at most 100,000 rows"}
    labels = {"labels": [{"row_id": "a", "label": 1}] * 100_001}
    is_problem(shared.post("/labels", json=labels, headers=ADMIN), 413)


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
    is_problem(shared.post("/labels", content=(b"x" * 1000 for _ in range(40_000)), headers=JSON), 413)


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/projects", "/projects/default", "/predict/", "/v1/predict", "/%00"]
)
def test_unknown_addresses_are_404(shared: httpx.Client, path: str) -> None:
    is_problem(shared.get(path, headers=ADMIN), 404)


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/predict", "POST"), ("DELETE", "/health", "GET")])
def test_other_methods_are_405_with_allow(shared: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = shared.request(method, path)
    is_problem(answer, 405)
    assert answer.headers["allow"] == allowed


def test_head_is_get_without_the_body(shared: httpx.Client) -> None:
    for path, headers in (("/health", {}), ("/metrics", ADMIN), ("/v2/models/default", ADMIN), ("/openapi.json", {})):
        answer = shared.head(path, headers=headers)
        assert (answer.status_code, answer.content) == (200, b""), path
        assert answer.headers["content-type"] == shared.get(path, headers=headers).headers["content-type"]
    assert shared.head("/metrics").status_code == 401
    assert shared.head("/predict", headers=ADMIN).headers["allow"] == "POST"
    assert shared.get("/health").status_code == 200  # on the same connection


@pytest.mark.parametrize("slug", ["x' OR 1=1 --", "<script>", "..%2F..", "a" * 3000, "%F0%9F%92%A9", "%ff"])
def test_slugs_that_are_none_are_404_everywhere(shared: httpx.Client, slug: str) -> None:
    is_problem(shared.post(f"/projects/{slug}/predict", json=ROW, headers=ADMIN), 404)
    is_problem(shared.get(f"/projects/{slug}/model-status"), 404)


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


def test_request_ids_are_echoed_or_made(shared: httpx.Client) -> None:
    assert shared.get("/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    for unsafe in ("", "a b", "x" * 200, "é"):
        made = shared.get("/health", headers={"X-Request-ID": unsafe.encode()}).headers["x-request-id"]
        assert made != unsafe and len(made) == 16
