"""JSON answers: instants as ISO text, what is absent as null; and the forms of those that several routes give."""

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
    probability: Annotated[float | None, Field(description="Of the predicted class; null in regression.")]
    probabilities: dict[str, float] | None
    prediction_id: str
    row_id: Annotated[str, Field(description="The `_id` of the row, else the prediction id: send labels with it.")]
    model_version: int
    guards: NotRequired[
        Annotated[
            list[dict[str, JsonValue]] | None, Field(description="Only where a guard spoke: what it saw, what it did.")
        ]
    ]


class Noticed(TypedDict):
    """What was assumed of a table, or taken otherwise than it came."""

    code: str
    column: str | None
    count: Annotated[int, Field(description="Of rows or cells.")]
    example: str | None
    text: Annotated[str, Field(description="The same as a sentence.")]


class Predictions(TypedDict):
    predictions: list[Prediction]
    model_version: int
    problems: NotRequired[
        Annotated[list[Noticed] | None, Field(description="What was taken otherwise than it came; tables only.")]
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
    """An answer of compact JSON."""
    return Response(orjson.dumps(in_words(document)), status, dict(headers or {}), "application/json")
