"""POST /batches: a table is stored as a batch, or its rows are scored; large uploads become a job."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.requests import Request
from starlette.responses import Response

from core.errors import BadInput, FieldProblem
from core.http import bodies, idempotency, jobs
from core.http.access import ApiState, Caller, api_of
from core.http.answers import BatchAnswer, Predictions, QueuedJob, answer_json
from core.http.documentation import ARROW, BINARY, IDEMPOTENCY_KEY, PARQUET, described, parameter
from core.http.predict import log_and_respond
from core.services.serving.answering import Answered, document, many
from core.services.serving.champion_cache import Served
from core.services.serving.stored_responses import StoredResponse

if TYPE_CHECKING:
    from core.records import Task
    from core.services.ingestion.ingest import IngestReport, Options

AT_ONCE_BYTES = 20 * 1024 * 1024  # uploads that unpack to more become a job
MODES = ("ingest", "score", "backfill")
TASKS = ("binary", "multiclass", "regression", "classification")
PARAMETERS = ("target", "id", "time", "task", "exclude", "categorical")  # besides `mode`


def _now() -> datetime:
    return datetime.now(UTC)


@described(
    summary="Ingest or score a table",
    text="CSV (or CSV.gz), Parquet or Arrow, according to the Content-Type. `mode=ingest` stores the table as a batch; the "
    "first batch of a project determines its schema. `mode=backfill` stores historical rows, which are not evaluated and do "
    "not trigger a cycle. `mode=score` predicts every row as /predict does and takes no other parameter. "
    "Uploads of more than 20 MB are processed as a job.",
    scope="ingest, or predict for mode=score",
    parameters=[
        IDEMPOTENCY_KEY,
        parameter(
            "mode",
            "query",
            "What to do with the rows.",
            {"type": "string", "enum": ["ingest", "backfill", "score"]},
            "ingest",
        ),
        parameter("target", "query", "Label column; first batch only.", {"type": "string"}, "target"),
        parameter("id", "query", "Row id column.", {"type": "string"}),
        parameter("time", "query", "Timestamp column.", {"type": "string"}),
        parameter(
            "task", "query", "First batch only; inferred from the labels by default.", {"type": "string", "enum": TASKS}
        ),
        parameter("exclude", "query", "Columns to ignore, comma-separated; first batch only.", {"type": "string"}),
        parameter(
            "categorical", "query", "Categorical columns, comma-separated; first batch only.", {"type": "string"}
        ),
    ],
    body={
        "text/csv": ({"type": "string"}, {"table": {"value": "feature1,feature2,target\n0.1,2.0,1\n"}}),
        PARQUET: (BINARY, None),
        ARROW: (BINARY, None),
    },
    answers={
        200: (
            (BatchAnswer, Predictions),
            {"batch": 5, "rows": 1, "labelled": 1, "problems": [], "backfill": False},
        ),
        202: (QueuedJob, {"job": "5f0c2a9b1d3e4f60", "status": "queued"}),
    },
    errors=(401, 403, 404, 409, 413, 415, 422, 503),
)
async def batches(request: Request) -> Response:
    """Ingest or score a table: at once, or as a job when it is large."""
    api = api_of(request)
    score = request.query_params.get("mode") == "score"
    caller = await api.caller(request, "predict" if score else "ingest")
    assert caller.project is not None
    mode, options = _mode_and_options(request)
    kind = bodies.require_kind(request.headers, "csv", "parquet", "arrow")
    served = await api.champion(caller.project) if score else None  # fails before a long upload
    path, size, digest = await bodies.spool(request, api.ws.spool_path, kind, api.settings.max_upload_bytes)
    queued = False
    try:
        if size == 0:
            raise BadInput("The body is empty, expected a table.", (FieldProblem("body", "0 bytes", "a table"),))
        content = f"{digest} {mode} {sorted(options.items())}".encode()
        pending, replayed = await idempotency.look_up(api, request, caller, "/batches", content)
        if replayed is not None:
            return replayed
        if await asyncio.to_thread(_is_large, path):
            job = await asyncio.to_thread(_queue_batch, api, caller, path, mode, options, pending)
            queued = True
            return answer_json(job, 202, headers=jobs.job_location(request, job["job"]))
        if served is None:
            return answer_json(await asyncio.to_thread(_store_batch, api, caller, path, options, pending))
        answered = await api.infer(_score_batch, api, caller, served, path)
    finally:
        if not queued:
            path.unlink(missing_ok=True)
    return await log_and_respond(api, caller, answered, pending)


def _mode_and_options(request: Request) -> tuple[str, Options]:
    """The mode, and the other query parameters as options of `ingest_file`."""
    given = dict(request.query_params)
    mode = given.pop("mode", "ingest")
    known = () if mode == "score" else PARAMETERS
    problems = []
    if mode not in MODES:
        problems.append(FieldProblem("mode", repr(mode[:40]), "ingest, backfill or score"))
    if mode != "score" and given.get("task", "classification") not in TASKS:
        problems.append(FieldProblem("task", repr(given["task"][:40]), "binary, multiclass or regression"))
    problems += [
        FieldProblem(key[:40], "an unknown parameter", ", ".join(["mode", *known])) for key in given if key not in known
    ]
    if problems:
        from core.data.cells import refusal

        raise refusal("Invalid query parameters", problems)
    return mode, _options(given, backfill=mode == "backfill")


def _options(given: Mapping[str, str], *, backfill: bool) -> Options:
    """Empty parameters are dropped, except that an empty `id` or `time` means that there is no such column."""
    options: Options = {}
    if given.get("target"):
        options["target"] = given["target"]
    if "id" in given:
        options["id_column"] = given["id"]
    if "time" in given:
        options["time_column"] = given["time"]
    if given.get("task"):
        options["task"] = cast("Task", given["task"])  # one of TASKS
    if excluded := _listed(given.get("exclude", "")):
        options["exclude"] = excluded
    if categorical := _listed(given.get("categorical", "")):
        options["categorical"] = categorical
    if backfill:
        options["backfill"] = True
    return options


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _store_batch(
    api: ApiState, caller: Caller, path: Path, options: Options, pending: StoredResponse | None
) -> BatchAnswer:
    from core.data.problems import document_of
    from core.services.ingestion import ingest
    from core.services.projects import projects

    assert caller.project is not None
    project = projects.project_by_id(api.ws, caller.project.id)

    def _answer(report: IngestReport) -> BatchAnswer:
        return {
            "batch": report.batch.id,
            "rows": report.rows,
            "labelled": report.labelled,
            "problems": [document_of(p) for p in report.problems],
            "backfill": report.backfill,
        }

    options["also"] = lambda session, report: idempotency.store(session, pending, _answer(report))
    return _answer(ingest.ingest_file(api.ws, project, path, name=_name(path), by=caller.name, now=_now(), **options))


def _score_batch(api: ApiState, caller: Caller, served: Served, path: Path) -> Answered:
    from core.data.conforming import table_of
    from core.data.files import read_table

    read = read_table(path, name=_name(path), max_bytes=api.settings.max_upload_bytes, target=served.schema.target)
    table, notes, _ = table_of(read.frame, served.schema)
    bodies.check_rows(table.n)
    answered = many(served, table, _now(), token_id=caller.token.id)
    return dataclasses.replace(answered, body=document(answered, (*read.problems, *notes)))


def _is_large(path: Path) -> bool:
    """Whether an upload is left to a worker; a compressed one counts by its uncompressed size."""
    from core.data.files import unpacks_beyond

    return unpacks_beyond(path, AT_ONCE_BYTES)


def _queue_batch(
    api: ApiState, caller: Caller, path: Path, mode: str, options: Options, pending: StoredResponse | None
) -> QueuedJob:
    from core.services.automation.jobs import Spooled, request_file

    assert caller.project is not None

    def _answer(job: str) -> QueuedJob:
        return {"job": job, "status": "queued"}

    job = request_file(
        api.ws,
        caller.project.id,
        Spooled(kind="score" if mode == "score" else "ingest", path=path, options={"name": _name(path), **options}),
        by=caller.name,
        now=_now(),
        also=lambda session, job: idempotency.store(session, pending, _answer(job), status=202),
    )
    jobs.ensure_worker(api)
    return _answer(job)


def _name(path: Path) -> str:
    return "upload" + "".join(path.suffixes)
