"""Around every request: an id that log and answer share, headers, counters, and a last net under all errors.

POST /predict, asked most by far, is answered here: routing and the framework's own steps would cost more than the rest.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time

from loguru import logger
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.http.predicting import predict
from core.http.problems import answer
from core.services.metrics import Requests

_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PREFIX, _SUFFIX = "/projects/", "/predict"
_process, _count = secrets.token_hex(4).encode(), itertools.count()


class Around:
    """ASGI middleware; the outermost layer of ours."""

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
            await send(message)

        route = _predict_route(scope)
        try:
            if route is not None:
                await predict(scope, receive, _send)
            else:
                with logger.contextualize(request=request_id.decode()):
                    await self._app(scope, receive, _send)
                route = getattr(scope.get("route"), "path", "unmatched")
        except ClientDisconnect:
            logger.debug("the client went away")
        except Exception as error:
            if code:  # the answer has begun: it can only be cut off
                raise
            with logger.contextualize(request=request_id.decode()):
                response = answer(error, scope["path"])
            await response(scope, receive, _send)
        finally:
            seconds = time.perf_counter() - began
            if route is None:
                route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._requests.answered(route, method, code, seconds)


def _predict_route(scope: Scope) -> str | None:
    """The template of /predict where that is asked for, the project's address noted; None for any other route."""
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
    """The client's, if it is one that can be logged and sent back, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SAFE_ID.fullmatch(value):
            return bytes(value)
    return b"%s%08x" % (_process, next(_count) & 0xFFFFFFFF)
