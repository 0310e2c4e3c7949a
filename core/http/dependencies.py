"""Dependencies of handlers: the state of the process, the caller, and the Idempotency-Key.

FastAPI resolves parameters in order: the caller comes before the body, so no body is read for an unauthorized request.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from core.http.access import ApiState, Caller, api_of
from core.http.idempotency import IdempotencyKey
from core.services.access.tokens import Scope, TokenInfo


class Scoped:
    """A dependency that requires a token; the documentation takes the scope from it.

    Args:
        scope: None for any.
    """

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope


class Bearer(Scoped):
    """The caller, if its token has the scope, in the project of the path or the root project."""

    async def __call__(self, request: Request) -> Caller:
        """The caller; raises as `ApiState.authorize` does."""
        return await api_of(request).caller(request, self.scope)


class Token(Scoped):
    """The token alone, for whichever project."""

    async def __call__(self, request: Request) -> TokenInfo:
        """The token, if it is valid and has the scope."""
        return await api_of(request).token(request, self.scope)


ApiDep = Annotated[ApiState, Depends(api_of)]
ReadCaller = Annotated[Caller, Depends(Bearer("read"))]
IngestCaller = Annotated[Caller, Depends(Bearer("ingest"))]
AdminCaller = Annotated[Caller, Depends(Bearer("admin"))]
IdempotencyDep = Annotated[IdempotencyKey, Depends(IdempotencyKey)]
AnyToken = Annotated[TokenInfo, Depends(Token(None))]
