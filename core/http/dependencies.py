"""What handlers ask for in their signature: the process's state, who asks, and whether the request came before.

Parameters are solved in their order: the caller stands before the body, so that nobody unknown has it read.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from core.http.access import Api, Caller, api_of
from core.http.repeats import Repeat
from core.services.access.tokens import Scope


class Bearer:
    """Dependency: whoever asks, if the token holds the scope, and the project of the address or the root's."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        """The caller; see `Api.who` for what is raised."""
        return await api_of(request).caller(request, self.scope)


ApiDep = Annotated[Api, Depends(api_of)]
ReadCaller = Annotated[Caller, Depends(Bearer("read"))]
IngestCaller = Annotated[Caller, Depends(Bearer("ingest"))]
AdminCaller = Annotated[Caller, Depends(Bearer("admin"))]
RepeatDep = Annotated[Repeat, Depends(Repeat)]
