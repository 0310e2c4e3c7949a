"""Requests that may come twice: the answer to the first one is kept under its Idempotency-Key and given again."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from core.errors import BadInput, FieldProblem
from core.http.access import Api, Caller, api_of
from core.http.answers import answer_json
from core.services.serving.kept_answers import Kept, keep_answer, kept_answer

HEADER = b"idempotency-key"
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


def wanted(given: bytes | None, caller: Caller, route: str, request: bytes, *, status: int = 200) -> Kept | None:
    """What to keep for a request with this header: everything but the answer; None without the header.

    Args:
        route: as in the documentation; the same key may be used for another one.
        request: what must be the same when it comes again.

    Raises:
        BadInput: a key that is none.
    """
    if given is None:
        return None
    if _KEY.fullmatch(given) is None:
        problem = FieldProblem("Idempotency-Key", repr(given[:40])[1:], "1 to 255 printable characters without spaces")
        raise BadInput(f"The Idempotency-Key is {problem.seen}, expected {problem.expected}.", (problem,))
    assert caller.place is not None
    key = hashlib.sha256(b"\0".join([str(caller.token.id).encode(), route.encode(), given])).hexdigest()
    return Kept(caller.place.id, key, hashlib.sha256(request).hexdigest(), status, b"", datetime.now(UTC))


def again(kept: Kept, asked: Kept) -> Response:
    """The answer that was kept.

    Raises:
        BadInput: the key came with another request.
    """
    if kept.fingerprint != asked.fingerprint:
        problem = FieldProblem("Idempotency-Key", "used for another request", "a new key for each request")
        raise BadInput("This Idempotency-Key was used for another request. Send a new one.", (problem,))
    return Response(kept.body, kept.status, {"Idempotency-Replayed": "true"}, "application/json")


async def before(
    api: Api, request: Request, caller: Caller, route: str, content: bytes
) -> tuple[Kept | None, Response | None]:
    """What to keep for this request, and the answer that was kept when it came before.

    Args:
        content: what must be the same when it comes again.
    """
    given = request.headers.get(HEADER.decode())
    asked = wanted(None if given is None else given.encode("latin-1"), caller, route, content)
    if asked is None:
        return None, None
    kept = await asyncio.to_thread(kept_answer, api.ws, asked.project_id, asked.key)
    return asked, None if kept is None else again(kept, asked)


class Repeat:
    """Dependency of routes that take an Idempotency-Key."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def before(self, caller: Caller, content: bytes | None = None) -> tuple[Kept | None, Response | None]:
        """As the function of this name, of the route that was asked.

        Args:
            content: left out, the JSON body as it came.
        """
        request = self._request
        content = request.state.body if content is None else content
        return await before(api_of(request), request, caller, f"/{request.scope['route'].name}", content)


def keep(session: Session, asked: Kept | None, document: Mapping[str, Any], *, status: int = 200) -> None:
    """Keep this answer in the transaction that stores what it tells of; nothing where no key came."""
    if asked is not None:
        keep_answer(session, dataclasses.replace(asked, status=status, body=bytes(answer_json(document).body)))
