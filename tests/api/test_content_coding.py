"""Compressed bodies are read as what they contain, within the same limits; what is not compressed as it says is 415."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable

import httpx
import orjson
import pytest
from api_helpers import ADMIN, INFER, ROW, input_of, is_problem, npy

from core.errors import UnsupportedFormat
from core.http import bodies
from core.http.content_coding import PIECE, decompressor_of

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}
JSON = "application/json"


def unpacked(coding: str, body: bytes, cuts: list[int]) -> bytes:
    """The body that comes in pieces, cut at these places."""
    decompressor = decompressor_of(coding)
    assert decompressor is not None
    found = b""
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        for piece in decompressor.pieces(body[begin:end]):
            assert len(piece) <= PIECE
            found += piece
    return found + decompressor.rest()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_is_the_same_however_it_arrives(coding: str) -> None:
    rng = random.Random(3)
    for size in (0, 1, 1_000, 70_000, 3 * PIECE + 5):
        plain = rng.randbytes(size // 2) + bytes(size - size // 2)
        body = CODINGS[coding](plain)
        for cuts in ([], sorted(rng.sample(range(len(body)), 4)), list(range(1, min(len(body), 300)))):
            assert unpacked(coding, body, cuts) == plain
    if coding != "deflate":
        assert unpacked(coding, gzip.compress(b"one ") + gzip.compress(b"two"), [3, 9]) == b"one two"


@pytest.mark.parametrize(
    ("coding", "body", "why"),
    [
        ("gzip", gzip.compress(b"{}")[:-1], "it ends early"),
        ("gzip", b"", "it ends early"),
        ("gzip", b"{}", "incorrect header check"),
        ("gzip", gzip.compress(b"{}") + b"more", "incorrect header check"),
        ("gzip", gzip.compress(b"{}")[:-8] + bytes(8), "incorrect data check"),
        ("deflate", zlib.compress(b"{}") + b"more", "bytes follow its end"),
        ("deflate", gzip.compress(b"{}"), "incorrect header check"),
    ],
)
def test_what_is_not_compressed_as_it_says_is_refused(coding: str, body: bytes, why: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"The body is not {coding}, as Content-Encoding says: {why}"):
        unpacked(coding, body, [])


def test_no_damage_raises_anything_else() -> None:
    rng = random.Random(4)
    whole = {coding: pack(orjson.dumps({"rows": [ROW] * 50})) for coding, pack in CODINGS.items()}
    refused = 0
    for _ in range(2_000):
        coding, body = rng.choice(list(whole.items()))
        changed = bytearray(body)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            unpacked(coding, bytes(changed[: rng.randint(0, len(changed))]), [])
        except UnsupportedFormat:
            refused += 1
    assert refused > 1_000


REQUESTS = [
    ("/predict", JSON, orjson.dumps(ROW)),
    ("/predict", JSON, orjson.dumps({"rows": [ROW] * 3_000})),
    ("/predict", "application/x-npy", npy([[0.1, 2.0]])),
    ("/explain", JSON, orjson.dumps(ROW)),
    ("/invocations", JSON, orjson.dumps({"instances": [[0.1, 2.0]]})),
    ("/invocations", "text/csv", b"feature1,feature2\n0.1,2.0\n"),
    (INFER, JSON, orjson.dumps({"inputs": [input_of("feature1"), input_of("feature2")]})),
    ("/labels", JSON, orjson.dumps({"labels": [{"row_id": "nobody", "label": 1}]})),
    ("/batches?mode=score", "text/csv", b"feature1,feature2\n0.1,2.0\n"),
]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(("path", "kind", "body"), REQUESTS)
def test_every_route_reads_compressed_bodies(
    shared: httpx.Client, path: str, kind: str, body: bytes, coding: str
) -> None:
    headers = {**ADMIN, "Content-Type": kind}
    plain = shared.post(path, content=body, headers=headers)
    packed = shared.post(path, content=CODINGS[coding](body), headers={**headers, "Content-Encoding": coding})
    assert plain.status_code == packed.status_code == 200, packed.text
    if path == "/predict" and plain.json().get("predictions"):
        found = [[p["prediction"] for p in answer.json()["predictions"]] for answer in (plain, packed)]
        assert found[0] == found[1]


@pytest.mark.parametrize(("path", "kind", "body"), REQUESTS)
def test_on_every_route_another_coding_is_415(shared: httpx.Client, path: str, kind: str, body: bytes) -> None:
    headers = {**ADMIN, "Content-Type": kind, "Content-Encoding": "br"}
    answer = shared.post(path, content=body, headers=headers)
    assert answer.status_code == 415
    assert "Content-Encoding is 'br', expected gzip, deflate or none" in answer.text


def test_the_limit_counts_what_a_body_contains(shared: httpx.Client) -> None:
    bomb = gzip.compress(bytes(200 * PIECE))
    headers = {**ADMIN, "Content-Type": JSON, "Content-Encoding": "gzip"}
    for path in ("/predict", "/labels"):
        document = is_problem(shared.post(path, content=bomb, headers=headers), 413)
        assert document["errors"][0]["expected"] == f"at most {bodies.MAX_JSON_BYTES:,} bytes"
