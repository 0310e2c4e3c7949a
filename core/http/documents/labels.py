"""Labels that come by row or prediction id."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.http.documents.common import JSON, REPEAT, Document, reference
from core.http.storing import MAX_LABELS


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


SCHEMAS: tuple[type[BaseModel], ...] = (Labels, LabelResults)

DOCUMENTS: dict[str, Document] = {
    "labels": Document(
        summary="Send labels",
        text="By `row_id` or `prediction_id`; without `_id` the row id is the prediction id. Sending one again changes "
        "nothing. Labels that would replace others, or add a class that the champion does not know, are a 409 without "
        '`"replace": true`. At most 100,000 a call.',
        scope="ingest",
        parameters=[REPEAT],
        body={JSON: (reference(Labels), {"one": {"value": {"labels": [{"row_id": "a7", "label": 1}]}}})},
        answers={200: (LabelResults, {"results": [{"row_id": "a7", "status": "stored"}]})},
        errors=(400, 401, 403, 404, 409, 413, 415, 422, 503),
    ),
}
