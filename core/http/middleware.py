"""The outermost middleware: request ids, response headers, metrics, and a response for every unhandled error.

POST /predict, by far the most frequent request, is answered here: routing and the framework would take longer than the
prediction itself.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time

from loguru import logger
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.http.connection import HEADERS_TOO_LARGE, MAX_HEADER_BYTES
from core.http.predict import predict
from core.http.problems import answer, problem
from core.services.operations.metrics import Requests

_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PREFIX, _SUFFIX = "/projects/", "/predict"
_CACHEABLE = ("/docs", "/openapi.json")  # the same for everybody; anything else is data and must not be cached
_process, _count = secrets.token_hex(4).encode(), itertools.count()


class RequestMiddleware:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        code = 0

        async def _send(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id),
                    (b"x-content-type-options", b"nosniff"),
                ]
                if not scope["path"].startswith(_CACHEABLE):
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "other"
        if method == "HEAD":  # as GET, whose body servers leave out
            scope = {**scope, "method": "GET"}
        route = _predict_route(scope)
        rejection = _rejection(scope)
        try:
            if rejection is not None:
                await rejection(scope, receive, _send)
            elif route is not None:
                await predict(scope, receive, _send)
            else:
                with logger.contextualize(request=request_id.decode()):
                    await self._app(scope, receive, _send)
                route = getattr(scope.get("route"), "path", "unmatched")
        except ClientDisconnect:
            logger.debug("the client disconnected")
        except Exception as error:
            if code:  # the response has started: it can only be aborted
                raise
            with logger.contextualize(request=request_id.decode()):
                response = answer(error, scope["path"])
            await response(scope, receive, _send)
        finally:
            seconds = time.perf_counter() - began
            if route is None:
                route = getattr(scope.get("route"), "path", "unmatched")
            self._requests.answered(route, method, code, seconds)


def _rejection(scope: Scope) -> Response | None:
    """The response to a request with invalid headers, which servers in front may have let through."""
    size, hosts = len(scope.get("raw_path", b"")) + len(scope["query_string"]), 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        hosts += name == b"host"
    if size > MAX_HEADER_BYTES:
        return problem(431, HEADERS_TOO_LARGE, headers={"Connection": "close"})
    if hosts != 1 and (hosts or scope.get("http_version") == "1.1"):
        return problem(400, f"The request has {hosts} Host headers, expected one.", headers={"Connection": "close"})
    return None


def _predict_route(scope: Scope) -> str | None:
    """The route template of a POST to /predict, with the slug stored in `path_params`; None for any other route."""
    path: str = scope["path"]
    if not path.endswith(_SUFFIX) or scope["method"] != "POST":
        return None
    if len(path) == len(_SUFFIX):
        return _SUFFIX
    slug = path[len(_PREFIX) : -len(_SUFFIX)]
    if not path.startswith(_PREFIX) or not slug or "/" in slug:
        return None
    scope["path_params"] = {"slug": slug}
    return "/projects/{slug}/predict"


def _request_id(scope: Scope) -> bytes:
    """The client's X-Request-ID, if it is safe to log and send back, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SAFE_ID.fullmatch(value):
            return bytes(value)
    return b"%s%08x" % (_process, next(_count) & 0xFFFFFFFF)
