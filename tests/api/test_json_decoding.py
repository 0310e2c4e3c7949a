"""Reading JSON: depth, size and repeated names are found first, and what is not JSON says what to send instead."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from api_helpers import ADMIN, is_problem

from core.errors import BadInput, TooLarge
from core.http import json_decoding, problems
from core.http.json_decoding import depth_exceeds

JSON = {**ADMIN, "Content-Type": "application/json"}


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

    table = b'{"inputs": [{"shape": [100000, 39], "data": [' + b"0.5," * 3_899_999 + b"0.5]}]}"
    assert len(json_decoding.decode(table)["inputs"][0]["data"]) == 3_900_000

    def never(_: bytes) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(json_decoding.orjson, "loads", never)
    for body in (
        b'{"rows": [' + b"0," * 5_000_000 + b"0]}",
        b'{"rows": [' + b"{}," * 5_000_000 + b"{}]}",
        b"[" + b"[]," * 5_000_000 + b"[]]",
        b"{" + b",".join(b'"a%d":0' % i for i in range(200_000)) + b"}",
    ):
        with pytest.raises(TooLarge, match=r"commas, [\d,]+ lists and [\d,]+ objects, expected at most 100,000 rows"):
            json_decoding.decode(body)
        assert is_problem(shared.post("/predict", content=body, headers=JSON), 413)["errors"][0]["field"] == "body"


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
