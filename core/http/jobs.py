"""POST /retrain and GET /jobs: cycles on request, and the status and results of jobs."""

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
from core.http.access import ApiState, Caller
from core.http.answers import BatchAnswer, Instant, Predictions, QueuedJob, answer_json
from core.http.dependencies import AdminCaller, AnyToken, ApiDep, IdempotencyDep
from core.http.documentation import described, parameter
from core.http.json_body import Body, JsonBody
from core.http.problems import JobFailed
from core.records import LET_IN, Outcome
from core.services.incidents.status import ProjectRef
from core.services.serving.stored_responses import StoredResponse

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
    force: bool = Field(False, description="Train and compare candidates regardless of the policy.")


class CycleAnswer(TypedDict):
    cycle: int | None
    decision: NotRequired[str | None]  # absent while the cycle runs
    reason: NotRequired[str | None]
    outcome: str
    job: str


RetrainBody = Annotated[
    Retrain,
    Depends(
        JsonBody(
            Retrain,
            message="Invalid body",
            examples={"policy decides": {}, "forced": {"force": True}},
            optional=True,
        )
    ),
]


@described(
    summary="Start a cycle",
    text="The policy decides whether to retrain; `force` retrains regardless. Responds within 30 s: 200 if the cycle has "
    "finished, otherwise 202.",
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
async def retrain(
    request: Request, caller: AdminCaller, body: RetrainBody, key: IdempotencyDep, api: ApiDep
) -> Response:
    """Request a cycle, and wait for a limited time until it has finished."""
    began = time.monotonic()
    pending, replayed = await key.look_up(caller, b"%d" % body.force)
    if replayed is not None:
        job = orjson.loads(replayed.body)["job"]
    else:
        job = await asyncio.to_thread(_request_cycle, api, caller, body.force, pending)
    while True:
        info = await asyncio.to_thread(_job, api, job)
        waited = time.monotonic() - began
        if info.status in ("done", "failed"):
            if (info.result or {}).get("outcome") in LET_IN:
                await api.infer(_warm, api, caller)  # the next prediction need not wait for it
            return answer_json(_cycle(info))
        if waited > WAIT_S:
            running: CycleAnswer = {"cycle": info.cycle_id, "job": job, "outcome": "running"}
            return answer_json(running, 202, headers=job_location(request, job))
        await _restart_worker_if_late(api, info)
        await asyncio.sleep(POLL_S)


def _request_cycle(api: ApiState, caller: Caller, force: bool, pending: StoredResponse | None) -> str:
    """Request a cycle; the id of its job."""
    from core.services.automation import jobs

    assert caller.project is not None
    job = jobs.request_cycle(
        api.ws,
        caller.project.id,
        cause="api",
        force=force,
        by=caller.name,
        now=_now(),
        also=lambda session, job_id: idempotency.store(session, pending, {"job": job_id}),
    )
    ensure_worker(api)
    return job


def ensure_worker(api: ApiState) -> None:
    """Start a worker if no scheduler is running to do so."""
    from core.services.automation import workers

    if not workers.scheduler_lives(api.ws, _now()):
        api.wake_worker()


async def _restart_worker_if_late(api: ApiState, info: JobInfo) -> None:
    """Start a worker for a job that has been queued for too long: the scheduler may have died since its last heartbeat."""
    if info.status == "queued" and (_now() - info.created_at).total_seconds() > WORKER_LATE_S:
        await asyncio.to_thread(api.wake_worker, again=True)


def _warm(api: ApiState, caller: Caller) -> None:
    assert caller.project is not None
    try:
        api.warm(caller.project.id)
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


def _job(api: ApiState, job_id: str) -> JobInfo:
    from core.services.automation import jobs

    return jobs.get_job(api.ws, job_id)


def job_location(request: Request, job: str) -> dict[str, str]:
    """The Location header of a job."""
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


async def _job_of_path(request: Request, token: AnyToken, api: ApiDep) -> JobInfo:
    """The job in the path, if it belongs to a project of the token; any scope will do."""
    slug = request.path_params.get("slug")
    project: ProjectRef | None = (await api.caller_for(token, slug)).project if slug is not None else None
    try:
        info = await asyncio.to_thread(_job, api, request.path_params["job_id"])
    except NotFound:
        if token.project_id is not None:
            raise NotAllowed("This token is for another project.") from None
        raise
    if token.project_id not in (None, info.project_id):
        raise NotAllowed("This token is for another project.")
    if project is not None and info.project_id != project.id:
        raise NotFound(f"There is no job '{info.id}' in project '{project.slug}'.")
    await _restart_worker_if_late(api, info)
    return info


if TYPE_CHECKING:
    JobOfPath = Annotated[JobInfo, Depends(_job_of_path)]
else:  # imported with the first request for a job, to start faster
    JobOfPath = Annotated[Any, Depends(_job_of_path)]
JOB_ID = parameter("job_id", "path", "The job's id.", {"type": "string"}, JOB)


@described(
    summary="Job status",
    text="Any scope; the job must belong to the token's project.",
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
async def job(info: JobOfPath) -> Response:
    """The status of a job."""
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
    summary="Job result",
    text="202 while the job is queued or running; 409 with the reason if it failed.",
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
async def job_result(info: JobOfPath, api: ApiDep) -> Response:
    """The result of a job; 202 while it is queued or running.

    Raises:
        JobFailed: the job failed; says why.
    """
    if info.status == "failed":
        raise JobFailed(f"The job failed: {info.error}")
    if info.status != "done":
        unfinished: QueuedJob = {"job": info.id, "status": info.status}
        return answer_json(unfinished, 202, headers={"Retry-After": "1"})
    if info.kind == "score":
        path = api.ws.results_path / f"{info.id}.json"
        if not path.is_file():
            raise NotFound(f"The result of job '{info.id}' has expired. Score the file again.")
        return FileResponse(path, media_type="application/json")
    return answer_json(info.result or {})
