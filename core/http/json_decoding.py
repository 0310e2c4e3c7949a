"""JSON bodies, decoded: nesting and number of values are checked on the text before anything is decoded."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from core.data.limits import MAX_COLUMNS
from core.errors import FieldProblem, TooLarge
from core.http.problems import NotJson

AT_ONCE_BYTES = 64 * 1024  # longer bodies are decoded in a thread
MAX_ROWS = 100_000
MAX_DEPTH = 32
MAX_VALUES = 4_000_000  # of a list that is no list of rows: a whole table, row after row
MAX_CONTAINERS = 1_000_000  # objects and lists in a body
MAX_SEARCHED = 4 * 1024 * 1024  # bytes of a body that is searched for repeated names, so that no search takes long
# A JSON string; possessive quantifiers rule out catastrophic backtracking.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_PAIR = re.compile(rb"\[\]|\{\}")
_MARKS = b'[]{}"\\:,'
_UNMARKED = bytes(c for c in range(256) if c not in _MARKS)


def decode(body: bytes) -> Any:
    """The decoded JSON of a body.

    Raises:
        NotJson: it is not JSON, holds NaN or Infinity, or is nested too deeply.
        TooLarge: it holds too many values.
        BadInput: an object gives a name more than once; names the first 20.
    """
    if not body or body.isspace():
        raise NotJson("The body is empty, expected JSON.")
    marks = _marks(body)
    if _deeper(body, marks, MAX_DEPTH):
        raise NotJson(f"The body is nested more than {MAX_DEPTH} levels deep, expected rows of scalar values.")
    if _holds_too_much(marks) and _holds_too_much(_marks(_STRING.sub(b"", body))):
        seen = f"{marks.count(b','):,} commas, {marks.count(b'['):,} lists and {marks.count(b'{'):,} objects"
        most = f"at most {MAX_ROWS:,} rows of {MAX_COLUMNS:,} columns, or {MAX_VALUES:,} values in one list"
        raise TooLarge(
            f"The body holds {seen}, expected {most}. Split it into several requests.",
            (FieldProblem("body", seen, most),),
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"The body is not JSON: {error}.{_advice(error)}") from None
    if _repeats_names(body, marks, document):
        _refuse_repeated_names(body)
    return document


async def decode_aside(body: bytes) -> Any:
    """As `decode`; a long body in a thread, so that other requests are not held up."""
    return decode(body) if len(body) <= AT_ONCE_BYTES else await asyncio.to_thread(decode, body)


def _advice(error: json.JSONDecodeError) -> str:
    """What to send instead of what many programs write but JSON does not have."""
    if re.compile("-?(nan|inf)", re.IGNORECASE).match(error.doc, error.pos):
        return " JSON has no NaN and no Infinity: send null for a missing value."
    if "infinity" in error.msg:
        return " Send a number below 1.8e308 in size, or null for a missing value."
    if error.doc[error.pos : error.pos + 1] == "'":
        return " Write names and texts in double quotes."
    return ""


def depth_exceeds(body: bytes, limit: int) -> bool:
    """Whether brackets are nested more than `limit` levels deep; for malformed JSON the result is arbitrary."""
    return _deeper(body, _marks(body), limit)


# --- limits -----------------------------------------------------------------------------------------------------


def _marks(body: bytes) -> bytes:
    """The characters of a body that its structure is made of, in a large table an eighth of it: one pass, then all
    checks look at these alone.
    """
    return body.translate(None, _UNMARKED)


def _holds_too_much(marks: bytes) -> bool:
    """Whether the decoded body would take far more memory than its text; characters within strings count as well."""
    objects, lists = marks.count(b"{"), marks.count(b"[")
    if objects + lists > MAX_CONTAINERS or marks.count(b":") > MAX_COLUMNS * (objects + 1):
        return True
    return marks.count(b",") > max(MAX_VALUES, MAX_ROWS * (lists + 1) + MAX_COLUMNS * objects)


def _deeper(body: bytes, marks: bytes, limit: int) -> bool:
    if marks.count(b"[") + marks.count(b"{") <= limit:
        return False
    left = marks.translate(None, b":,")
    if b"\\" in left or _opens_in_string(left):
        left = _marks(_STRING.sub(b"", body)).translate(None, b':,"\\')
    else:
        left = left.replace(b'"', b"")
    for _ in range(limit):
        left, removed = _PAIR.subn(b"", left)
        if not removed:
            return False
    return bool(left)


def _opens_in_string(left: bytes) -> bool:
    """Whether a string contains a bracket: then the quotes around it are not adjacent."""
    return b'"' in left.replace(b'""', b"")


# --- names given more than once ---------------------------------------------------------------------------------


def _repeats_names(body: bytes, marks: bytes, document: Any) -> bool:
    """Whether the text has more members than the decoded document: of a repeated name, decoders keep the last value.

    A member has one colon. Colons within strings are looked for only when the numbers differ.
    """
    colons, members, level = marks.count(b":"), 0, [document]
    while level:
        members += sum(len(value) for value in level if type(value) is dict)
        if members == colons:
            return False
        level = [inner for value in level for inner in _containers(value)]
    if b"\\" in marks:
        return members < _STRING.sub(b"", body).count(b":")
    return members < b"".join(marks.split(b'"')[::2]).count(b":")


def _containers(value: Any) -> list[Any]:
    inner = value.values() if type(value) is dict else value
    return [each for each in inner if type(each) is dict or type(each) is list]


def _refuse_repeated_names(body: bytes) -> None:
    from core.data.cells import MAX_PROBLEMS, refusal

    lead, problems = "An object of the body gives a name more than once", list[FieldProblem]()
    if len(body) > MAX_SEARCHED:
        raise refusal(lead, [FieldProblem("body", "a name given more than once", "every name once")])
    # Numbers are left as text: Python refuses integers of more than 4,300 digits.
    document = json.loads(body.decode(), object_pairs_hook=_Members, parse_int=str, parse_float=str)
    for place, times in _repeated(document, ""):
        problems.append(FieldProblem(place[:120], f"given {times} times", "once"))
        if len(problems) == MAX_PROBLEMS:
            break
    raise refusal(lead, problems, "Send every name once.")


class _Members(list[tuple[str, Any]]):
    """The members of an object as written."""


def _repeated(value: Any, place: str) -> Iterator[tuple[str, int]]:
    """Path of each repeated name, such as `rows[3].feature1`, and how many times it is given."""
    if isinstance(value, _Members):
        times: dict[str, int] = {}
        for name, _ in value:
            times[name] = times.get(name, 0) + 1
        for name, n in times.items():
            if n > 1:
                yield f"{place}.{name}" if place else name, n
        for name, inner in value:
            yield from _repeated(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _repeated(inner, f"{place}[{i}]")
