"""What handlers ask for in their signature: the process's state, who asks, and whether the request came before.

Parameters are solved in their order: the caller stands before the body, so that nobody unknown has it read.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from core.http.access import Api, Caller, api_of
from core.http.idempotency import Repeat
from core.services.access.tokens import Scope, TokenInfo


class Scoped:
    """A dependency for which a token is needed; the documentation reads its scope here.

    Args:
        scope: None for any.
    """

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope


class Bearer(Scoped):
    """Whoever asks, if the token holds the scope, and the project of the address or the root's."""

    async def __call__(self, request: Request) -> Caller:
        """The caller; see `Api.who` for what is raised."""
        return await api_of(request).caller(request, self.scope)


class Token(Scoped):
    """The token alone, whatever project it is for."""

    async def __call__(self, request: Request) -> TokenInfo:
        """The token, if it is in force and holds the scope."""
        return await api_of(request).token(request, self.scope)


ApiDep = Annotated[Api, Depends(api_of)]
ReadCaller = Annotated[Caller, Depends(Bearer("read"))]
IngestCaller = Annotated[Caller, Depends(Bearer("ingest"))]
AdminCaller = Annotated[Caller, Depends(Bearer("admin"))]
RepeatDep = Annotated[Repeat, Depends(Repeat)]
AnyToken = Annotated[TokenInfo, Depends(Token(None))]
