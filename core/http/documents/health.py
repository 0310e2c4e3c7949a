"""How the service is: health, probes, what serves and how well, metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from core.http.documents.common import Document


class HealthAnswer(BaseModel):
    status: Literal["ok", "degraded", "down"]
    reason: str | None
    database: Literal["ok", "down"]
    model_version: int | None
    scheduler_age_seconds: float | None
    uptime_seconds: float


class ProbeAnswer(BaseModel):
    status: Literal["ok", "loading", "down"]
    reason: str | None = None


class ModelStatus(BaseModel):
    model_trained: bool = Field(description="This process can answer with it now.")
    performance: float | None = Field(description="Newest measured score, on rows predicted before their label came.")
    threshold: float | None
    needs_retraining: bool | None
    model_version: int | None
    metric: str | None
    rows_measured: int | None
    measured_at: str | None


SCHEMAS: tuple[type[BaseModel], ...] = (HealthAnswer, ProbeAnswer, ModelStatus)

DOCUMENTS: dict[str, Document] = {
    "health": Document(
        summary="Whether all is well",
        text="Flat JSON for probes. No model yet, or a scheduler that never ran here, is `ok` with nulls.",
        scope=None,
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
    ),
    "live": Document(
        summary="This process answers",
        text="For a supervisor that restarts what hangs.",
        scope=None,
        answers={200: (ProbeAnswer, {"status": "ok"})},
    ),
    "ready": Document(
        summary="This process and its database answer, and the model is loaded",
        text="For a load balancer. The model of the root, or of each project where the root stands for none, has answered its check "
        "rows by then; a project without a model is ready.",
        scope=None,
        answers={
            200: (ProbeAnswer, {"status": "ok", "reason": None}),
            503: (ProbeAnswer, {"status": "down", "reason": "The database is out of reach."}),
        },
    ),
    "model_status": Document(
        summary="What serves, and how well it does",
        text="`performance` is measured on rows predicted before their label was known; null while nothing was.",
        scope=None,
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
    ),
    "metrics": Document(
        summary="Prometheus metrics",
        text="Open where CONTINUAL_OPEN_METRICS is true. A value that is absent has no series.",
        scope="read",
        answers={200: ("text/plain", 'continual_model_version{project="default"} 3\n')},
        errors=(401, 403, 404, 503),
    ),
}
