"""Clients that are slow, silent or many: given up in time, with the reason, and in nobody's way."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest
from api_helpers import ADMIN, ROW, serving
from patience import Patience, limit

from core.http import bodies, connection

HEAD = f"Host: x\r\nAuthorization: {ADMIN['Authorization']}\r\n"
BODIES = {
    "/predict": "application/json",
    "/labels": "application/json",
    "/generate": "application/json",
    "/retrain": "application/json",
    "/explain": "application/json",
    "/invocations": "text/csv",
    "/batches": "text/csv",
    "/batches?mode=score": "application/vnd.apache.parquet",
    "/v2/models/default/infer": "application/octet-stream",
}


def connected(client: httpx.Client) -> socket.socket:
    """A bare connection to the server."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=limit(30))


def head(path: str, kind: str, length: str = "Content-Length: 1000") -> bytes:
    """The head of a request that is in order."""
    return f"POST {path} HTTP/1.1\r\n{HEAD}Content-Type: {kind}\r\n{length}\r\n\r\n".encode()


def answer(raw: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and document of what comes until the server closes."""
    said = b""
    while piece := raw.recv(65_536):
        said += piece
    first, _, rest = said.partition(b"\r\n")
    return int(first.split()[1]), orjson.loads(rest.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(("path", "kind"), BODIES.items())
def test_a_body_that_stops_coming_is_408(
    shared: httpx.Client, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    monkeypatch.setattr(bodies, "SILENCE_S", 0.3)
    for length in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
        with connected(shared) as raw:
            raw.sendall(head(path, kind, length) + (b'{"a' if "Content" in length else b'3\r\n{"a\r\n'))
            status, document = answer(raw)
        assert status == 408
        assert "Send the request again" in str(document)


@pytest.mark.parametrize("path", ["/predict", "/batches"])
def test_a_body_that_trickles_is_408(shared: httpx.Client, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(bodies, "SILENCE_S", 0.5)
    with connected(shared) as raw:
        raw.sendall(head(path, BODIES["/labels" if path == "/predict" else path]))
        patience = Patience(20)
        sent = 0
        while not _is_answered(raw, 0.05):
            raw.sendall(b"1")
            sent += 1
            patience.check("an answer")
        assert sent > 2  # each came within the silence that is allowed
        assert answer(raw)[0] == 408


def _is_answered(raw: socket.socket, wait_s: float) -> bool:
    before = raw.gettimeout()
    raw.settimeout(wait_s)
    try:
        return bool(raw.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        raw.settimeout(before)


def test_headers_that_never_end_are_408_however_they_trickle(
    shared: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADERS_S", 0.5)
    with connected(shared) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\n")
        patience = Patience(20)
        while not _is_answered(raw, 0.05):
            raw.sendall(b"X-More: 1\r\n")
            patience.check("an answer")
        status, document = answer(raw)
    assert (status, document["title"]) == (408, "Request Timeout")
    assert "Send the request again" in document["detail"]


def test_a_second_request_has_as_little_time_for_its_headers(
    shared: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADERS_S", 0.5)
    with connected(shared) as raw:
        raw.sendall(f"GET /health HTTP/1.1\r\n{HEAD}\r\n".encode())
        assert raw.recv(65_536).startswith(b"HTTP/1.1 200")
        raw.sendall(b"GET /health HT")
        assert answer(raw)[0] == 408


def test_a_connection_without_a_request_is_closed(shared: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADERS_S", 0.3)
    with connected(shared) as raw:
        assert raw.recv(100) == b""


def test_headers_without_end_are_431_and_not_kept(shared: httpx.Client) -> None:
    with connected(shared) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\n" + b"X-More: 1\r\n" * (connection.MAX_HEADER_BYTES // 11 - 50))
        raw.sendall(b"X-More: 1\r\n" * 100)
        assert raw.recv(100).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


# --- responses to requests that have not ended ------------------------------------------------------------------------


BIG = b"1" * (bodies.MAX_JSON_BYTES + 8 * 1024 * 1024)


def refused(client: httpx.Client, path: str, token: str, body: Any) -> tuple[int, str]:
    """What the standard library's client, which asks for the connection to be closed, reads once it has sent everything."""
    request = urllib.request.Request(f"{client.base_url}{path}", body, {"Authorization": token})
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=limit(30)):
        pass
    return caught.value.code, caught.value.read().decode()


@pytest.mark.parametrize("path", ["/predict", "/labels", "/batches", "/v2/models/default/infer"])
def test_whoever_sends_too_much_reads_why_it_is_refused(shared: httpx.Client, path: str) -> None:
    right = ADMIN["Authorization"]
    for body, token, status in ((BIG, right, 413), (iter([BIG]), right, 413), (BIG, "Bearer wrong", 401)):
        if path == "/batches" and token == right:
            continue  # many megabytes are welcome there, but not as JSON
        seen, text = refused(shared, path, token, body)
        assert seen == status
        assert ("Split it" if status == 413 else "token") in text
    headers = {**ADMIN, "Content-Type": "application/json"}
    answer = shared.post(path, content=BIG, headers=headers, timeout=limit(30))
    assert answer.status_code == (415 if path == "/batches" else 413)
    assert shared.get("/health").status_code == 200


def test_headers_far_too_large_are_read_to_their_end(shared: httpx.Client) -> None:
    with connected(shared) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\n" + b"X-More: 1\r\n" * 1_000_000)
        assert answer(raw)[0] == 431


@pytest.mark.parametrize("closes", [False, True])
def test_the_rest_of_a_refused_body_is_not_awaited_for_ever(
    shared: httpx.Client, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    monkeypatch.setattr(connection, "REST_S", 0.5)
    wrong = HEAD.replace(ADMIN["Authorization"], "Bearer wrong") + ("Connection: close\r\n" if closes else "")
    with connected(shared) as raw:
        raw.sendall(f"POST /predict HTTP/1.1\r\n{wrong}Content-Length: 100000\r\n\r\n".encode())
        with pytest.raises(OSError, match=r"reset|pipe"):
            _trickle(raw)


def _trickle(raw: socket.socket) -> None:
    patience = Patience(20)
    while True:
        raw.sendall(b"1")
        patience.check("the end")
        time.sleep(0.05)


def test_a_connection_outlives_the_rest_of_a_refused_body(
    shared: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REST_S", 0.3)
    wrong = HEAD.replace(ADMIN["Authorization"], "Bearer wrong")
    with connected(shared) as raw:
        raw.sendall(f"POST /predict HTTP/1.1\r\n{wrong}Content-Length: 10\r\n\r\n".encode())
        assert raw.recv(65_536).startswith(b"HTTP/1.1 401")
        raw.sendall(b"1" * 10)
        time.sleep(0.6)
        raw.sendall(f"GET /health HTTP/1.1\r\n{HEAD}\r\n".encode())
        assert raw.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", ["headers", "refused", "closing"])
def test_a_server_that_ends_waits_for_no_rest(home: Path, begun: str) -> None:
    wrong = HEAD.replace(ADMIN["Authorization"], "Bearer wrong") + (
        "Connection: close\r\n" if begun == "closing" else ""
    )
    with serving() as client:
        raw = connected(client)
        raw.sendall(b"POST /predict HTTP/1.1\r\nX-More: 1\r\n")
        if begun != "headers":
            raw.sendall(f"{wrong}Content-Length: 100000\r\n\r\n11".encode())
            assert raw.recv(65_536).startswith(b"HTTP/1.1 401")
        began = time.monotonic()
    assert time.monotonic() - began < limit(3)  # with a connection left it would take the 5 s that `serving` allows
    raw.close()


def test_nothing_is_answered_on_a_connection_that_was_closed_by_a_response(shared: httpx.Client) -> None:
    second = f"POST /generate HTTP/1.1\r\n{HEAD}Content-Length: 0\r\n\r\n".encode()
    with connected(shared) as raw:
        raw.sendall(head("/predict", "application/json", f"Content-Length: {len(BIG)}"))
        assert raw.recv(65_536).startswith(b"HTTP/1.1 413")
        raw.sendall(BIG + second)
        assert raw.recv(65_536) == b""


@pytest.fixture
def crowd(shared: httpx.Client) -> Iterator[list[socket.socket]]:
    """Four hundred connections: silent ones, half-sent headers, half-sent bodies, and some that read no answer."""
    with ExitStack() as stack:
        sockets = []
        for i in range(400):
            raw = stack.enter_context(connected(shared))
            raw.sendall(
                (
                    b"",
                    b"POST /predict HTTP/1.1\r\nHost: x\r\n",
                    head("/predict", "application/json", "Content-Length: 30000000") + b'{"rows": [' + b" " * 10_000,
                    head("/predict", "application/json", "Content-Length: 32") + b'{"feature1": 1.0, "feature2": 2}',
                )[i % 4]
            )
            sockets.append(raw)
        yield sockets


def test_a_crowd_of_slow_clients_holds_no_thread_and_little_memory_and_blocks_nobody(
    shared: httpx.Client, request: pytest.FixtureRequest
) -> None:
    assert shared.post("/predict", json=ROW, headers=ADMIN).status_code == 200
    process = psutil.Process()
    threads, memory = threading.active_count(), process.memory_info().rss
    request.getfixturevalue("crowd")
    quickest = 60.0
    for _ in range(20):
        began = time.monotonic()
        assert shared.post("/predict", json=ROW, headers=ADMIN).status_code == 200
        quickest = min(quickest, time.monotonic() - began)
    assert quickest < limit(1.0)
    assert shared.get("/health").status_code == 200
    assert threading.active_count() <= threads + 8  # those of the pools, which are few whatever comes
    assert process.memory_info().rss - memory < 64 * 1024 * 1024
