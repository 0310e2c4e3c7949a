"""JSON responses: timestamps in ISO 8601, absent values as null; and the schemas that several routes share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NotRequired

import orjson
from pydantic import Field, JsonValue, WithJsonSchema
from starlette.responses import Response
from typing_extensions import TypedDict

from core.text.reasons import in_words

Instant = Annotated[datetime, WithJsonSchema({"type": "string"})]


class Prediction(TypedDict):
    prediction: Annotated[JsonValue, Field(description="The class as in the data, or a number.")]
    probability: Annotated[float | None, Field(description="Of the predicted class; null for regression.")]
    probabilities: dict[str, float] | None
    prediction_id: str
    row_id: Annotated[str, Field(description="The row's `_id`, or else the prediction id; use it to send the label.")]
    model_version: int
    guards: NotRequired[
        Annotated[
            list[dict[str, JsonValue]] | None,
            Field(description="Present if a guard was triggered: what it observed and which action it took."),
        ]
    ]


class Noticed(TypedDict):
    """An assumption about a table, or a conversion applied to it."""

    code: str
    column: str | None
    count: Annotated[int, Field(description="Number of rows or cells.")]
    example: str | None
    text: Annotated[str, Field(description="Human-readable description.")]


class Predictions(TypedDict):
    predictions: list[Prediction]
    model_version: int
    problems: NotRequired[
        Annotated[list[Noticed] | None, Field(description="Conversions applied to the input; tables only.")]
    ]


class BatchAnswer(TypedDict):
    batch: int
    rows: int
    labelled: int
    problems: list[Noticed]
    backfill: bool


class QueuedJob(TypedDict):
    job: str
    status: str


def answer_json(document: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """A response of compact JSON."""
    return Response(orjson.dumps(in_words(document)), status, dict(headers or {}), "application/json")
