"""Rows of a request become the frame that models take, or every problem is named."""

from __future__ import annotations

import functools
import json
import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.conforming import conform
from core.data.inferring import infer_schema
from core.data.rows import RowReader, rows_to_frame
from core.errors import BadInput, FieldProblem
from core.http.json_decoding import decode
from core.records import FeatureSchema

FRAME = pd.DataFrame(
    {
        "feature1": [1.0, 2.0, 3.0],
        "site": ["east", "west", None],
        "ok": [True, False, True],
        "key": ["a", "b", "c"],
        "at": ["2026-01-01"] * 3,
        "y": [0, 1, 0],
    }
)
SCHEMA = infer_schema(FRAME, target="y", id_column="key", time_column="at")
ROW: dict[str, Any] = {"feature1": 0.5, "site": "east", "ok": True}


def test_rows_become_the_frame_that_conform_would_give() -> None:
    rows = [ROW, {"feature1": None, "site": None, "ok": None}, {"feature1": 2, "site": "north", "ok": False}]
    X, ids, times = rows_to_frame(rows, SCHEMA)
    expected = pd.DataFrame({"feature1": [0.5, None, 2], "site": ["east", None, "north"], "ok": [True, None, False]})
    pd.testing.assert_frame_equal(X, conform(expected, SCHEMA).X)
    assert ids == times == [None, None, None]


def test_a_row_may_bring_its_id_and_instant() -> None:
    rows = [
        {**ROW, "_id": "a7", "_time": "2026-03-01T12:00:00+02:00"},
        {**ROW, "_id": 8, "_time": "2026-03-01"},
        {**ROW, "key": "c", "at": "2026-03-01T00:00:00Z"},
        {**ROW, "_id": None, "_time": None},
        ROW,
    ]
    _, ids, times = rows_to_frame(rows, SCHEMA)
    day = datetime(2026, 3, 1, tzinfo=UTC)
    assert ids == ["a7", "8", "c", None, None]
    assert times == [day.replace(hour=10), day, day, None, None]


@pytest.mark.parametrize(
    ("change", "field", "seen", "expected"),
    [
        ({"feature1": "warm"}, "feature1", "'warm'", "a finite number or null"),
        ({"feature1": "1.5"}, "feature1", "'1.5'", "a finite number or null"),
        ({"feature1": True}, "feature1", "true", "a finite number or null"),
        ({"feature1": float("nan")}, "feature1", "nan", "a finite number or null"),
        ({"feature1": float("inf")}, "feature1", "inf", "a finite number or null"),
        ({"feature1": 10**400}, "feature1", "1000", "a finite number or null"),
        ({"feature1": [1]}, "feature1", "a list", "a finite number or null"),
        ({"site": {"a": 1}}, "site", "an object", "text, a number or null"),
        ({"site": float("inf")}, "site", "inf", "text, a number or null"),
        ({"ok": "perhaps"}, "ok", "'perhaps'", "true, false or null"),
        ({"ok": 2}, "ok", "2", "true, false or null"),
        ({"feture1": 1}, "feture1", "an unknown feature", "'feature1'"),
        ({"zzz": 1}, "zzz", "an unknown feature", "one of 3 known features"),
        ({"y": 1}, "y", "the target", "features only"),
        ({"_id": True}, "_id", "true", "text of 1 to 200"),
        ({"_id": " "}, "_id", "' '", "text of 1 to 200"),
        ({"_id": "x" * 201}, "_id", "'xxx", "text of 1 to 200"),
        ({"_time": "soon"}, "_time", "'soon'", "an instant"),
        ({"_time": 5}, "_time", "5", "an instant"),
    ],
)
@pytest.mark.parametrize("single", [True, False])
def test_a_problem_names_its_field(change: dict[str, Any], field: str, seen: str, expected: str, single: bool) -> None:
    rows = [{**ROW, **change}] if single else [ROW, {**ROW, **change}]
    with pytest.raises(BadInput, match=field) as caught:
        rows_to_frame(rows, SCHEMA, single=single)
    (problem,) = caught.value.problems
    assert problem.field == (field if single else f"rows[1].{field}")
    assert problem.seen.startswith(seen)
    assert problem.expected.startswith(expected)


def test_every_problem_is_named_up_to_twenty() -> None:
    rows: list[Any] = [{"feature1": "a", "ok": 5, "more": 1}, [1], ROW, None]
    with pytest.raises(BadInput, match="and 3 more") as caught:
        rows_to_frame(rows, SCHEMA)
    assert [p.field for p in caught.value.problems] == [
        "rows[0].feature1", "rows[0].site", "rows[0].ok", "rows[0].more", "rows[1]", "rows[3]",
    ]  # fmt: skip
    with pytest.raises(BadInput) as caught:
        rows_to_frame([{}] * 100, SCHEMA)
    assert len(caught.value.problems) == 20
    with pytest.raises(BadInput, match="no row"):
        rows_to_frame([], SCHEMA)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=3,
)
KEYS = st.sampled_from(["feature1", "site", "ok", "_id", "_time", "key", "at", "y", "other"])


@given(
    st.lists(
        st.one_of(
            st.dictionaries(KEYS, VALUES),
            st.fixed_dictionaries({"feature1": VALUES, "site": VALUES, "ok": VALUES}),
            VALUES,
        ),
        max_size=4,
    )
)
def test_any_rows_are_taken_whole_or_refused_with_their_fields(rows: list[Any]) -> None:
    problems: tuple[FieldProblem, ...] = ()
    try:
        X, ids, times = rows_to_frame(rows, SCHEMA)
    except BadInput as error:
        problems = error.problems
    if problems:
        assert all(p.field and p.expected for p in problems)
        return
    assert list(X.columns) == list(SCHEMA.names)
    assert len(X) == len(ids) == len(times) == len(rows)
    assert X["feature1"].dtype == np.float64
    assert not np.isinf(X["feature1"]).any()
    pd.testing.assert_frame_equal(X, conform(X, SCHEMA).X)


def test_a_schema_of_numbers_only_takes_rows_too() -> None:
    plain: FeatureSchema = infer_schema(pd.DataFrame({"a": [1, 2], "b": [3, 4], "y": [0, 1]}))
    X, _, _ = rows_to_frame([{"b": 1, "a": None}], plain)
    assert X.columns.tolist() == ["a", "b"]
    assert np.isnan(X.loc[0, "a"])
    assert X.loc[0, "b"] == 1.0


# --- rows of numbers, read without an object for each -----------------------------------------------------------

INSTANTS = ["2026-03-01T10:00:00Z", "2026-03-01 10:00:00+02:00", "2026-03-01", 1_772_000_000, 1_772_000_000.25]
NUMBERS = infer_schema(pd.DataFrame({"a": [1.0, 2.5], "b": [0.5, 2.0], "y": [0, 1]}), target="y")


def _numbers(body: bytes | str, at_most: int = 10, schema: FeatureSchema = NUMBERS) -> list[list[float]] | None:
    table = RowReader(schema).numbers(body.encode() if isinstance(body, str) else body, at_most)
    return None if table is None else np.array(table.columns).T.tolist()


@given(
    st.lists(
        st.tuples(*[st.none() | st.integers(-(2**70), 2**70) | st.floats(-3.4e38, 3.4e38, exclude_max=True)] * 2),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
    st.booleans(),
)
def test_numbers_are_read_as_from_decoded_rows(cells: list[tuple[Any, Any]], swapped: bool, spaced: bool) -> None:
    rows = [{"b": b, "a": a} if swapped and i % 2 else {"a": a, "b": b} for i, (a, b) in enumerate(cells)]
    body = json.dumps({"rows": rows}, indent=1 if spaced else None).encode()
    table, expected = RowReader(NUMBERS).numbers(body, 8), RowReader(NUMBERS).many(decode(body)["rows"])
    assert table is not None and table.ids is table.times is None and table.n == len(cells)
    for column, same in zip(table.columns, expected.columns, strict=True):
        assert np.array_equal(column, same, equal_nan=True)


@pytest.mark.parametrize(
    "body",
    [
        "", "null", "[]", "{}", '{"rows":[]}', '{"rows":{}}', '{"rows":null}', '{"rows":[null]}', '{"rows":[[1,2]]}',
        '{"rows":[{}]}', '{"rows":[{"a":1}]}', '{"rows":[{"a":1,"b":2,"c":3}]}', '{"rows":[{"a":1,"b":2}],"more":1}',
        '{"a":1,"b":2}', '{"rows":[{"a":1,"b":true}]}', '{"rows":[{"a":1,"b":"2"}]}', '{"rows":[{"a":1,"b":[2]}]}',
        '{"rows":[{"a":1,"b":{}}]}', '{"rows":[{"a":1,"b":NaN}]}', '{"rows":[{"a":1,"b":1e400}]}',
        '{"rows":[{"a":1,"b":3.4e38}]}', '{"rows":[{"a":1,"b":-3.5e38}]}', '{"rows":[{"a":1,"b":2,"b":2}]}',
        '{"rows":[{"a":1,"b":2,"\\u0062":2}]}', '{"rows":[{"a":1,"b":2}],"rows":[{"a":1,"b":2}]}',
        '{"rows":[{"a":1,"b":2,"_id":""}]}', '{"rows":[{"a":1,"b":2,"_id":1.0}]}', '{"rows":[{"a":1,"b":2,"_id":true}]}',
        '{"rows":[{"a":1,"b":2,"_id":18446744073709551616}]}',
        '{"rows":[{"a":1,"b":2,"_id":"x","_id":"x"}]}', '{"rows":[{"a":1,"b":2,"_id":"x","_id":"\\u003ax"}]}',
        '{"rows":[{"a":1,"b":2,"_time":"soon"}]}', '{"rows":[{"a":1,"b":2,"_time":[1]}]}', '{"rows":[{"a":1,"b":2}]', '{"rows":[{"a":1,"b":2}]} x',
        '{"rows":[{"a":1,"b":01}]}', '{"rows":[{"a":1,"b":2},]}', b'{"rows":[{"a":1,"b":2}]}\xff',
        '{"rows":' + "[" * 100_000, '{"rows":[{"a":' + '{"a":' * 100_000,
        '{"rows":[' + ",".join(['{"a":1,"b":2}'] * 11) + "]}",
    ],
)  # fmt: skip
def test_any_other_body_is_left_to_the_decoder(body: bytes | str) -> None:
    assert _numbers(body) is None


@pytest.mark.parametrize(
    "valid",
    [
        b'{"rows": [{"a": 1, "b": -2.5e-3}, {"b": null, "a": 0.125}, {"a": 3.0, "b": 4}]}',
        b'{"rows": [{"_id": "x:1", "a": 1, "b": 2}, {"a": 3, "b": 4, "_id": 5, "_time": "2026-03-01T10:00:00Z"}]}',
    ],
)
def test_a_changed_body_is_read_as_the_decoder_reads_it_or_left_to_it(valid: bytes) -> None:
    pieces = [
        b'"_id"', b'"_time"', b"\\u003a", b'"a"', b'"b"', b'"rows"', b":", b",", b"{", b"}", b"[", b"]", b"null", b"-",
        b".", b"e", b"0", b"9", b" ", b"\\", b'"', b"true", b"NaN", b"1e400", b"\xff",
    ]  # fmt: skip
    rng, reader = random.Random(0), RowReader(NUMBERS)
    read = 0
    for _ in range(100_000):
        body = bytearray(valid)
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(body))
            body[at : at + rng.randrange(4)] = rng.choice(pieces)
        table = reader.numbers(bytes(body), 10)
        if table is not None:
            read += 1
            expected = reader.many(decode(bytes(body))["rows"])  # raises if it is no valid body
            assert all(map(functools.partial(np.array_equal, equal_nan=True), table.columns, expected.columns)), body
            assert (table.ids or [None] * table.n) == (expected.ids or [None] * table.n), body
            assert (table.times or [None] * table.n) == (expected.times or [None] * table.n), body
    assert read > 1_000


@given(
    st.lists(
        st.fixed_dictionaries(
            {"a": st.floats(-9, 9), "b": st.none() | st.integers(-9, 9)},
            optional={
                "_id": st.text(min_size=1) | st.integers(-(2**63), 2**64 - 1),
                "_time": st.sampled_from(INSTANTS),
            },
        ),
        min_size=1,
        max_size=5,
    )
)
def test_ids_and_instants_are_read_as_from_decoded_rows(rows: list[dict[str, Any]]) -> None:
    body = json.dumps({"rows": rows}, ensure_ascii=False).encode()
    table = RowReader(NUMBERS).numbers(body, 8)
    if b"\\" in body or any(str(row.get("_id", "x")).strip() == "" for row in rows):
        return
    assert table is not None
    expected = RowReader(NUMBERS).many(decode(body)["rows"])
    assert np.array_equal(table.columns, expected.columns, equal_nan=True)
    assert (table.ids or [None] * table.n) == (expected.ids or [None] * table.n)
    assert (table.times or [None] * table.n) == (expected.times or [None] * table.n)


def test_numbers_have_the_names_and_kinds_of_the_schema() -> None:
    assert _numbers('{"rows":[{"b":1,"a":2},{"a":null,"b":1e-3}]}') is not None
    assert np.array_equal(_numbers('{"rows":[{"b":1,"a":2}]}') or [], [[2, 1]])
    for name in ('say "a"', "back\\slash", "a:b", "Größe", "line\nbreak"):
        schema = infer_schema(pd.DataFrame({name: [1.0, 2.5], "y": [0, 1]}), target="y")
        read = _numbers(json.dumps({"rows": [{name: 3}]}), schema=schema)
        assert read is None or read == [[3.0]], name
    assert read is None  # of the last one: JSON writes it with an escape
    assert _numbers('{"rows":[{"feature1":1,"site":"east","ok":true}]}', schema=SCHEMA) is None
