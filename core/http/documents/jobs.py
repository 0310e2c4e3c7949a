"""Cycles that are asked for, and the jobs that requests become."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.http.documents.batches import BatchAnswer, QueuedJob
from core.http.documents.common import JSON, REPEAT, Document, parameter, reference


class Retrain(BaseModel):
    model_config = ConfigDict(extra="forbid")
    force: bool = Field(False, description="Race whatever the policy says.")


class CycleAnswer(BaseModel):
    cycle: int | None
    decision: str | None = None
    reason: str | None = None
    outcome: str
    job: str


class JobAnswer(BaseModel):
    job: str
    kind: str
    status: Literal["queued", "running", "done", "failed"]
    cycle: int | None
    error: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


JOB_ID = parameter("job_id", "path", "The job's id.", {"type": "string"}, "5f0c2a9b1d3e4f60")
_CYCLE = {
    "cycle": 12,
    "decision": "retrain",
    "reason": "accuracy 0.71 on 1,000 rows is below 0.8",
    "outcome": "promoted",
    "job": "5f0c2a9b1d3e4f60",
}


SCHEMAS: tuple[type[BaseModel], ...] = (Retrain, CycleAnswer, JobAnswer)

DOCUMENTS: dict[str, Document] = {
    "retrain": Document(
        summary="Ask for a cycle",
        text="The policy decides; `force` races whatever it says. 200 when the cycle has ended, else 202 within 30 s.",
        scope="admin",
        parameters=[REPEAT],
        body={JSON: (reference(Retrain), {"ask": {"value": {}}, "by hand": {"value": {"force": True}}})},
        optional_body=True,
        answers={
            200: (CycleAnswer, _CYCLE),
            202: (CycleAnswer, {"cycle": 12, "job": "5f0c2a9b1d3e4f60", "outcome": "running"}),
        },
        errors=(400, 401, 403, 404, 413, 415, 422, 503),
    ),
    "job": Document(
        summary="How far a job is",
        text="Any scope, for jobs of the token's project.",
        scope="any",
        parameters=[JOB_ID],
        answers={
            200: (
                JobAnswer,
                {
                    "job": "5f0c2a9b1d3e4f60",
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
        errors=(401, 403, 404, 503),
    ),
    "job_result": Document(
        summary="What a job brought",
        text="202 while it waits or runs; 409 when it failed, with the reason.",
        scope="any",
        parameters=[JOB_ID],
        answers={
            200: (BatchAnswer, {"batch": 5, "rows": 250000, "labelled": 250000, "problems": []}),
            202: (QueuedJob, {"job": "5f0c2a9b1d3e4f60", "status": "running"}),
        },
        errors=(401, 403, 404, 409, 503),
    ),
}
