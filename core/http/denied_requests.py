"""A log entry for every request denied with 401 or 403: client address, route, and the prefix of the token."""

from __future__ import annotations

import time
from collections.abc import Callable

from loguru import logger
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.services.access.addresses import client_of
from core.services.access.tokens import TOKEN_PREFIX

SHOWN = len(TOKEN_PREFIX) + 4  # the prefix shown in lists of tokens
INTERVAL_S = 10.0  # between log entries for one address; requests in between are counted
MAX_ADDRESSES = 1_000


class DeniedRequestLog:
    """ASGI middleware that logs 401 and 403 responses, rate-limited per address so that a flood cannot fill the disk."""

    def __init__(self, app: ASGIApp, trusted: tuple[str, ...], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._trusted = trusted
        self._clock = clock
        self._logged: dict[str | None, tuple[float, int]] = {}  # address -> time of the last entry, requests since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log a denial."""

        async def _send(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (401, 403):
                self._log(scope, message["status"])
            await send(message)

        await self._app(scope, receive, _send if scope["type"] == "http" else send)

    def _log(self, scope: Scope, status: int) -> None:
        headers = Headers(scope=scope)
        peer = (scope.get("client") or (None,))[0]
        client = client_of(peer, headers.getlist("x-forwarded-for"), self._trusted)
        at, since = self._logged.get(client, (-INTERVAL_S, 0))
        if self._clock() - at < INTERVAL_S:
            self._logged[client] = at, since + 1
            return
        if len(self._logged) >= MAX_ADDRESSES:
            self._logged.clear()
        self._logged[client] = self._clock(), 0
        bearer = headers.get("authorization", "").partition(" ")[2].strip()
        token = bearer[:SHOWN] + "…" if bearer.startswith(TOKEN_PREFIX) else "another token" if bearer else "no token"
        logger.warning(
            "{status} for {client}: {method} {path!r} with {token}; {since} more since the last entry",
            status=status,
            client=client,
            method=scope["method"],
            path=scope["path"][:200],
            token=token,
            since=since,
        )
