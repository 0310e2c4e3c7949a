"""POST /labels: labels by row id or prediction id."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends
from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError
from sqlalchemy.orm import Session
from starlette.responses import Response
from typing_extensions import TypedDict

from core.http import idempotency
from core.http.access import ApiState, Caller
from core.http.answers import answer_json
from core.http.dependencies import ApiDep, IdempotencyDep, IngestCaller
from core.http.documentation import described
from core.http.json_body import FIELD_PROBLEM, STOP_AT_MAX_PROBLEMS, Body, JsonBody
from core.records import JsonObject
from core.services.serving.logged_predictions import row_ids
from core.services.serving.stored_responses import StoredResponse

MAX_LABELS = 100_000


class LabelOfRow(Body):
    row_id: str | int
    label: str | int | float | bool


class LabelOfPrediction(Body):
    prediction_id: str | int
    label: str | int | float | bool


def _which(entry: Any) -> str:
    by_prediction = isinstance(entry, dict) and "prediction_id" in entry
    return "LabelOfPrediction" if by_prediction else "LabelOfRow"


def _one_id(entry: Any) -> Any:
    """The entry, unless it has both ids."""
    if isinstance(entry, dict) and "row_id" in entry and "prediction_id" in entry:
        seen, expected = "an object with both row_id and prediction_id", "exactly one of row_id and prediction_id"
        raise PydanticCustomError(FIELD_PROBLEM, "{seen}", {"seen": seen, "expected": expected})
    return entry


def _plain_choice(schema: JsonObject) -> None:
    schema["anyOf"] = schema.pop("oneOf")


Label = Annotated[
    Annotated[LabelOfRow, Tag("LabelOfRow")] | Annotated[LabelOfPrediction, Tag("LabelOfPrediction")],
    Discriminator(_which),  # else an invalid entry is reported for both
    Field(json_schema_extra=_plain_choice),
    BeforeValidator(_one_id),
    STOP_AT_MAX_PROBLEMS,
]


class Labels(Body):
    labels: list[Label] = Field(min_length=1, max_length=MAX_LABELS)
    replace: bool = Field(
        False, description="Allow labels to replace existing ones and to add classes unknown to the champion."
    )


class LabelResult(TypedDict):
    row_id: str
    status: Literal["stored", "unchanged", "replaced", "waiting"]


class LabelResults(TypedDict):
    results: list[LabelResult]


LabelsBody = Annotated[
    Labels,
    Depends(
        JsonBody(
            Labels,
            message="Some labels are invalid, so none was stored",
            hint="Each entry needs a label and exactly one of row_id and prediction_id.",
            examples={"one": {"labels": [{"row_id": "a7", "label": 1}]}},
        )
    ),
]


@described(
    summary="Send labels",
    text="By `row_id` or `prediction_id`; for rows sent without `_id` the two are equal. Sending a label again has no "
    "effect. Labels that would replace existing ones, or add a class unknown to the champion, are rejected with 409 unless "
    '`"replace": true` is set. At most 100,000 labels per request.',
    answers={200: (LabelResults, {"results": [{"row_id": "a7", "status": "stored"}]})},
    errors=(409,),
)
async def labels(caller: IngestCaller, body: LabelsBody, key: IdempotencyDep, api: ApiDep) -> Response:
    """Store all labels or none; existing ones are replaced only if the body allows it."""
    pending, replayed = await key.look_up(caller)
    return replayed or answer_json(await asyncio.to_thread(_store, api, caller, body, pending))


def _store(api: ApiState, caller: Caller, body: Labels, pending: StoredResponse | None) -> LabelResults:
    from core.services.ingestion.label_intake import add_labels
    from core.services.ingestion.label_plans import LabelResult as Stored
    from core.services.projects.projects import project_by_id

    assert caller.project is not None
    project = project_by_id(api.ws, caller.project.id)
    by_prediction = [str(entry.prediction_id) for entry in body.labels if isinstance(entry, LabelOfPrediction)]
    rows = row_ids(api.ws, project.id, by_prediction)
    known = [(_row_id(entry, rows), entry.label) for entry in body.labels]

    def _answer(results: list[Stored]) -> LabelResults:
        return {"results": [{"row_id": r.row_id, "status": r.status} for r in results]}

    def _store_answer(session: Session, results: list[Stored]) -> None:
        idempotency.store(session, pending, _answer(results))

    return _answer(
        add_labels(
            api.ws, project, known, by=caller.name, now=datetime.now(UTC), replace=body.replace, also=_store_answer
        )
    )


def _row_id(entry: LabelOfRow | LabelOfPrediction, rows: dict[str, str]) -> str:
    if isinstance(entry, LabelOfRow):
        return str(entry.row_id)
    return rows.get(str(entry.prediction_id), str(entry.prediction_id))
