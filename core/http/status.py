"""GET /health, /model-status and /metrics: whether everything works, and how well the model does."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Literal, NotRequired

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from core.errors import NotAllowed, NotFound
from core.http.access import ApiState, api_of
from core.http.answers import Instant, answer_json
from core.http.dependencies import ApiDep
from core.http.documentation import described
from core.records import is_worse, metric_for
from core.services.incidents import status
from core.services.operations import metrics as prometheus

DATABASE_ANSWERS_S = 3.0


# --- health -----------------------------------------------------------------------------------------------------


class HealthAnswer(TypedDict):
    status: Literal["ok", "degraded", "down"]
    reason: str | None
    database: Literal["ok", "down"]
    model_version: int | None
    scheduler_age_seconds: float | None
    uptime_seconds: float


@described(
    summary="Health",
    text="Flat JSON for probes. Without a model yet, or if no scheduler ever ran here, the status is `ok` with nulls.",
    answers={
        200: (
            HealthAnswer,
            {
                "status": "ok",
                "reason": None,
                "database": "ok",
                "model_version": 3,
                "scheduler_age_seconds": 4.2,
                "uptime_seconds": 86400.0,
            },
        ),
        503: (
            HealthAnswer,
            {
                "status": "down",
                "reason": "The database is out of reach.",
                "database": "down",
                "model_version": None,
                "scheduler_age_seconds": None,
                "uptime_seconds": 12.0,
            },
        ),
    },
)
async def health(request: Request, api: ApiDep) -> Response:
    """Health of the installation; 503 only if the database is unavailable."""
    health = await _health(api, request.path_params.get("slug"))
    document: HealthAnswer = {
        "status": health.status,
        "reason": health.reason,
        "database": health.database,
        "model_version": health.model_version,
        "scheduler_age_seconds": health.scheduler_age_seconds,
        "uptime_seconds": round(time.monotonic() - api.started, 3),
    }
    code = 503 if health.status == "down" else 200
    return answer_json(document, code)


async def _health(api: ApiState, slug: str | None) -> status.Health:
    check = asyncio.to_thread(status.health, api.ws, slug, datetime.now(UTC), damaged=api.damaged)
    try:
        return await asyncio.wait_for(check, DATABASE_ANSWERS_S)
    except TimeoutError:
        return status.down()


class ProbeAnswer(TypedDict):
    status: Literal["ok", "loading", "down"]
    reason: NotRequired[str | None]


@described(
    summary="Liveness",
    text="For a supervisor that restarts a hanging process.",
    answers={200: (ProbeAnswer, {"status": "ok"})},
)
async def live() -> Response:
    """This process is alive."""
    return answer_json({"status": "ok"})


@described(
    summary="Readiness",
    text="For a load balancer: the database is available, and the root project's model (each project's, if there is no root "
    "project) is loaded and has passed its check rows. A project without a model is ready.",
    answers={
        200: (ProbeAnswer, {"status": "ok", "reason": None}),
        503: (ProbeAnswer, {"status": "down", "reason": "The database is out of reach."}),
    },
)
async def ready(api: ApiDep) -> Response:
    """The database is available, and the champion is loaded and has passed its check rows."""
    health = await _health(api, None)
    if health.status == "down":
        return answer_json({"status": "down", "reason": health.reason}, 503)
    await api.projects()
    reason = await asyncio.to_thread(api.reason_not_ready)
    readiness = {None: "ok", status.MODEL_LOADING: "loading"}.get(reason, "down")
    return answer_json({"status": readiness, "reason": reason}, 200 if reason is None else 503)


# --- the model --------------------------------------------------------------------------------------------------


class ModelStatus(TypedDict):
    model_trained: Annotated[bool, Field(description="Whether this process can serve predictions now.")]
    performance: Annotated[
        float | None, Field(description="Latest score on rows that were predicted before their labels arrived.")
    ]
    threshold: float | None
    needs_retraining: bool | None
    model_version: int | None
    metric: str | None
    rows_measured: int | None
    measured_at: Instant | None


_NO_MODEL: ModelStatus = {
    "model_trained": False,
    "performance": None,
    "threshold": None,
    "needs_retraining": None,
    "model_version": None,
    "metric": None,
    "rows_measured": None,
    "measured_at": None,
}


@described(
    summary="Serving model and its measured performance",
    text="`performance` is measured on rows that were predicted before their labels arrived; null if there are none yet.",
    answers={
        200: (
            ModelStatus,
            {
                "model_trained": True,
                "performance": 0.86,
                "threshold": 0.8,
                "needs_retraining": False,
                "model_version": 3,
                "metric": "accuracy",
                "rows_measured": 1000,
                "measured_at": "2026-05-03T10:00:00+00:00",
            },
        )
    },
    errors=(404, 503),
)
async def model_status(request: Request, api: ApiDep) -> Response:
    """The serving model and its measured performance."""
    try:
        project = await api.project_of(request)
    except NotFound:
        if request.path_params.get("slug") is None and not await api.projects():
            return answer_json(_NO_MODEL)
        raise
    return answer_json(await asyncio.to_thread(_model_status, api, project.id))


def _model_status(api: ApiState, project_id: int) -> ModelStatus:
    from core.services.monitoring import monitoring
    from core.services.projects import projects

    project = projects.project_by_id(api.ws, project_id)
    threshold, document = project.policy.threshold, _NO_MODEL.copy()
    document["threshold"] = threshold
    if project.task is None:
        return document
    metric = metric_for(project.policy, project.task)
    document["metric"] = metric
    document["model_version"] = project.champion
    served = api.champions.get(project_id) if project.champion is not None else None
    document["model_trained"] = served is not None
    points = monitoring.performance_history(api.ws, project_id, role="champion", limit=1)
    score = points[-1].scores.get(metric) if points else None
    if score is not None and score.value is not None:
        worse = is_worse(score.value, threshold, metric)
        enough = score.n >= project.policy.min_rows
        document["performance"], document["rows_measured"] = score.value, score.n
        document["needs_retraining"], document["measured_at"] = worse if enough else None, points[-1].at
    return document


# --- metrics ----------------------------------------------------------------------------------------------------


@described(
    summary="Prometheus metrics",
    text="No token needed if CONTINUAL_OPEN_METRICS is true. Missing values have no series.",
    scope="read",
    answers={200: ("text/plain", 'continual_model_version{project="default"} 3\n')},
    errors=(401, 403, 404, 503),
)
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus format, of all projects or of the one in the path or of the token."""
    api = api_of(request)
    project = None
    if request.path_params.get("slug") is not None:
        project = (
            await api.project_of(request) if api.settings.open_metrics else (await api.caller(request, "read")).project
        )
    elif not api.settings.open_metrics:
        token = await api.token(request, "read")
        if token.project_id is not None:
            project = next((p for p in await api.projects(fresh=True) if p.id == token.project_id), None)
            if project is None:
                raise NotAllowed("The project of this token no longer exists. Create a token for another one.")
    only = project.id if project is not None else None
    text = await asyncio.to_thread(prometheus.metrics_text, api.ws, datetime.now(UTC), project_id=only)
    text += api.requests.text(project=project.slug if project is not None else None)
    return Response(text, headers={"Content-Type": prometheus.CONTENT_TYPE})
