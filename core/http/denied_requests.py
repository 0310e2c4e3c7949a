"""What the API refuses for want of a right, in the log: from which address, for what, with which token by its beginning."""

from __future__ import annotations

import time
from collections.abc import Callable

from loguru import logger
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.services.access.addresses import client_of
from core.services.access.tokens import TOKEN_PREFIX

SHOWN = len(TOKEN_PREFIX) + 4  # as many characters as the lists of tokens show
AGAIN_S = 10.0  # that further refusals of one address are counted, not told one by one
MOST_ADDRESSES = 1_000


class DeniedRequestLog:
    """ASGI middleware that logs every 401 and 403; floods from one address fill no disk."""

    def __init__(self, app: ASGIApp, trusted: tuple[str, ...], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._trusted = trusted
        self._clock = clock
        self._told: dict[str | None, tuple[float, int]] = {}  # address -> when it was told, and how many came since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and look at the status of its answer."""

        async def _send(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (401, 403):
                self._tell(scope, message["status"])
            await send(message)

        await self._app(scope, receive, _send if scope["type"] == "http" else send)

    def _tell(self, scope: Scope, status: int) -> None:
        headers = Headers(scope=scope)
        peer = (scope.get("client") or (None,))[0]
        client = client_of(peer, headers.getlist("x-forwarded-for"), self._trusted)
        at, since = self._told.get(client, (-AGAIN_S, 0))
        if self._clock() - at < AGAIN_S:
            self._told[client] = at, since + 1
            return
        if len(self._told) >= MOST_ADDRESSES:
            self._told.clear()
        self._told[client] = self._clock(), 0
        bearer = headers.get("authorization", "").partition(" ")[2].strip()
        token = bearer[:SHOWN] + "…" if bearer.startswith(TOKEN_PREFIX) else "another token" if bearer else "no token"
        logger.warning(
            "{status} for {client}: {method} {path!r} with {token}; {since} more before",
            status=status,
            client=client,
            method=scope["method"],
            path=scope["path"][:200],
            token=token,
            since=since,
        )
