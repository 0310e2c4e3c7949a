"""Open Inference Protocol v2."""

from __future__ import annotations

import dataclasses

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from core.http.documents.common import BINARY, JSON, MODEL_ERRORS, REPEAT, ROW_ERRORS, Document, parameter, reference


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


MODEL = parameter("model", "path", "The model's name, which is its project's.", {"type": "string"}, "default")
VERSION = parameter("version", "path", "The version that serves.", {"type": "string"}, "3")
LENGTH = parameter(
    "Inference-Header-Content-Length",
    "header",
    "Bytes of the JSON before binary tensors.",
    {"type": "integer", "minimum": 1},
)
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
    body={
        JSON: (reference(InferRequest), {"one row": {"value": _TENSORS}}),
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
    errors=MODEL_ERRORS,
)
_READY = Document(
    summary="A model is loaded",
    text="Open Inference Protocol v2.",
    scope="predict",
    parameters=[MODEL],
    answers={200: (ModelReady, {"name": "default", "ready": True})},
    errors=MODEL_ERRORS,
)


def _of_version(document: Document) -> Document:
    parameters = [MODEL, VERSION, *document.parameters[1:]]
    return dataclasses.replace(document, summary=f"{document.summary}, by version", parameters=parameters)


SCHEMAS: tuple[type[BaseModel], ...] = (
    InferenceError,
    ServerMetadata,
    Live,
    Ready,
    ModelMetadata,
    ModelReady,
    InferRequest,
    InferAnswer,
)

DOCUMENTS: dict[str, Document] = {
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
