"""The routes that ask a worker for something and tell how far it is: cycles, and the jobs that requests become."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from loguru import logger
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from core.errors import BadInput, ContinualError, FieldProblem, NotAllowed, NotFound
from core.http import bodies, repeats
from core.http.access import Api, Caller, api_of
from core.http.answers import answer_json
from core.http.problems import JobFailed
from core.records import LET_IN, Outcome
from core.services.incidents.status import Place
from core.services.serving.kept_answers import Kept

if TYPE_CHECKING:
    from core.services.automation.jobs import JobInfo

WAIT_S = 25.0
POLL_S = 0.1
WORKER_LATE_S = 5.0


def _now() -> datetime:
    return datetime.now(UTC)


# --- cycles -----------------------------------------------------------------------------------------------------


async def retrain(request: Request) -> Response:
    """Ask for a cycle, and wait a while for its end."""
    api = api_of(request)
    caller = await api.caller(request, "admin")
    bodies.require_kind(request.headers, "json")
    given = bodies.an_object(await bodies.read_json(request, empty={}), ("force",))
    force = given.get("force", False)
    if not isinstance(force, bool):
        raise BadInput("force is not a boolean.", (FieldProblem("force", bodies.type_name(force), "true or false"),))
    began = time.monotonic()
    asked, kept = await repeats.before(api, request, caller, "/retrain", b"%d" % force)
    job = (
        orjson.loads(kept.body)["job"] if kept is not None else await asyncio.to_thread(_ask, api, caller, force, asked)
    )
    while True:
        info = await asyncio.to_thread(_job, api, job)
        waited = time.monotonic() - began
        if info.status in ("done", "failed"):
            if (info.result or {}).get("outcome") in LET_IN:
                await api.infer(_warm, api, caller)  # who asks next does not wait for it
            return answer_json(_cycle(info))
        if waited > WAIT_S:
            told = {"cycle": info.cycle_id, "job": job, "outcome": "running"}
            return answer_json(told, 202, headers=job_address(request, job))
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
        also=lambda session, made: repeats.keep(session, asked, {"job": made}),
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


def _cycle(info: JobInfo) -> dict[str, Any]:
    if info.status == "failed":
        return {
            "cycle": info.cycle_id,
            "decision": None,
            "reason": info.error,
            "outcome": Outcome.FAILED,
            "job": info.id,
        }
    known = info.result or {}
    return {**{key: known.get(key) for key in ("cycle", "decision", "reason", "outcome")}, "job": info.id}


# --- jobs -------------------------------------------------------------------------------------------------------


def _job(api: Api, job_id: str) -> JobInfo:
    from core.services.automation import jobs

    return jobs.get_job(api.ws, job_id)


def job_address(request: Request, job: str) -> dict[str, str]:
    """The header that says where the job can be asked for."""
    slug = request.path_params.get("slug")
    return {"Location": f"/projects/{slug}/jobs/{job}" if slug else f"/jobs/{job}"}


async def _asked_job(request: Request) -> JobInfo:
    """The job of the address, if the token may see it: any scope, but no other project's."""
    api = api_of(request)
    token = await api.token(request, None)
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


async def job(request: Request) -> Response:
    """How far a job is."""
    info = await _asked_job(request)
    return answer_json(
        {
            "job": info.id,
            "kind": info.kind,
            "status": info.status,
            "cycle": info.cycle_id,
            "error": info.error,
            "created_at": info.created_at,
            "started_at": info.started_at,
            "finished_at": info.finished_at,
        }
    )


async def job_result(request: Request) -> Response:
    """What a job brought; 202 while it runs.

    Raises:
        JobFailed: it has no result, and why.
    """
    info = await _asked_job(request)
    if info.status == "failed":
        raise JobFailed(f"The job failed: {info.error}")
    if info.status != "done":
        return answer_json({"job": info.id, "status": info.status}, 202, headers={"Retry-After": "1"})
    if info.kind == "score":
        path = api_of(request).ws.results_path / f"{info.id}.json"
        if not path.is_file():
            raise NotFound(f"The result of job '{info.id}' is no longer kept. Score the file again.")
        return FileResponse(path, media_type="application/json")
    return answer_json(info.result or {})
