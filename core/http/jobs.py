"""The routes that ask a worker for something and tell how far it is: cycles, and the jobs that requests become."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

import orjson
from fastapi import Depends
from loguru import logger
from pydantic import Field
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from typing_extensions import TypedDict

from core.errors import ContinualError, NotAllowed, NotFound
from core.http import idempotency
from core.http.access import Api, Caller
from core.http.answers import BatchAnswer, Instant, Predictions, QueuedJob, answer_json
from core.http.dependencies import AdminCaller, AnyToken, ApiDep, RepeatDep
from core.http.documentation import described, parameter
from core.http.json_body import Body, JsonBody
from core.http.problems import JobFailed
from core.records import LET_IN, Outcome
from core.services.incidents.status import Place
from core.services.serving.kept_answers import Kept

if TYPE_CHECKING:
    from core.services.automation.jobs import JobInfo

WAIT_S = 25.0
POLL_S = 0.1
WORKER_LATE_S = 5.0
JOB = "5f0c2a9b1d3e4f60"  # in examples


def _now() -> datetime:
    return datetime.now(UTC)


# --- cycles -----------------------------------------------------------------------------------------------------


class Retrain(Body):
    force: bool = Field(False, description="Race whatever the policy says.")


class CycleAnswer(TypedDict):
    cycle: int | None
    decision: NotRequired[str | None]  # absent while it runs
    reason: NotRequired[str | None]
    outcome: str
    job: str


RetrainBody = Annotated[
    Retrain,
    Depends(
        JsonBody(
            Retrain,
            refused="The body cannot be taken",
            examples={"ask": {}, "by hand": {"force": True}},
            optional=True,
        )
    ),
]


@described(
    summary="Ask for a cycle",
    text="The policy decides; `force` races whatever it says. 200 when the cycle has ended, else 202 within 30 s.",
    answers={
        200: (
            CycleAnswer,
            {
                "cycle": 12,
                "decision": "retrain",
                "reason": "accuracy 0.71 on 1,000 rows is below 0.8",
                "outcome": "promoted",
                "job": JOB,
            },
        ),
        202: (CycleAnswer, {"cycle": 12, "job": JOB, "outcome": "running"}),
    },
)
async def retrain(request: Request, caller: AdminCaller, body: RetrainBody, repeat: RepeatDep, api: ApiDep) -> Response:
    """Ask for a cycle, and wait a while for its end."""
    began = time.monotonic()
    asked, kept = await repeat.before(caller, b"%d" % body.force)
    if kept is not None:
        job = orjson.loads(kept.body)["job"]
    else:
        job = await asyncio.to_thread(_ask, api, caller, body.force, asked)
    while True:
        info = await asyncio.to_thread(_job, api, job)
        waited = time.monotonic() - began
        if info.status in ("done", "failed"):
            if (info.result or {}).get("outcome") in LET_IN:
                await api.infer(_warm, api, caller)  # who asks next does not wait for it
            return answer_json(_cycle(info))
        if waited > WAIT_S:
            running: CycleAnswer = {"cycle": info.cycle_id, "job": job, "outcome": "running"}
            return answer_json(running, 202, headers=job_address(request, job))
        await _see_to(api, info)
        await asyncio.sleep(POLL_S)


def _ask(api: Api, caller: Caller, force: bool, asked: Kept | None) -> str:
    """Ask for a cycle; the job's id."""
    from core.services.automation import jobs

    assert caller.place is not None
    job = jobs.request_cycle(
        api.ws,
        caller.place.id,
        cause="api",
        force=force,
        by=caller.name,
        now=_now(),
        also=lambda session, made: idempotency.keep(session, asked, {"job": made}),
    )
    start_if_alone(api)
    return job


def start_if_alone(api: Api) -> None:
    """Wake a worker where no scheduler would."""
    from core.services.automation import workers

    if not workers.scheduler_lives(api.ws, _now()):
        api.wake_worker()


async def _see_to(api: Api, info: JobInfo) -> None:
    """A job that still waits after a while gets a worker: the scheduler may have died since its last beat."""
    if info.status == "queued" and (_now() - info.created_at).total_seconds() > WORKER_LATE_S:
        await asyncio.to_thread(api.wake_worker, again=True)


def _warm(api: Api, caller: Caller) -> None:
    assert caller.place is not None
    try:
        api.warm(caller.place.id)
    except ContinualError as error:
        logger.info("a model was not warmed up: {error}", error=error)


def _cycle(info: JobInfo) -> CycleAnswer:
    if info.status == "failed":
        return {
            "cycle": info.cycle_id,
            "decision": None,
            "reason": info.error,
            "outcome": Outcome.FAILED,
            "job": info.id,
        }
    known = info.result or {}
    return {
        "cycle": known.get("cycle"),
        "decision": known.get("decision"),
        "reason": known.get("reason"),
        "outcome": known["outcome"],
        "job": info.id,
    }


# --- jobs -------------------------------------------------------------------------------------------------------


def _job(api: Api, job_id: str) -> JobInfo:
    from core.services.automation import jobs

    return jobs.get_job(api.ws, job_id)


def job_address(request: Request, job: str) -> dict[str, str]:
    """The header that says where the job can be asked for."""
    slug = request.path_params.get("slug")
    return {"Location": f"/projects/{slug}/jobs/{job}" if slug else f"/jobs/{job}"}


class JobAnswer(TypedDict):
    job: str
    kind: str
    status: Annotated[str, Field(json_schema_extra={"enum": ["queued", "running", "done", "failed"]})]
    cycle: int | None
    error: str | None
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None


async def _asked_job(request: Request, token: AnyToken, api: ApiDep) -> JobInfo:
    """The job of the address, if the token may see it: any scope, but no other project's."""
    slug = request.path_params.get("slug")
    place: Place | None = (await api.placed(token, slug)).place if slug is not None else None
    try:
        info = await asyncio.to_thread(_job, api, request.path_params["job_id"])
    except NotFound:
        if token.project_id is not None:
            raise NotAllowed("This token is for another project.") from None
        raise
    if token.project_id not in (None, info.project_id):
        raise NotAllowed("This token is for another project.")
    if place is not None and info.project_id != place.id:
        raise NotFound(f"There is no job '{info.id}' in project '{place.slug}'.")
    await _see_to(api, info)
    return info


if TYPE_CHECKING:
    AskedJob = Annotated[JobInfo, Depends(_asked_job)]
else:  # the record's module is imported by whoever first asks for a job
    AskedJob = Annotated[Any, Depends(_asked_job)]
JOB_ID = parameter("job_id", "path", "The job's id.", {"type": "string"}, JOB)


@described(
    summary="How far a job is",
    text="Any scope, for jobs of the token's project.",
    parameters=[JOB_ID],
    answers={
        200: (
            JobAnswer,
            {
                "job": JOB,
                "kind": "ingest",
                "status": "running",
                "cycle": None,
                "error": None,
                "created_at": "2026-05-03T10:00:00+00:00",
                "started_at": "2026-05-03T10:00:01+00:00",
                "finished_at": None,
            },
        )
    },
)
async def job(info: AskedJob) -> Response:
    """How far a job is."""
    document: JobAnswer = {
        "job": info.id,
        "kind": info.kind,
        "status": info.status,
        "cycle": info.cycle_id,
        "error": info.error,
        "created_at": info.created_at,
        "started_at": info.started_at,
        "finished_at": info.finished_at,
    }
    return answer_json(document)


@described(
    summary="What a job brought",
    text="202 while it waits or runs; 409 when it failed, with the reason.",
    parameters=[JOB_ID],
    answers={
        200: (
            (BatchAnswer, CycleAnswer, Predictions),
            {"batch": 5, "rows": 250000, "labelled": 250000, "problems": []},
        ),
        202: (QueuedJob, {"job": JOB, "status": "running"}),
    },
    errors=(409,),
)
async def job_result(info: AskedJob, api: ApiDep) -> Response:
    """What a job brought; 202 while it runs.

    Raises:
        JobFailed: it has no result, and why.
    """
    if info.status == "failed":
        raise JobFailed(f"The job failed: {info.error}")
    if info.status != "done":
        waits: QueuedJob = {"job": info.id, "status": info.status}
        return answer_json(waits, 202, headers={"Retry-After": "1"})
    if info.kind == "score":
        path = api.ws.results_path / f"{info.id}.json"
        if not path.is_file():
            raise NotFound(f"The result of job '{info.id}' is no longer kept. Score the file again.")
        return FileResponse(path, media_type="application/json")
    return answer_json(info.result or {})
