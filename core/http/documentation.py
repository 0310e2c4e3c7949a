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
    400: "Not JSON, contains NaN or Infinity, or is nested too deeply",
    401: "Missing, unknown, expired or revoked token",
    403: "The token lacks the scope, or is for another project",
    404: "No such project, job or model version; tokens for all projects see which exist",
    408: "The request body stalled",
    409: "Conflicts with the current state, for example no champion yet",
    413: "The body exceeds the limit of bytes or rows",
    415: "A content type that this route does not accept",
    422: "Invalid rows, fields or parameters; nothing was stored",
    429: "The token's rate limit is exceeded; see Retry-After",
    503: "Database or model unavailable; nothing was stored",
}


def _header(text: str, kind: str) -> JsonObject:
    return {"description": text, "required": True, "schema": {"type": kind}}


_WAIT = {"Retry-After": _header("Seconds to wait before retrying.", "integer")}
HEADERS: dict[int, JsonObject] = {
    401: {"WWW-Authenticate": _header("The authentication scheme.", "string")},
    429: _WAIT,
    503: _WAIT,
}
ROW_ERRORS = (400, 401, 403, 404, 409, 413, 415, 422, 503)
MODEL_ERRORS = (401, 403, 404, 409, 503)


def reference(model: Any) -> dict[str, str]:
    """A reference to a schema of the components."""
    return {"$ref": REF.format(model=model.__name__)}


def parameter(name: str, where: str, text: str, schema: JsonObject, example: Any = None) -> JsonObject:
    """A parameter of a route; path parameters are required, others optional."""
    declared = {"name": name, "in": where, "required": where == "path", "description": text, "schema": schema}
    return declared if example is None else {**declared, "example": example}


VERSION = parameter("version", "path", "The serving version.", {"type": "string"}, "3")
SLUG = parameter("slug", "path", "The project's slug.", {"type": "string"}, "default")
IDEMPOTENCY_KEY = parameter(
    "Idempotency-Key",
    "header",
    "Repeating a request with the same key returns the first response; nothing is stored twice. Keys are kept for a day.",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
)
