"""POST /generate: store generated rows; creates the project `default` where no project exists."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from pydantic import Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from core.errors import Conflict
from core.http import idempotency
from core.http.access import ApiState, Caller, api_of
from core.http.answers import answer_json
from core.http.dependencies import ApiDep, Bearer, IdempotencyDep
from core.http.documentation import described
from core.http.json_body import Body, JsonBody
from core.services.incidents.status import ROOT_SLUG
from core.services.serving.stored_responses import StoredResponse

if TYPE_CHECKING:
    from core.records import ProjectInfo
    from core.services.ingestion.ingest import IngestReport


class Generate(Body):
    """Every field may be omitted or null."""

    rows: int | None = Field(1000, ge=1, le=1_000_000)
    features: int | None = Field(None, ge=1, le=1000, description="Default: as in the previous batch, initially 2.")
    seed: int | None = Field(None, ge=0, description="Default: a new seed for every request.")
    noise: float | None = Field(None, ge=0, le=1)
    balance: float | None = Field(None, gt=0, lt=1, description="Share of class 1.")
    drift: dict[str, JsonValue] | None = Field(None, description="Simulated drift; see docs/data.md for its kinds.")


class Generated(TypedDict):
    batch: int
    rows: int
    project: str


class FirstBearer(Bearer):
    """As `Bearer`, but the caller has no project yet if none exists and the path names none."""

    async def __call__(self, request: Request) -> Caller:
        """The caller; raises as `ApiState.authorize` does."""
        api, slug = api_of(request), request.path_params.get("slug")
        token = await api.token(request, self.scope)
        if slug is None and token.project_id is None and not await api.projects(fresh=True):
            return Caller(token, None)
        return await api.caller_for(token, slug)


GenerateBody = Annotated[
    Generate,
    Depends(
        JsonBody(
            Generate,
            message="The rows cannot be generated",
            examples={"rows": {"rows": 1000}, "defaults": {}},
            optional=True,
        )
    ),
]


@described(
    summary="Generate and store rows",
    text="Rows are stored only in projects created by the generator (otherwise 409). Without any project, `default` is created.",
    answers={200: (Generated, {"batch": 4, "rows": 1000, "project": "default"})},
    errors=(409,),
)
async def generate(
    caller: Annotated[Caller, Depends(FirstBearer("ingest"))], body: GenerateBody, key: IdempotencyDep, api: ApiDep
) -> Response:
    """Generate rows and store them as a batch."""
    created = None
    if caller.project is None:
        created = await asyncio.to_thread(_create_default, api, caller)
        await api.projects(fresh=True)
        caller = await api.caller_for(caller.token, None)
    pending, replayed = await key.look_up(caller)
    try:
        return replayed or answer_json(await asyncio.to_thread(_generate, api, caller, body, pending, created))
    finally:
        if created is not None:  # it may have been deleted again
            await api.projects(fresh=True)


def _create_default(api: ApiState, caller: Caller) -> ProjectInfo | None:
    """The new project `default`; None if a concurrent request created it first."""
    from core.services.projects import projects

    try:
        return projects.create_project(
            api.ws,
            ROOT_SLUG,
            projects.Origin(source="generator"),
            by=caller.name,
            now=datetime.now(UTC),
            policy="original",
        )
    except Conflict:
        return None


def _generate(
    api: ApiState, caller: Caller, body: Generate, pending: StoredResponse | None, created: ProjectInfo | None
) -> Generated:
    """Store a generated batch. If that fails, the project that was created for it is deleted."""
    from core.services.ingestion import generated
    from core.services.projects import projects

    assert caller.project is not None
    project = projects.project_by_id(api.ws, caller.project.id)

    def _answer(report: IngestReport) -> Generated:
        return {"batch": report.batch.id, "rows": report.rows, "project": project.slug}

    try:
        report = generated.generate(
            api.ws,
            project,
            **body.model_dump(exclude_none=True, exclude_unset=True),
            by=caller.name,
            now=datetime.now(UTC),
            also=lambda session, stored: idempotency.store(session, pending, _answer(stored)),
        )
    except BaseException:
        if created is not None:
            projects.delete_project(api.ws, created, by=caller.name, now=datetime.now(UTC))
        raise
    return _answer(report)
