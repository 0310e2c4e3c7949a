"""Errors as problem JSON (RFC 9457): which status each exception maps to, and the responses for all of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from loguru import logger
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from core import errors
from core.errors import ContinualError, FieldProblem
from core.storage.troubles import trouble_of, what_failed

MEDIA_TYPE = "application/problem+json"
_INFERENCE = re.compile(r"(/projects/[^/]+)?/v2(/|$)")
MAX_SHOWN = 300  # characters of one field of an error: long input is not echoed in full


class FieldError(TypedDict):
    field: str
    seen: str
    expected: str


class Problem(TypedDict):
    """Any error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]


class NotJson(ContinualError):
    """A body that is not valid JSON."""


class TooSlow(ContinualError):
    """A body that arrives too slowly."""


class JobFailed(errors.Conflict):
    """The result was requested of a job that failed."""


# The most specific class applies.
STATUS: Mapping[type[ContinualError], int] = {
    NotJson: 400,
    errors.NotAuthenticated: 401,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    TooSlow: 408,
    errors.Conflict: 409,
    errors.NotEnoughRows: 409,
    errors.TooLarge: 413,
    errors.UnsupportedFormat: 415,
    errors.TooOften: 429,
    errors.BadInput: 422,
    errors.ConfigurationError: 503,
    errors.StorageError: 503,
    ContinualError: 500,
}


def is_inference(path: str) -> bool:
    """Whether a path belongs to the Open Inference Protocol, which has its own error format."""
    return _INFERENCE.match(path) is not None


def problem(
    status: int,
    detail: str,
    fields: Sequence[FieldProblem] = (),
    *,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response of problem JSON."""
    document: Problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _printable(detail),
        "errors": [{"field": _short(f.field), "seen": _short(f.seen), "expected": _short(f.expected)} for f in fields],
    }
    return Response(orjson.dumps(document), status, dict(headers or {}), MEDIA_TYPE)


def _short(text: str) -> str:
    return _printable(text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "...")


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # lone surrogates cannot be sent


def status_of(error: ContinualError) -> int:
    """The status of an error, by its most specific class."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def answer(error: Exception, path: str) -> Response:
    """The response for an exception raised by a request to this path; internals are only logged."""
    response = _answer(error)
    if is_inference(path):
        headers = {k: v for k, v in response.headers.items() if k not in ("content-length", "content-type")}
        body = orjson.dumps({"error": orjson.loads(response.body)["detail"]})
        return Response(body, response.status_code, headers, "application/json")
    return response


def _answer(error: Exception) -> Response:
    if isinstance(error, ContinualError):
        status = status_of(error)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        if status in (408, 413):
            headers["Connection"] = "close"  # the rest of the body is not read
        if status == 503:
            headers["Retry-After"] = "5"
        if isinstance(error, errors.TooOften):
            headers["Retry-After"] = str(error.wait_s)
        if status >= 500:
            logger.error("{status}: {error}", status=status, error=error)
        fields = error.problems if isinstance(error, (errors.BadInput, errors.NeedsConsent)) else ()
        return problem(status, str(error), fields, headers=headers)
    if isinstance(error, HTTPException):
        return problem(error.status_code, _http_detail(error), headers=error.headers)
    if isinstance(error, SQLAlchemyError):
        logger.error("the database failed: {error}", error=type(error).__name__)
        return problem(503, what_failed(error), headers={"Retry-After": "5"})
    trouble = trouble_of(error)
    if trouble is not None:
        logger.error("{kind}: {error}", kind=trouble.kind, error=type(error).__name__)
        return problem(503, trouble.text, headers={"Retry-After": "5"})
    if isinstance(error, (asyncio.TimeoutError, MemoryError)):
        logger.error("request aborted: {error}", error=type(error).__name__)
        return problem(
            503,
            "The server ran out of time or memory for this request. Try again, or with fewer rows.",
            headers={"Retry-After": "5"},
        )
    logger.opt(exception=error).error("unhandled exception")
    return problem(500, "Internal error. See the server log for this X-Request-ID.")


def _http_detail(error: HTTPException) -> str:
    if error.status_code == 404:
        return "No such route. See /docs for all routes."
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return f"Method not allowed, expected {allowed}." if allowed else "Method not allowed."
    return str(error.detail)


async def handle(request: Request, error: Exception) -> Response:
    """Exception handler of the application."""
    return answer(error, request.scope["path"])  # a parsed URL has lost line breaks
