"""What /openapi.json says of each route: schemas, examples, parameters, the scope that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.json_schema import models_json_schema

REF = "#/components/schemas/{model}"
BINARY = {"type": "string", "format": "binary"}
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
NPY = "application/x-npy"
JSON = "application/json"


# --- schemas ----------------------------------------------------------------------------------------------------


class FieldError(BaseModel):
    field: str
    seen: str
    expected: str


class Problem(BaseModel):
    """Every error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]


class HealthAnswer(BaseModel):
    status: Literal["ok", "degraded", "down"]
    reason: str | None
    database: Literal["ok", "down"]
    model_version: int | None
    scheduler_age_seconds: float | None
    uptime_seconds: float


class ProbeAnswer(BaseModel):
    status: Literal["ok", "down"]
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


class Row(BaseModel):
    """One value for each feature of the project; null is a missing one."""

    model_config = ConfigDict(extra="allow")


class Rows(BaseModel):
    rows: list[Row] = Field(description="Besides the features `_id` (your row id) and `_time` (ISO 8601).")


class Prediction(BaseModel):
    prediction: JsonValue = Field(description="The class as in the data, or a number.")
    probability: float | None = Field(description="Of the predicted class; null in regression.")
    probabilities: dict[str, float] | None
    prediction_id: str
    row_id: str = Field(description="The `_id` of the row, else the prediction id: send labels with it.")
    model_version: int


class Predictions(BaseModel):
    predictions: list[Prediction]
    model_version: int
    problems: list[str] | None = Field(None, description="What was taken otherwise than it came; tables only.")


class Label(BaseModel):
    row_id: str | None = None
    prediction_id: str | None = None
    label: JsonValue


class Labels(BaseModel):
    labels: list[Label]


class LabelResult(BaseModel):
    row_id: str
    status: Literal["stored", "unchanged", "replaced", "waiting"]


class LabelResults(BaseModel):
    results: list[LabelResult]


class Generate(BaseModel):
    rows: int = Field(1000, ge=1, le=1_000_000)
    features: int | None = Field(None, ge=1, le=1000, description="Left out: as before, at first 2.")
    seed: int | None = Field(None, ge=0, description="Left out: new rows each time.")
    noise: float | None = Field(None, ge=0, le=1)
    balance: float | None = Field(None, gt=0, lt=1, description="Share of the class 1.")
    drift: dict[str, JsonValue] | None = Field(None, description="Controlled drift; docs/data.md lists its kinds.")


class Generated(BaseModel):
    batch: int
    rows: int
    project: str


class Retrain(BaseModel):
    force: bool = Field(False, description="Race whatever the policy says.")


class CycleAnswer(BaseModel):
    cycle: int | None
    decision: str | None = None
    reason: str | None = None
    outcome: str
    job: str


class BatchAnswer(BaseModel):
    batch: int
    rows: int
    labelled: int
    problems: list[str]
    backfill: bool


class QueuedJob(BaseModel):
    job: str
    status: str


class JobAnswer(BaseModel):
    job: str
    kind: str
    status: Literal["queued", "running", "done", "failed"]
    cycle: int | None
    error: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class LoggedPrediction(BaseModel):
    prediction_id: str
    row_id: str
    model_version: int
    prediction: JsonValue
    created_at: str


class PredictionsPage(BaseModel):
    predictions: list[LoggedPrediction]
    next_cursor: str | None


SCHEMAS: tuple[type[BaseModel], ...] = (
    Problem,
    HealthAnswer,
    ProbeAnswer,
    ModelStatus,
    Row,
    Rows,
    Prediction,
    Predictions,
    Labels,
    LabelResults,
    Generate,
    Generated,
    Retrain,
    CycleAnswer,
    BatchAnswer,
    QueuedJob,
    JobAnswer,
    PredictionsPage,
)


# --- routes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Document:
    """What is told about one route."""

    summary: str
    text: str
    scope: str | None  # None = open
    answers: dict[int, tuple[type[BaseModel] | str, Any]]  # status -> schema or media type, example
    body: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # media type -> schema, example
    optional_body: bool = False
    parameters: Sequence[dict[str, Any]] = ()
    errors: tuple[int, ...] = ()


_ERRORS = {
    400: "Not JSON, holds NaN or Infinity, or is nested too deeply",
    401: "No, unknown, expired or revoked token",
    403: "The token's scope or project does not allow this",
    404: "No such project or job; names those that exist",
    409: "Contradicts what is there, such as no champion yet",
    413: "More bytes or rows than the limit",
    415: "A type that this route does not read",
    422: "Rows, fields or parameters that cannot be taken; nothing was stored",
    503: "Database or model out of reach; nothing was stored",
}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _parameter(name: str, where: str, text: str, schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    told = {"name": name, "in": where, "required": where == "path", "description": text, "schema": schema}
    return told if example is None else {**told, "example": example}


SLUG = _parameter("slug", "path", "The project's address.", {"type": "string"}, "default")
JOB_ID = _parameter("job_id", "path", "The job's id.", {"type": "string"}, "5f0c2a9b1d3e4f60")
_ONE = {
    "prediction": 1,
    "probability": 0.7,
    "probabilities": {"0": 0.3, "1": 0.7},
    "prediction_id": "bHq0x3vT7Yk2wZpA",
    "row_id": "bHq0x3vT7Yk2wZpA",
    "model_version": 3,
}
_CYCLE = {
    "cycle": 12,
    "decision": "retrain",
    "reason": "accuracy 0.71 on 1,000 rows is below 0.8",
    "outcome": "promoted",
    "job": "5f0c2a9b1d3e4f60",
}

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
        summary="This process and its database answer",
        text="For a load balancer.",
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
    "predict": Document(
        summary="Ask for predictions",
        text="One row, `rows`, an Arrow stream or an npy array (features in the project's order). An answer leaves only "
        "after it is in the log. At most 100,000 rows and 32 MB; one bad row refuses the call.",
        scope="predict",
        body={
            JSON: (
                {"anyOf": [_ref(Row), _ref(Rows)]},
                {
                    "one row": {"value": {"feature1": 0.1, "feature2": 2.0}},
                    "rows": {"value": {"rows": [{"feature1": 0.1, "feature2": 2.0, "_id": "a7"}]}},
                },
            ),
            ARROW: (BINARY, None),
            NPY: (BINARY, None),
        },
        answers={200: (Prediction, _ONE)},
        errors=(400, 401, 403, 404, 409, 413, 415, 422, 503),
    ),
    "labels": Document(
        summary="Send labels",
        text="By `row_id` or `prediction_id`; without `_id` the row id is the prediction id. Sending one again changes "
        "nothing. At most 100,000 a call.",
        scope="ingest",
        body={JSON: (_ref(Labels), {"one": {"value": {"labels": [{"row_id": "a7", "label": 1}]}}})},
        answers={200: (LabelResults, {"results": [{"row_id": "a7", "status": "stored"}]})},
        errors=(400, 401, 403, 404, 413, 415, 422, 503),
    ),
    "generate": Document(
        summary="Store generated rows",
        text="Into a project that the generator made (else 409). At the root it makes `default` where there is no project.",
        scope="ingest",
        body={JSON: (_ref(Generate), {"usual": {"value": {"rows": 1000}}, "nothing": {"value": {}}})},
        optional_body=True,
        answers={200: (Generated, {"batch": 4, "rows": 1000, "project": "default"})},
        errors=(400, 401, 403, 404, 409, 413, 415, 422, 503),
    ),
    "retrain": Document(
        summary="Ask for a cycle",
        text="The policy decides; `force` races whatever it says. 200 when the cycle has ended, else 202 within 30 s.",
        scope="admin",
        body={JSON: (_ref(Retrain), {"ask": {"value": {}}, "by hand": {"value": {"force": True}}})},
        optional_body=True,
        answers={
            200: (CycleAnswer, _CYCLE),
            202: (CycleAnswer, {"cycle": 12, "job": "5f0c2a9b1d3e4f60", "outcome": "running"}),
        },
        errors=(400, 401, 403, 404, 415, 422, 503),
    ),
    "batches": Document(
        summary="Store a table",
        text="CSV (or CSV.gz), Parquet or Arrow, as its Content-Type says. The first one of a project fixes its schema. "
        "More than 20 MB become a job.",
        scope="ingest",
        parameters=[
            _parameter(
                "mode", "query", "What is done with the rows.", {"type": "string", "enum": ["ingest"]}, "ingest"
            ),
            _parameter("target", "query", "Column of the labels, for a first batch.", {"type": "string"}, "y"),
            _parameter("id", "query", "Column of row ids.", {"type": "string"}),
            _parameter("time", "query", "Column of instants.", {"type": "string"}),
            _parameter("task", "query", "classification or regression, for a first batch.", {"type": "string"}),
        ],
        body={
            "text/csv": ({"type": "string"}, {"table": {"value": "feature1,feature2,y\n0.1,2.0,1\n"}}),
            PARQUET: (BINARY, None),
            ARROW: (BINARY, None),
        },
        answers={
            200: (BatchAnswer, {"batch": 5, "rows": 1, "labelled": 1, "problems": [], "backfill": False}),
            202: (QueuedJob, {"job": "5f0c2a9b1d3e4f60", "status": "queued"}),
        },
        errors=(401, 403, 404, 409, 413, 415, 422, 503),
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
    "predictions": Document(
        summary="Read the prediction log",
        text="Oldest first. Follow `next_cursor` until it is null: no row is missed or doubled, sealed meanwhile or not.",
        scope="read",
        parameters=[
            _parameter("limit", "query", "Rows of a page.", {"type": "integer", "minimum": 1, "maximum": 10_000}, 1000),
            _parameter("cursor", "query", "`next_cursor` of the page before.", {"type": "string"}),
        ],
        answers={
            200: (
                PredictionsPage,
                {
                    "predictions": [
                        {
                            "prediction_id": "bHq0x3vT7Yk2wZpA",
                            "row_id": "a7",
                            "model_version": 3,
                            "prediction": 1,
                            "created_at": "2026-05-03T10:00:00+00:00",
                        }
                    ],
                    "next_cursor": "cDEwMDA",
                },
            )
        },
        errors=(401, 403, 404, 422, 503),
    ),
    "metrics": Document(
        summary="Prometheus metrics",
        text="Open where CONTINUAL_OPEN_METRICS is true. A value that is absent has no series.",
        scope="read",
        answers={200: ("text/plain", 'continual_model_version{project="default"} 3\n')},
        errors=(401, 403, 404, 503),
    ),
}


def told(name: str, *, by_project: bool) -> dict[str, Any]:
    """The arguments of FastAPI's `add_api_route` that document one route."""
    document = DOCUMENTS[name]
    scope = "Open." if document.scope is None else f"Scope: {document.scope}."
    responses: dict[int | str, dict[str, Any]] = {
        code: {"description": _ERRORS[code], "content": {"application/problem+json": {"schema": _ref(Problem)}}}
        for code in document.errors
    }
    for code, (schema, example) in document.answers.items():
        media = schema if isinstance(schema, str) else JSON
        shape: dict[str, Any] = {"type": "string"} if isinstance(schema, str) else dict(_ref(schema))
        if name == "predict":
            shape = {"anyOf": [_ref(Prediction), _ref(Predictions)]}
        words = {200: "Done", 202: "Accepted: it goes on"}.get(code, _ERRORS.get(code, ""))
        responses[code] = {"description": words, "content": {media: {"schema": shape, "example": example}}}
    extra: dict[str, Any] = {"parameters": [*([SLUG] if by_project else []), *document.parameters]}
    if document.scope is not None:
        extra["security"] = [{"token": []}]
    if document.body:
        extra["requestBody"] = {
            "required": not document.optional_body,
            "content": {
                media: {"schema": schema} if examples is None else {"schema": schema, "examples": examples}
                for media, (schema, examples) in document.body.items()
            },
        }
    return {
        "summary": document.summary,
        "description": f"{document.text} {scope}",
        "tags": ["any project" if by_project else "root project"],
        "operation_id": f"{name}_of_project" if by_project else name,
        "responses": responses,
        "openapi_extra": extra,
    }


def components() -> dict[str, Any]:
    """Schemas and the bearer scheme."""
    _, definitions = models_json_schema([(model, "validation") for model in SCHEMAS], ref_template=REF)
    return {
        "schemas": definitions["$defs"],
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`cml_...` or the API_KEY."}},
    }
