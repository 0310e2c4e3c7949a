"""Around every request: an id that log and answer share, headers, counters, and a last net under all errors."""

from __future__ import annotations

import re
import secrets
import time

from loguru import logger
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.http.problems import answer
from core.services.metrics import Requests

_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"})


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
                message.setdefault("headers", []).extend(
                    ((b"x-request-id", request_id), (b"x-content-type-options", b"nosniff"))
                )
            await send(message)

        with logger.contextualize(request=request_id.decode()):
            try:
                await self._app(scope, receive, _send)
            except ClientDisconnect:
                logger.debug("the client went away")
            except Exception as error:
                if code:  # the answer has begun: it can only be cut off
                    raise
                await answer(error)(scope, receive, _send)
            finally:
                seconds = time.perf_counter() - began
                route = getattr(scope.get("route"), "path", "unmatched")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._requests.answered(route, method, code, seconds)
                logger.debug(
                    "{method} {route} {code} {ms:.1f} ms", method=method, route=route, code=code, ms=seconds * 1e3
                )


def _request_id(scope: Scope) -> bytes:
    """The client's, if it is one that can be logged and sent back, else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given if _SAFE_ID.fullmatch(given) else secrets.token_hex(8).encode()
