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
from core.http.access import Api, api_of
from core.http.answers import Instant, answer_json
from core.http.dependencies import ApiDep
from core.http.documentation import described
from core.records import is_worse, metric_for
from core.services.incidents import status
from core.services.incidents.status import Place
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
    summary="Whether all is well",
    text="Flat JSON for probes. No model yet, or a scheduler that never ran here, is `ok` with nulls.",
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
    """Whether all is well, flat; 503 only when the database is out of reach."""
    found = await _health(api, request.path_params.get("slug"))
    document: HealthAnswer = {
        "status": found.status,
        "reason": found.reason,
        "database": found.database,
        "model_version": found.model_version,
        "scheduler_age_seconds": found.scheduler_age_seconds,
        "uptime_seconds": round(time.monotonic() - api.started, 3),
    }
    code = 503 if found.status == "down" else 200
    return answer_json(document, code)


async def _health(api: Api, slug: str | None) -> status.Health:
    asked = asyncio.to_thread(status.health, api.ws, slug, datetime.now(UTC), damaged=api.damaged)
    try:
        return await asyncio.wait_for(asked, DATABASE_ANSWERS_S)
    except TimeoutError:
        return status.down()


class ProbeAnswer(TypedDict):
    status: Literal["ok", "loading", "down"]
    reason: NotRequired[str | None]


@described(
    summary="This process answers",
    text="For a supervisor that restarts what hangs.",
    answers={200: (ProbeAnswer, {"status": "ok"})},
)
async def live() -> Response:
    """This process answers."""
    return answer_json({"status": "ok"})


@described(
    summary="This process and its database answer, and the model is loaded",
    text="For a load balancer. The model of the root, or of each project where the root stands for none, has answered its check "
    "rows by then; a project without a model is ready.",
    answers={
        200: (ProbeAnswer, {"status": "ok", "reason": None}),
        503: (ProbeAnswer, {"status": "down", "reason": "The database is out of reach."}),
    },
)
async def ready(api: ApiDep) -> Response:
    """This process and its database answer, and the model that answers is loaded and has answered its check rows."""
    found = await _health(api, None)
    if found.status == "down":
        return answer_json({"status": "down", "reason": found.reason}, 503)
    await api.places()
    reason = await asyncio.to_thread(api.not_ready)
    told = {None: "ok", status.MODEL_LOADING: "loading"}.get(reason, "down")
    return answer_json({"status": told, "reason": reason}, 200 if reason is None else 503)


# --- the model --------------------------------------------------------------------------------------------------


class ModelStatus(TypedDict):
    model_trained: Annotated[bool, Field(description="This process can answer with it now.")]
    performance: Annotated[
        float | None, Field(description="Newest measured score, on rows predicted before their label came.")
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
    summary="What serves, and how well it does",
    text="`performance` is measured on rows predicted before their label was known; null while nothing was.",
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
    """What serves, and how well it was measured to do."""
    try:
        place = await api.place(request)
    except NotFound:
        if request.path_params.get("slug") is None and not await api.places():
            return answer_json(_NO_MODEL)
        raise
    return answer_json(await asyncio.to_thread(_model_status, api, place))


def _model_status(api: Api, place: Place) -> ModelStatus:
    from core.services.monitoring import monitoring
    from core.services.projects import projects

    project = projects.project_by_id(api.ws, place.id)
    threshold, document = project.policy.threshold, _NO_MODEL.copy()
    document["threshold"] = threshold
    if project.task is None:
        return document
    metric = metric_for(project.policy, project.task)
    document["metric"] = metric
    document["model_version"] = project.champion
    served = api.champions.get(place.id) if project.champion is not None else None
    document["model_trained"] = served is not None
    points = monitoring.performance_history(api.ws, place.id, role="champion", limit=1)
    score = points[-1].scores.get(metric) if points else None
    if score is not None and score.value is not None:
        worse = is_worse(score.value, threshold, metric)
        told = worse if score.n >= project.policy.min_rows else None  # a handful of rows tells nothing yet
        document["performance"], document["rows_measured"] = score.value, score.n
        document["needs_retraining"], document["measured_at"] = told, points[-1].at
    return document


# --- metrics ----------------------------------------------------------------------------------------------------


@described(
    summary="Prometheus metrics",
    text="Open where CONTINUAL_OPEN_METRICS is true. A value that is absent has no series.",
    scope="read",
    answers={200: ("text/plain", 'continual_model_version{project="default"} 3\n')},
    errors=(401, 403, 404, 503),
)
async def metrics(request: Request) -> Response:
    """Prometheus text of all projects, or of the one that the address or the token names."""
    api = api_of(request)
    place = None
    if request.path_params.get("slug") is not None:
        place = await api.place(request) if api.settings.open_metrics else (await api.caller(request, "read")).place
    elif not api.settings.open_metrics:
        token = await api.token(request, "read")
        if token.project_id is not None:
            place = next((p for p in await api.places(fresh=True) if p.id == token.project_id), None)
            if place is None:
                raise NotAllowed("The project of this token is no longer there. Make a token for another one.")
    only = place.id if place is not None else None
    text = await asyncio.to_thread(prometheus.metrics_text, api.ws, datetime.now(UTC), project_id=only)
    text += api.requests.text(project=place.slug if place is not None else None)
    return Response(text, headers={"Content-Type": prometheus.CONTENT_TYPE})
