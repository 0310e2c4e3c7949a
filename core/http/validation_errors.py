"""Pydantic's errors as field problems: the field, the value seen, and what the schema expects, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.data.cells import nearest, shown_json
from core.errors import FieldProblem
from core.http.json_body import FIELD_PROBLEM
from core.records import JsonObject

Schema = JsonObject  # a JSON schema
_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
)


def field_problems(error: ValidationError, schema: Schema) -> list[FieldProblem]:
    """One problem for each field that pydantic rejected.

    Args:
        schema: of the whole validated document, with its `$defs`.
    """
    return problems_of(error.errors(include_url=False), schema)


def problems_of(errors: Sequence[ErrorDetails], schema: Schema) -> list[FieldProblem]:
    """As `field_problems`, from a list of errors; several errors of one field (of a union) become one problem."""
    located = [(*_locate(error["loc"], schema), error) for error in errors]
    problems = []
    for field, group in groupby(located, key=lambda entry: entry[0]):
        _, at, parent, error = next(group)
        if error["type"] == FIELD_PROBLEM:
            problems.append(FieldProblem(field, error["ctx"]["seen"], error["ctx"]["expected"]))
        elif error["type"] == "extra_forbidden":
            problems.append(_unknown(field, parent))
        else:
            seen = "missing" if error["type"] == "missing" else shown_json(error["input"])
            problems.append(FieldProblem(field, seen, expected_by(at, schema)))
    return problems


def _unknown(field: str, parent: Schema) -> FieldProblem:
    known = list(parent.get("properties", {}))
    near = nearest(field.rpartition(".")[2][:200], known)
    return FieldProblem(field, "an unknown field", f"'{near}'" if near else f"one of {', '.join(known)}")


def _locate(location: Sequence[str | int], root: Schema) -> tuple[str, Schema, Schema]:
    """The field's path as a client writes it, its schema, and the schema of its parent object."""
    name, at, parent = "", root, root
    for part in location:
        at = _resolved(at, root)
        if isinstance(part, int):
            name, at, parent = f"{name}[{part}]", at.get("items", {}), at
        elif "anyOf" in at:  # this part names the branch of a union, not a field
            at = next((s for s in at["anyOf"] if s.get("$ref", "").endswith(f"/{part}")), at)
        else:
            name, at, parent = f"{name}.{part[:80]}".lstrip("."), at.get("properties", {}).get(part, {}), at
    return name or "body", _resolved(at, root), parent


def _resolved(schema: Schema, root: Schema) -> Schema:
    return cast("Schema", root["$defs"][schema["$ref"].rpartition("/")[2]]) if "$ref" in schema else schema


def expected_by(schema: Schema, root: Schema) -> str:
    """What a schema accepts, in words: "a whole number from 1 to 1,000"."""
    schema = _resolved(schema, root)
    if "anyOf" in schema:
        branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
        if {"type": "number"} in branches:
            branches = [branch for branch in branches if branch.get("type") != "integer"]
        *before, last = dict.fromkeys(expected_by(branch, root) for branch in branches)
        return f"{', '.join(before)} or {last}" if before else last
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    words = _WORDS.get(schema.get("type", ""), "something else")
    if schema.get("properties"):
        words += f" {{{', '.join(schema['properties'])}}}"
    if "items" in schema and "minItems" in schema and "maxItems" in schema:
        words += f" of {schema['minItems']:,} to {schema['maxItems']:,}"
    return words + _range(schema)


def _range(schema: Schema) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:,} to {schema['maximum']:,}"
    return "".join(_bounds(schema))


def _bounds(schema: Schema) -> Iterator[str]:
    glue = " "
    for key, words in _BOUNDS:
        if key in schema:
            yield f"{glue}{words} {schema[key]:,}"
            glue = " and "
