"""Rows that the generator makes; at the root, the project `default` for them where there is no project."""

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
from core.http.access import Api, Caller, api_of
from core.http.answers import answer_json
from core.http.dependencies import ApiDep, Bearer, RepeatDep
from core.http.documentation import described
from core.http.json_body import Body, JsonBody
from core.services.incidents.status import ROOT_SLUG
from core.services.serving.kept_answers import Kept

if TYPE_CHECKING:
    from core.records import ProjectInfo
    from core.services.ingestion.ingest import IngestReport


class Generate(Body):
    """Each may be left out or null."""

    rows: int | None = Field(1000, ge=1, le=1_000_000)
    features: int | None = Field(None, ge=1, le=1000, description="Left out: as before, at first 2.")
    seed: int | None = Field(None, ge=0, description="Left out: new rows each time.")
    noise: float | None = Field(None, ge=0, le=1)
    balance: float | None = Field(None, gt=0, lt=1, description="Share of the class 1.")
    drift: dict[str, JsonValue] | None = Field(None, description="Controlled drift; docs/data.md lists its kinds.")


class Generated(TypedDict):
    batch: int
    rows: int
    project: str


class FirstBearer(Bearer):
    """Dependency: as `Bearer`, but the caller has no project yet at the root of an installation without any."""

    async def __call__(self, request: Request) -> Caller:
        """The caller; see `Api.who` for what is raised."""
        api, slug = api_of(request), request.path_params.get("slug")
        token = await api.token(request, self.scope)
        if slug is None and token.project_id is None and not await api.places(fresh=True):
            return Caller(token, None)
        return await api.placed(token, slug)


GenerateBody = Annotated[
    Generate,
    Depends(
        JsonBody(
            Generate,
            refused="These rows cannot be generated",
            examples={"usual": {"rows": 1000}, "nothing": {}},
            optional=True,
        )
    ),
]


@described(
    summary="Store generated rows",
    text="Into a project that the generator made (else 409). At the root it makes `default` where there is no project.",
    answers={200: (Generated, {"batch": 4, "rows": 1000, "project": "default"})},
    errors=(409,),
)
async def generate(
    caller: Annotated[Caller, Depends(FirstBearer("ingest"))], body: GenerateBody, repeat: RepeatDep, api: ApiDep
) -> Response:
    """Store new generated rows."""
    made = None
    if caller.place is None:
        made = await asyncio.to_thread(_make_default, api, caller)
        await api.places(fresh=True)
        caller = await api.placed(caller.token, None)
    asked, kept = await repeat.before(caller)
    try:
        return kept or answer_json(await asyncio.to_thread(_generate, api, caller, body, asked, made))
    finally:
        if made is not None:  # it may be gone again
            await api.places(fresh=True)


def _make_default(api: Api, caller: Caller) -> ProjectInfo | None:
    """The project `default`; None when another call was quicker."""
    from core.services.projects import projects

    try:
        return projects.create_project(
            api.ws, ROOT_SLUG, source="generator", by=caller.name, now=datetime.now(UTC), policy="original"
        )
    except Conflict:
        return None


def _generate(api: Api, caller: Caller, body: Generate, asked: Kept | None, made: ProjectInfo | None) -> Generated:
    """The batch, as it is answered. A project that was made for it goes again when there is none."""
    from core.services.ingestion import generated
    from core.services.projects import projects

    assert caller.place is not None
    project = projects.project_by_id(api.ws, caller.place.id)

    def _answer(report: IngestReport) -> Generated:
        return {"batch": report.batch.id, "rows": report.rows, "project": project.slug}

    try:
        report = generated.generate(
            api.ws,
            project,
            **body.model_dump(exclude_none=True, exclude_unset=True),
            by=caller.name,
            now=datetime.now(UTC),
            also=lambda session, stored: idempotency.keep(session, asked, _answer(stored)),
        )
    except BaseException:
        if made is not None:
            projects.delete_project(api.ws, made, by=caller.name, now=datetime.now(UTC))
        raise
    return _answer(report)
