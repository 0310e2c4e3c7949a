"""What /openapi.json says of each route: schemas, examples, parameters, the scope that it needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel
from pydantic.json_schema import models_json_schema

from core.http.bodies import MAX_ROWS
from core.http.storing import MAX_LABELS, TASKS

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


class Row(BaseModel):
    """One value for each feature of the project; null is a missing one."""

    model_config = ConfigDict(extra="allow")


class Rows(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rows: list[Row] = Field(
        description="Besides the features `_id` (your row id) and `_time` (ISO 8601).",
        min_length=1,
        max_length=MAX_ROWS,
    )


class Prediction(BaseModel):
    prediction: JsonValue = Field(description="The class as in the data, or a number.")
    probability: float | None = Field(description="Of the predicted class; null in regression.")
    probabilities: dict[str, float] | None
    prediction_id: str
    row_id: str = Field(description="The `_id` of the row, else the prediction id: send labels with it.")
    model_version: int
    guards: list[dict[str, JsonValue]] | None = Field(
        None, description="Only where a guard spoke: what it saw, what it did."
    )


class Noticed(BaseModel):
    """What was assumed of a table, or taken otherwise than it came."""

    code: str
    column: str | None
    count: int = Field(description="Of rows or cells.")
    example: str | None
    text: str = Field(description="The same as a sentence.")


class Predictions(BaseModel):
    predictions: list[Prediction]
    model_version: int
    problems: list[Noticed] | None = Field(None, description="What was taken otherwise than it came; tables only.")


class LabelOfRow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    row_id: str | int
    label: str | int | float | bool


class LabelOfPrediction(BaseModel):
    model_config = ConfigDict(extra="forbid")
    prediction_id: str | int
    label: str | int | float | bool


class Labels(BaseModel):
    model_config = ConfigDict(extra="forbid")
    labels: list[LabelOfRow | LabelOfPrediction] = Field(min_length=1, max_length=MAX_LABELS)
    replace: bool = Field(
        False, description="Labels may replace others and add classes that the champion does not know."
    )


class LabelResult(BaseModel):
    row_id: str
    status: Literal["stored", "unchanged", "replaced", "waiting"]


class LabelResults(BaseModel):
    results: list[LabelResult]


class Generate(BaseModel):
    """Each may be left out or null."""

    model_config = ConfigDict(extra="forbid")
    rows: int | None = Field(1000, ge=1, le=1_000_000)
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
    model_config = ConfigDict(extra="forbid")
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
    problems: list[Noticed]
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


class Contribution(BaseModel):
    feature: str
    value: JsonValue
    contribution: float


class Explanation(BaseModel):
    contributions: list[Contribution] = Field(
        description="In the order of the features; with `base` they sum to `answer`."
    )
    base: float = Field(description="The answer's mean over the rows that the model is compared with.")
    answer: float
    of: JsonValue = Field(description="The class whose answer is explained; null in regression.")
    unit: Literal["log-odds", "probability", "value"]
    method: Literal["linear", "trees", "permutation"]
    model_version: int


class SplitFrame(BaseModel):
    """Without `columns` the features stand in the project's order."""

    model_config = ConfigDict(extra="forbid")
    columns: list[str] | None = None
    data: list[list[JsonValue]]
    index: JsonValue = None


class InvocationOfSplit(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dataframe_split: SplitFrame


class InvocationOfRecords(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dataframe_records: list[dict[str, JsonValue]]


class InvocationOfInstances(BaseModel):
    model_config = ConfigDict(extra="forbid")
    instances: list[JsonValue]


class InvocationOfInputs(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inputs: list[JsonValue] | dict[str, JsonValue]


class Invocation(RootModel[InvocationOfSplit | InvocationOfRecords | InvocationOfInstances | InvocationOfInputs]):
    """Exactly one of MLflow's forms."""


class Invoked(BaseModel):
    predictions: list[JsonValue]


class InferenceError(BaseModel):
    error: str


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    name: str
    ready: bool


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, JsonValue] | None = None
    data: list[JsonValue] | None = None


class WantedTensor(BaseModel):
    name: str
    parameters: dict[str, JsonValue] | None = None


class InferRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str | None = None
    model_name: JsonValue = None
    model_version: JsonValue = None
    parameters: dict[str, JsonValue] | None = None
    inputs: list[Tensor] = Field(min_length=1)
    outputs: list[WantedTensor] | None = None


class InferAnswer(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, JsonValue] | None = None
    outputs: list[Tensor]


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
    Explanation,
    Invocation,
    Invoked,
    InferenceError,
    ServerMetadata,
    Live,
    Ready,
    ModelMetadata,
    ModelReady,
    InferRequest,
    InferAnswer,
)


# --- routes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Document:
    """What is told about one route."""

    summary: str
    text: str
    scope: str | None  # None = open
    answers: dict[int, tuple[type[BaseModel] | str, Any]]  # status -> schema or media type ("": no body), example
    body: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # media type -> schema, example
    optional_body: bool = False
    parameters: Sequence[dict[str, Any]] = ()
    errors: tuple[int, ...] = ()
    also: tuple[str, ...] = ()  # media types of other forms of the answer


_ERRORS = {
    400: "Not JSON, holds NaN or Infinity, or is nested too deeply",
    401: "No, unknown, expired or revoked token",
    403: "The token's scope or project does not allow this",
    404: "No such project, job or model version; names those that exist to whoever may know",
    408: "Nothing came of the body for a while",
    409: "Contradicts what is there, such as no champion yet",
    413: "More bytes or rows than the limit",
    415: "A type that this route does not read",
    422: "Rows, fields or parameters that cannot be taken; nothing was stored",
    429: "More often than the token's limit; Retry-After says when",
    503: "Database or model out of reach; nothing was stored",
}


def _header(text: str, kind: str) -> dict[str, Any]:
    return {"description": text, "required": True, "schema": {"type": kind}}


_WAIT = {"Retry-After": _header("Seconds until it may be tried again.", "integer")}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _header("The scheme to use.", "string")},
    429: _WAIT,
    503: _WAIT,
}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _parameter(name: str, where: str, text: str, schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    told = {"name": name, "in": where, "required": where == "path", "description": text, "schema": schema}
    return told if example is None else {**told, "example": example}


SLUG = _parameter("slug", "path", "The project's address.", {"type": "string"}, "default")
MODEL = _parameter("model", "path", "The model's name, which is its project's.", {"type": "string"}, "default")
VERSION = _parameter("version", "path", "The version that serves.", {"type": "string"}, "3")
REPEAT = _parameter(
    "Idempotency-Key",
    "header",
    "The same key and request again get the answer of the first time; nothing is stored twice. Kept for a day.",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
)
LENGTH = _parameter(
    "Inference-Header-Content-Length",
    "header",
    "Bytes of the JSON before binary tensors.",
    {"type": "integer", "minimum": 1},
)
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
    "predict": Document(
        summary="Ask for predictions",
        text="One row, `rows`, an Arrow stream or an npy array (features in the project's order). An answer leaves only "
        "after it is in the log. At most 100,000 rows and 32 MB; one bad row refuses the call.",
        scope="predict",
        parameters=[REPEAT],
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
        "nothing. Labels that would replace others, or add a class that the champion does not know, are a 409 without "
        '`"replace": true`. At most 100,000 a call.',
        scope="ingest",
        parameters=[REPEAT],
        body={JSON: (_ref(Labels), {"one": {"value": {"labels": [{"row_id": "a7", "label": 1}]}}})},
        answers={200: (LabelResults, {"results": [{"row_id": "a7", "status": "stored"}]})},
        errors=(400, 401, 403, 404, 409, 413, 415, 422, 503),
    ),
    "generate": Document(
        summary="Store generated rows",
        text="Into a project that the generator made (else 409). At the root it makes `default` where there is no project.",
        scope="ingest",
        parameters=[REPEAT],
        body={JSON: (_ref(Generate), {"usual": {"value": {"rows": 1000}}, "nothing": {"value": {}}})},
        optional_body=True,
        answers={200: (Generated, {"batch": 4, "rows": 1000, "project": "default"})},
        errors=(400, 401, 403, 404, 409, 413, 415, 422, 503),
    ),
    "retrain": Document(
        summary="Ask for a cycle",
        text="The policy decides; `force` races whatever it says. 200 when the cycle has ended, else 202 within 30 s.",
        scope="admin",
        parameters=[REPEAT],
        body={JSON: (_ref(Retrain), {"ask": {"value": {}}, "by hand": {"value": {"force": True}}})},
        optional_body=True,
        answers={
            200: (CycleAnswer, _CYCLE),
            202: (CycleAnswer, {"cycle": 12, "job": "5f0c2a9b1d3e4f60", "outcome": "running"}),
        },
        errors=(400, 401, 403, 404, 413, 415, 422, 503),
    ),
    "batches": Document(
        summary="Store a table, or have its rows predicted",
        text="CSV (or CSV.gz), Parquet or Arrow, as its Content-Type says. `mode=ingest` stores it as a batch; the first "
        "one of a project fixes its schema. `mode=backfill` stores rows of the past, which are neither measured nor news. "
        "`mode=score` answers every row as /predict does and takes no other parameter. "
        "More than 20 MB become a job.",
        scope="ingest, or predict to score",
        parameters=[
            REPEAT,
            _parameter(
                "mode",
                "query",
                "What is done with the rows.",
                {"type": "string", "enum": ["ingest", "backfill", "score"]},
                "ingest",
            ),
            _parameter("target", "query", "Column of the labels, for a first batch.", {"type": "string"}, "target"),
            _parameter("id", "query", "Column of row ids.", {"type": "string"}),
            _parameter("time", "query", "Column of instants.", {"type": "string"}),
            _parameter(
                "task", "query", "For a first batch; left out, the labels tell.", {"type": "string", "enum": TASKS}
            ),
            _parameter("exclude", "query", "Columns to leave out, with commas; a first batch.", {"type": "string"}),
            _parameter("categorical", "query", "Columns of categories, with commas; likewise.", {"type": "string"}),
        ],
        body={
            "text/csv": ({"type": "string"}, {"table": {"value": "feature1,feature2,target\n0.1,2.0,1\n"}}),
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
            _parameter(
                "cursor",
                "query",
                "`next_cursor` of the page before.",
                {"type": "string", "pattern": "^[A-Za-z0-9_-]*$"},
            ),
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


_ROW_ERRORS = (400, 401, 403, 404, 409, 413, 415, 422, 503)
_MODEL_ERRORS = (401, 403, 404, 409, 503)
_TENSORS = {
    "id": "7",
    "inputs": [
        {"name": "feature1", "shape": [1], "datatype": "FP64", "data": [0.1]},
        {"name": "feature2", "shape": [1], "datatype": "FP64", "data": [2.0]},
    ],
}
_INFER = Document(
    summary="Tensors in, tensors out",
    text="One input a feature, named as it, of shape [n] or [n, 1]; or one `input` of shape [n, features] where all are "
    "numbers. JSON, or the binary tensor extension, which stock clients use.",
    scope="predict",
    parameters=[MODEL, LENGTH, REPEAT],
    body={JSON: (_ref(InferRequest), {"one row": {"value": _TENSORS}}), "application/octet-stream": (BINARY, None)},
    answers={
        200: (
            InferAnswer,
            {
                "model_name": "default",
                "model_version": "3",
                "id": "7",
                "outputs": [
                    {"name": "prediction", "datatype": "INT64", "shape": [1], "data": [1]},
                    {"name": "probabilities", "datatype": "FP64", "shape": [1, 2], "data": [0.3, 0.7]},
                ],
            },
        )
    },
    also=("application/octet-stream",),
    errors=_ROW_ERRORS,
)
_METADATA = Document(
    summary="Inputs and outputs of a model",
    text="Open Inference Protocol v2.",
    scope="predict",
    parameters=[MODEL],
    answers={
        200: (
            ModelMetadata,
            {
                "name": "default",
                "versions": ["3"],
                "platform": "continual-ml",
                "inputs": [{"name": "feature1", "datatype": "FP64", "shape": [-1]}],
                "outputs": [{"name": "prediction", "datatype": "INT64", "shape": [-1]}],
            },
        )
    },
    errors=_MODEL_ERRORS,
)
_READY = Document(
    summary="A model is loaded",
    text="Open Inference Protocol v2.",
    scope="predict",
    parameters=[MODEL],
    answers={200: (ModelReady, {"name": "default", "ready": True})},
    errors=_MODEL_ERRORS,
)


def _of_version(document: Document) -> Document:
    parameters = [MODEL, VERSION, *document.parameters[1:]]
    return dataclasses.replace(document, summary=f"{document.summary}, by version", parameters=parameters)


INFERENCE: dict[str, Document] = {
    "server_metadata": Document(
        summary="What this server is",
        text="Open Inference Protocol v2.",
        scope="predict",
        answers={
            200: (
                ServerMetadata,
                {"name": "continual-ml", "version": "0.1.0", "extensions": ["binary_tensor_data"]},
            )
        },
        errors=(401, 403, 503),
    ),
    "server_live": Document(
        summary="This process answers (v2)",
        text="Open Inference Protocol v2.",
        scope=None,
        answers={200: (Live, {"live": True})},
    ),
    "server_ready": Document(
        summary="This process and its database answer (v2)",
        text="Open Inference Protocol v2.",
        scope=None,
        answers={200: (Ready, {"ready": True}), 503: (Ready, {"ready": False})},
    ),
    "model_metadata": _METADATA,
    "model_version_metadata": _of_version(_METADATA),
    "model_ready": _READY,
    "model_version_ready": _of_version(_READY),
    "infer": _INFER,
    "infer_version": _of_version(_INFER),
}
DOCUMENTS |= {
    "explain": Document(
        summary="Why a row gets its answer",
        text="What each feature adds to the answer, against rows that the model learnt from: exact for linear and tree "
        "models, by permutation otherwise. Nothing is logged.",
        scope="predict",
        body={JSON: (_ref(Row), {"one row": {"value": {"feature1": 0.1, "feature2": 2.0}}})},
        answers={
            200: (
                Explanation,
                {
                    "contributions": [
                        {"feature": "feature1", "value": 0.1, "contribution": -0.2},
                        {"feature": "feature2", "value": 2.0, "contribution": 1.1},
                    ],
                    "base": 0.05,
                    "answer": 0.95,
                    "of": 1,
                    "unit": "log-odds",
                    "method": "linear",
                    "model_version": 3,
                },
            )
        },
        errors=_ROW_ERRORS,
    ),
    "invocations": Document(
        summary="Ask as MLflow's clients do",
        text="Exactly one of `dataframe_split`, `dataframe_records`, `instances`, `inputs`, or CSV with a header. Without a "
        "token only where CONTINUAL_OPEN_INVOCATIONS is true, from this machine and CONTINUAL_OPEN_FROM, in JSON; such "
        "rows are kept out of the loop.",
        scope="predict",
        parameters=[REPEAT],
        body={
            JSON: (
                _ref(Invocation),
                {"records": {"value": {"dataframe_records": [{"feature1": 0.1, "feature2": 2.0}]}}},
            ),
            "text/csv": ({"type": "string"}, {"table": {"value": "feature1,feature2\n0.1,2.0\n"}}),
        },
        answers={200: (Invoked, {"predictions": [1]})},
        errors=_ROW_ERRORS,
    ),
    "ping": Document(
        summary="A model answers",
        text="As MLflow's scoring server; the body is empty.",
        scope="predict",
        answers={200: ("", None)},
        errors=_MODEL_ERRORS,
    ),
    "version": Document(
        summary="Version of this program",
        text="As MLflow's scoring server.",
        scope="predict",
        answers={200: ("text/plain", "0.1.0")},
        errors=(401, 403, 404, 503),
    ),
    **INFERENCE,
}


def describe(routes: Sequence[Any]) -> None:
    """Write what is told about each route into it, where FastAPI looks for it."""
    for route in routes:
        if getattr(route, "name", None) in DOCUMENTS:
            for key, value in _told(route.name, by_project=route.path.startswith("/projects/")).items():
                setattr(route, key, value)


def _told(name: str, *, by_project: bool) -> dict[str, Any]:
    """FastAPI's attributes of a route that document it."""
    document = DOCUMENTS[name]
    scope = "Open." if document.scope is None else f"Scope: {document.scope}."
    form = {"application/problem+json": {"schema": _ref(Problem)}}
    if name in INFERENCE:
        form = {JSON: {"schema": _ref(InferenceError)}}
    errors = (*document.errors, *((429,) if document.scope else ()), *((408,) if document.body else ()))
    responses: dict[int | str, dict[str, Any]] = {
        code: {"description": _ERRORS[code], "content": form, "headers": _HEADERS.get(code, {})}
        for code in sorted(errors)
    }
    for code, (schema, example) in document.answers.items():
        media = schema if isinstance(schema, str) else JSON
        shape: dict[str, Any] = {"type": "string"} if isinstance(schema, str) else dict(_ref(schema))
        if name == "predict":
            shape = {"anyOf": [_ref(Prediction), _ref(Predictions)]}
        elif name in ("batches", "job_result") and code == 200:
            shape = {"anyOf": [shape, _ref(CycleAnswer), _ref(Predictions)]}
        words = {200: "Done", 202: "Accepted: it goes on"}.get(code, _ERRORS.get(code, ""))
        responses[code] = {"description": words}
        if media:
            content = {media: {"schema": shape, "example": example}} | {m: {"schema": BINARY} for m in document.also}
            responses[code]["content"] = content
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
