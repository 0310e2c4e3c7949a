"""What the documents of all routes share: their form, media types, errors, parameters and references to schemas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

REF = "#/components/schemas/{model}"
BINARY = {"type": "string", "format": "binary"}
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
NPY = "application/x-npy"
JSON = "application/json"


class FieldError(BaseModel):
    field: str
    seen: str
    expected: str


class Problem(BaseModel):
    """Every error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]


@dataclass(frozen=True, kw_only=True)
class Document:
    """What is told about one route; what its handler's dependencies tell is not repeated here."""

    summary: str
    text: str
    answers: dict[int, tuple[Any, Any]]  # status -> schema (or several) or media type ("": no body), example
    scope: str | None = None  # None = open
    body: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # media type -> schema, example
    optional_body: bool = False
    parameters: Sequence[dict[str, Any]] = ()
    errors: tuple[int, ...] = ()
    also: tuple[str, ...] = ()  # media types of other forms of the answer


H = TypeVar("H", bound=Callable[..., Any])


def described(**told: Any) -> Callable[[H], H]:
    """Decorator that keeps a `Document` with its handler, made of these fields."""

    def _keep(handler: H) -> H:
        vars(handler)["document"] = Document(**told)
        return handler

    return _keep


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


def _header(text: str, kind: str) -> dict[str, Any]:
    return {"description": text, "required": True, "schema": {"type": kind}}


_WAIT = {"Retry-After": _header("Seconds until it may be tried again.", "integer")}
HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _header("The scheme to use.", "string")},
    429: _WAIT,
    503: _WAIT,
}
ROW_ERRORS = (400, 401, 403, 404, 409, 413, 415, 422, 503)
MODEL_ERRORS = (401, 403, 404, 409, 503)


def reference(model: Any) -> dict[str, str]:
    """What stands for a schema of the components."""
    return {"$ref": REF.format(model=model.__name__)}


def parameter(name: str, where: str, text: str, schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    """A parameter of a route; one of the path is required, others are not."""
    told = {"name": name, "in": where, "required": where == "path", "description": text, "schema": schema}
    return told if example is None else {**told, "example": example}


SLUG = parameter("slug", "path", "The project's address.", {"type": "string"}, "default")
REPEAT = parameter(
    "Idempotency-Key",
    "header",
    "The same key and request again get the answer of the first time; nothing is stored twice. Kept for a day.",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
)
