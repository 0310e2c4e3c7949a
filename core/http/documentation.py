"""How a handler is documented: `described` keeps its text, schemas and examples beside it; `openapi` reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core.records.documents import JsonObject

REF = "#/components/schemas/{model}"
BINARY = {"type": "string", "format": "binary"}
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
NPY = "application/x-npy"
JSON = "application/json"


# A model or several, a JSON schema, or the media type of a text ("" for no content).
Schema = type[Any] | tuple[type[Any], ...] | JsonObject | str


@dataclass(frozen=True, kw_only=True)
class Document:
    """The documentation of one route, without what follows from its handler's dependencies."""

    summary: str
    text: str
    answers: Mapping[int, tuple[Schema, Any]]  # status -> schema, example
    scope: str | None = None  # None = open
    body: Mapping[str, tuple[Schema, JsonObject | None]] = field(default_factory=dict)  # media type -> schema, examples
    optional_body: bool = False
    parameters: Sequence[JsonObject] = ()
    errors: tuple[int, ...] = ()
    also: tuple[str, ...] = ()  # media types of binary forms of the answer


H = TypeVar("H", bound=Callable[..., Any])


def described(**fields: Any) -> Callable[[H], H]:
    """Decorator that attaches a `Document` with these fields to a handler."""

    def _attach(handler: H) -> H:
        vars(handler)["document"] = Document(**fields)
        return handler

    return _attach


ERRORS = {
    400: "Not JSON, holds NaN or Infinity, or is nested too deeply",
    401: "No, unknown, expired or revoked token",
    403: "The token's scope or project does not allow this",
    404: "No such project, job or model version; names those that exist to whoever may know",
    408: "Nothing came of the body for a while",
    409: "Contradicts what is there, such as no champion yet",
    413: "More bytes or rows than the limit",
    415: "A type that this route does not read",
    422: "Rows, fields or parameters that cannot be taken; nothing was stored",
    429: "More often than the token's limit; Retry-After says when",
    503: "Database or model out of reach; nothing was stored",
}


def _header(text: str, kind: str) -> JsonObject:
    return {"description": text, "required": True, "schema": {"type": kind}}


_WAIT = {"Retry-After": _header("Seconds until it may be tried again.", "integer")}
HEADERS: dict[int, JsonObject] = {
    401: {"WWW-Authenticate": _header("The scheme to use.", "string")},
    429: _WAIT,
    503: _WAIT,
}
ROW_ERRORS = (400, 401, 403, 404, 409, 413, 415, 422, 503)
MODEL_ERRORS = (401, 403, 404, 409, 503)


def reference(model: Any) -> dict[str, str]:
    """A reference to a schema of the components."""
    return {"$ref": REF.format(model=model.__name__)}


def parameter(name: str, where: str, text: str, schema: JsonObject, example: Any = None) -> JsonObject:
    """A parameter of a route; one of the path is required, others are not."""
    declared = {"name": name, "in": where, "required": where == "path", "description": text, "schema": schema}
    return declared if example is None else {**declared, "example": example}


VERSION = parameter("version", "path", "The version that serves.", {"type": "string"}, "3")
SLUG = parameter("slug", "path", "The project's address.", {"type": "string"}, "default")
REPEAT = parameter(
    "Idempotency-Key",
    "header",
    "The same key and request again get the answer of the first time; nothing is stored twice. Kept for a day.",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
)
