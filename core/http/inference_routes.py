"""The routes below /v2: Open Inference Protocol v2. Requests and responses are parsed and built by `open_inference`."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import orjson
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from core.data.cells import shown
from core.data.rows import Table
from core.errors import NotFound
from core.http import bodies, open_inference
from core.http.access import Caller, api_of
from core.http.answers import answer_json
from core.http.documentation import BINARY, IDEMPOTENCY_KEY, JSON, MODEL_ERRORS, ROW_ERRORS, described, parameter
from core.http.idempotency import pending_of
from core.http.open_inference import InferAnswer, InferenceRequest, InferRequest, ModelMetadata, ServerMetadata
from core.http.predict import log_and_respond
from core.http.status import ready
from core.services.serving.answering import Answered, many
from core.services.serving.champion_cache import Served

_LENGTH = "inference-header-content-length"


# --- bodies and answers -----------------------------------------------------------------------------------------


class InferenceError(TypedDict):
    error: str


class Live(TypedDict):
    live: bool


class Ready(TypedDict):
    ready: bool


class ModelReady(TypedDict):
    name: str
    ready: bool


MODEL = parameter("model", "path", "The model name, which is the project's slug.", {"type": "string"}, "default")
LENGTH = parameter(
    "Inference-Header-Content-Length",
    "header",
    "Length in bytes of the JSON part, when binary tensors follow it.",
    {"type": "integer", "minimum": 1},
)
_TENSORS = {
    "id": "7",
    "inputs": [
        {"name": "feature1", "shape": [1], "datatype": "FP64", "data": [0.1]},
        {"name": "feature2", "shape": [1], "datatype": "FP64", "data": [2.0]},
    ],
}


# --- routes -----------------------------------------------------------------------------------------------------


@described(
    summary="Liveness (v2)",
    text="Open Inference Protocol v2.",
    scope=None,
    answers={200: (Live, {"live": True})},
)
async def server_live(_request: Request) -> Response:
    """This process is alive."""
    return answer_json({"live": True})


@described(
    summary="Readiness (v2)",
    text="Open Inference Protocol v2.",
    scope=None,
    answers={200: (Ready, {"ready": True}), 503: (Ready, {"ready": False})},
)
async def server_ready(request: Request) -> Response:
    """As /health/ready."""
    response = await ready(api_of(request))
    return answer_json({"ready": response.status_code == 200}, response.status_code)


@described(
    summary="Server metadata",
    text="Open Inference Protocol v2.",
    scope="predict",
    answers={
        200: (
            ServerMetadata,
            {"name": "continual-ml", "version": "0.1.0", "extensions": ["binary_tensor_data"]},
        )
    },
    errors=(401, 403, 503),
)
async def server_metadata(request: Request) -> Response:
    """Name, version and extensions of this server."""
    api = api_of(request)
    await api.token(request, "predict")
    return answer_json(open_inference.server_metadata())


@described(
    summary="Model metadata",
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
    errors=MODEL_ERRORS,
)
async def model_metadata(request: Request) -> Response:
    """Inputs and outputs of a project's champion."""
    _, name, served = await _model(request)
    return answer_json(open_inference.model_metadata(name, served.version, served.schema))


@described(
    summary="Model readiness",
    text="Open Inference Protocol v2.",
    scope="predict",
    parameters=[MODEL],
    answers={200: (ModelReady, {"name": "default", "ready": True})},
    errors=MODEL_ERRORS,
)
async def model_ready(request: Request) -> Response:
    """The champion is loaded."""
    _, name, _ = await _model(request)
    return answer_json({"name": name, "ready": True})


@described(
    summary="Infer",
    text="One input per feature, with the feature's name and shape [n] or [n, 1]; or a single `input` of shape "
    "[n, features] if all features are numeric. JSON, or the binary tensor extension that most clients use by default.",
    scope="predict",
    parameters=[MODEL, LENGTH, IDEMPOTENCY_KEY],
    body={
        JSON: (InferRequest, {"one row": {"value": _TENSORS}}),
        "application/octet-stream": (BINARY, None),
    },
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
    errors=ROW_ERRORS,
)
async def infer(request: Request) -> Response:
    """Predictions for the rows in the input tensors, as JSON or binary tensors."""
    api = api_of(request)
    caller, name, served = await _model(request)
    body = await bodies.read_bytes(request)
    pending = pending_of(request, caller, request.scope["path"], body)
    answered = await api.infer(_inferred, caller, name, served, body, _header_length(request))
    response = await log_and_respond(api, caller, answered, pending)
    length = _json_length(bytes(response.body))  # as sent, which may be a replayed one
    if length < len(response.body):
        response.headers["content-type"] = "application/octet-stream"
        response.headers[_LENGTH] = str(length)
    return response


def _header_length(request: Request) -> int | None:
    header = request.headers.get(_LENGTH)
    if header is None:
        return None
    if not header.isascii() or not header.isdigit() or len(header) > 12:
        from core.errors import BadInput, FieldProblem

        problem = FieldProblem(_LENGTH, shown(header), "bytes of the JSON part")
        raise BadInput(f"{_LENGTH} is {problem.seen}, expected the {problem.expected}.", (problem,))
    return int(header)


def _json_length(body: bytes) -> int:
    """Bytes of the JSON at the beginning of a response: all of them where no tensor follows it."""
    if b'"binary_data_size":' not in body:
        return len(body)
    return json.JSONDecoder().raw_decode(body.decode("latin-1"))[1]


def _inferred(caller: Caller, name: str, served: Served, body: bytes, length: int | None) -> Answered:
    import numpy as np

    parsed = open_inference.read_infer(body, length, served.schema)
    if parsed.matrix is not None:
        table = Table(list(np.ascontiguousarray(parsed.matrix.T)), parsed.rows)
    else:
        names = served.schema.names
        cells = zip(*(parsed.columns[name] for name in names), strict=True)
        table = served.reader.many([dict(zip(names, row, strict=True)) for row in cells])
    answered = many(served, table, datetime.now(UTC), token_id=caller.token.id)
    return dataclasses.replace(answered, body=_tensors(parsed, name, answered))


def _tensors(parsed: InferenceRequest, name: str, answered: Answered) -> bytes:
    served, predicted = answered.served, answered.predicted
    assert predicted is not None
    probabilities = predicted.probabilities
    withheld = [i for i, guarded in answered.guarded.items() if guarded["action"] != "warn"]
    if withheld and probabilities is not None:
        probabilities = probabilities.copy()
        probabilities[withheld] = float("nan")
    parameters: dict[str, JsonValue] = {}
    if answered.guarded:  # the protocol allows only scalar parameters
        parameters["guards"] = orjson.dumps(
            {str(i): guarded["hits"] for i, guarded in answered.guarded.items()}
        ).decode()
    content, _ = open_inference.answer_infer(
        parsed,
        name=name,
        version=served.version,
        labels=answered.labels(),
        probabilities=probabilities,
        classes=served.classes,
        parameters=parameters,
    )
    return content


async def _model(request: Request) -> tuple[Caller, str, Served]:
    """The caller, the model's name, which is the project's, and what serves.

    Raises:
        NotFound: no such model, or another version serves.
    """
    api = api_of(request)
    name = request.path_params["model"]
    token = await api.token(request, "predict")
    if request.path_params.get("slug", name) != name:
        raise NotFound(f"The model of project '{request.path_params['slug'][:80]}' is not called '{name[:80]}'.")
    caller = await api.caller_for(token, name)
    assert caller.project is not None
    served = await api.champion(caller.project)
    wanted = request.path_params.get("version")
    if wanted is not None and wanted != str(served.version):
        raise NotFound(f"Version {wanted[:20]} of '{name}' does not serve, expected {served.version} or none.")
    return caller, name, served
