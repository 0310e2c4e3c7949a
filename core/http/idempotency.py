"""Idempotency keys: the response to the first request with a key is stored, and replayed when the request is repeated."""

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

from core.errors import BadInput, FieldProblem, NotAllowed
from core.http.access import ANONYMOUS, ApiState, Caller, api_of
from core.http.answers import answer_json
from core.services.serving.stored_responses import StoredResponse, store_response, stored_response

HEADER = b"idempotency-key"
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


def pending(
    header: bytes | None, caller: Caller, route: str, content: bytes, *, status: int = 200
) -> StoredResponse | None:
    """The response to be stored under this header, still without its body; None without the header.

    Args:
        route: as documented; the same key may be used on another route.
        content: what must be the same when the request is repeated.

    Raises:
        BadInput: not a valid key.
    """
    if header is None:
        return None
    if _KEY.fullmatch(header) is None:
        problem = FieldProblem("Idempotency-Key", repr(header[:40])[1:], "1 to 255 printable characters without spaces")
        raise BadInput(f"The Idempotency-Key is {problem.seen}, expected {problem.expected}.", (problem,))
    assert caller.project is not None
    key = hashlib.sha256(b"\0".join([str(caller.token.id).encode(), route.encode(), header])).hexdigest()
    return StoredResponse(caller.project.id, key, hashlib.sha256(content).hexdigest(), status, b"", datetime.now(UTC))


def pending_of(request: Request, caller: Caller, route: str, content: bytes) -> StoredResponse | None:
    """As `pending`, with the header of this request.

    Raises:
        NotAllowed: the caller is anonymous.
    """
    header = request.headers.get(HEADER.decode())
    if header is not None and caller.token is ANONYMOUS:
        raise NotAllowed("An Idempotency-Key requires a token: keys belong to the token that sends them.")
    return pending(None if header is None else header.encode("latin-1"), caller, route, content)


def replay(stored: StoredResponse, pending: StoredResponse) -> Response:
    """The stored response.

    Raises:
        BadInput: the key was used with another request.
    """
    if stored.fingerprint != pending.fingerprint:
        problem = FieldProblem("Idempotency-Key", "used for another request", "a new key for each request")
        raise BadInput("This Idempotency-Key was used for another request. Send a new one.", (problem,))
    return Response(stored.body, stored.status, {"Idempotency-Replayed": "true"}, "application/json")


async def look_up(
    api: ApiState, request: Request, caller: Caller, route: str, content: bytes
) -> tuple[StoredResponse | None, Response | None]:
    """The response to be stored for this request, and the stored response of an earlier one; None for none.

    Args:
        content: what must be the same when the request is repeated.
    """
    answer = pending_of(request, caller, route, content)
    if answer is None:
        return None, None
    stored = await asyncio.to_thread(stored_response, api.ws, answer.project_id, answer.key)
    return answer, None if stored is None else replay(stored, answer)


class IdempotencyKey:
    """Dependency of routes that accept an Idempotency-Key."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def look_up(
        self, caller: Caller, content: bytes | None = None
    ) -> tuple[StoredResponse | None, Response | None]:
        """As the function of the same name, for the requested route.

        Args:
            content: defaults to the JSON body as sent.
        """
        request = self._request
        content = request.state.body if content is None else content
        return await look_up(api_of(request), request, caller, f"/{request.scope['route'].name}", content)


def store(session: Session, pending: StoredResponse | None, document: Mapping[str, Any], *, status: int = 200) -> None:
    """Store this response in the transaction that it reports on; nothing without an Idempotency-Key."""
    if pending is not None:
        store_response(session, dataclasses.replace(pending, status=status, body=bytes(answer_json(document).body)))
