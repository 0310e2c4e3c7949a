"""What each kind of job except a cycle does: store a file as a batch, predict a file, compare policies."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from core.errors import ContinualError
from core.jobs.failures import quietly
from core.records import CycleReport, JsonObject
from core.services.automation import jobs
from core.services.automation.jobs import JobInfo
from core.services.ingestion import ingest
from core.services.projects import projects
from core.storage.workspace import Workspace
from core.text.reasons import sentence

if TYPE_CHECKING:
    from core.data.problems import ProblemDocument

PROGRESS_EVERY_S = 0.5  # between two progress updates of a job


def ingest_file(ws: Workspace, job: JobInfo) -> IngestResult:
    """Store a file as a batch. Batch and job are finished in one transaction, so a repeated job stores nothing twice."""
    assert job.project_id is not None
    options = dict(job.payload)
    path = Path(options.pop("path"))
    name = options.pop("name", path.name)
    project = projects.project_by_id(ws, job.project_id)
    try:
        report = ingest.ingest_file(
            ws, project, path, name=name, by=job.requested_by or "worker", now=datetime.now(UTC),
            also=lambda session, report: jobs.end(session, job.id, ingest_result(report), datetime.now(UTC)), **options,
        )  # fmt: skip
    finally:
        path.unlink(missing_ok=True)
    return ingest_result(report)


def score_file(ws: Workspace, job: JobInfo) -> ScoreResult:
    """Predict a file. Log and job are finished in one transaction, so a repeated job logs nothing twice."""
    from core.data.conforming import table_of
    from core.data.files import read_table
    from core.services.serving import answering, champion_cache
    from core.services.serving.prediction_log import store
    from core.storage.batches import write_durably

    assert job.project_id is not None
    path = Path(job.payload["path"])
    try:
        served = champion_cache.champion(ws, projects.project_by_id(ws, job.project_id))
        name, target = job.payload.get("name", path.name), served.schema.target
        read = read_table(path, name=name, max_bytes=ws.settings.max_upload_bytes, target=target)
        table, notes, _ = table_of(read.frame, served.schema)
        answered = answering.many(served, table, datetime.now(UTC), token_id=None)
        result = ScoreResult(rows=answered.rows, model_version=served.version)
        write_durably(ws.results_path / f"{job.id}.json", answering.document(answered, (*read.problems, *notes)))
        store(ws, answered.records, also=lambda session: jobs.end(session, job.id, result, datetime.now(UTC)))
        path.unlink(missing_ok=True)
    except ContinualError:
        path.unlink(missing_ok=True)
        raise
    return result


def compare_policies(ws: Workspace, job: JobInfo) -> JsonObject:
    """Compare policies on the stored rows."""
    from core.learning.policy import policy_from_document
    from core.services.automation import backtests

    assert job.project_id is not None
    since = job.payload.get("since")
    return backtests.compare_policies(
        ws,
        projects.project_by_id(ws, job.project_id),
        [policy_from_document(document) for document in job.payload["policies"]],
        since=datetime.fromisoformat(since) if since else None,
        progress=progress_writer(ws, job),
    )


def progress_writer(ws: Workspace, job: JobInfo) -> Callable[[float, str], None]:
    """Progress, written to the job's row at intervals."""
    last = [0.0]

    def write(share: float, text: str) -> None:
        if time.monotonic() - last[0] >= PROGRESS_EVERY_S:
            last[0] = time.monotonic()
            quietly(lambda: jobs.report_progress(ws, job.id, share, text))

    return write


class CycleResult(TypedDict):
    """The outcome of a check, as the result of its job."""

    cycle: int | None  # None = nothing was new
    decision: str
    reason: str
    outcome: str


class IngestResult(TypedDict):
    """A stored file, as the result of its job."""

    batch: int  # its id
    rows: int
    labelled: int
    problems: list[ProblemDocument]
    backfill: bool


class ScoreResult(TypedDict):
    """A predicted file, as the result of its job; the predictions are in a separate file."""

    rows: int
    model_version: int


def cycle_result(report: CycleReport | None) -> CycleResult:
    """A cycle as the job's result."""
    if report is None:
        reason = "Nothing new since the last check: no rows, no labels."
        return {"cycle": None, "decision": "nothing", "reason": reason, "outcome": "none"}
    return {
        "cycle": report.id,
        "decision": report.decision,
        "reason": sentence(report.reason),
        "outcome": report.outcome,
    }


def ingest_result(report: ingest.IngestReport) -> IngestResult:
    """A stored file as the job's result."""
    from core.data.problems import document_of

    return {
        "batch": report.batch.id,
        "rows": report.rows,
        "labelled": report.labelled,
        "problems": [document_of(p) for p in report.problems],
        "backfill": report.backfill,
    }
