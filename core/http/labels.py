"""Labels that come by row or prediction id."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends
from pydantic import Discriminator, Field, Tag
from sqlalchemy.orm import Session
from starlette.responses import Response
from typing_extensions import TypedDict

from core.http import idempotency
from core.http.access import Api, Caller
from core.http.answers import answer_json
from core.http.dependencies import ApiDep, IngestCaller, RepeatDep
from core.http.documentation import described
from core.http.json_body import UNTIL_ENOUGH, Body, JsonBody
from core.records import JsonObject
from core.services.serving.kept_answers import Kept
from core.services.serving.logged_predictions import row_ids

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


def _plain_choice(schema: JsonObject) -> None:
    schema["anyOf"] = schema.pop("oneOf")


Label = Annotated[
    Annotated[LabelOfRow, Tag("LabelOfRow")] | Annotated[LabelOfPrediction, Tag("LabelOfPrediction")],
    Discriminator(_which),  # else each wrong entry is refused as both
    Field(json_schema_extra=_plain_choice),
    UNTIL_ENOUGH,
]


class Labels(Body):
    labels: list[Label] = Field(min_length=1, max_length=MAX_LABELS)
    replace: bool = Field(
        False, description="Labels may replace others and add classes that the champion does not know."
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
            refused="Not all labels can be taken, so none was",
            advice="Each needs a label and one of row_id and prediction_id.",
            examples={"one": {"labels": [{"row_id": "a7", "label": 1}]}},
        )
    ),
]


@described(
    summary="Send labels",
    text="By `row_id` or `prediction_id`; without `_id` the row id is the prediction id. Sending one again changes "
    "nothing. Labels that would replace others, or add a class that the champion does not know, are a 409 without "
    '`"replace": true`. At most 100,000 a call.',
    answers={200: (LabelResults, {"results": [{"row_id": "a7", "status": "stored"}]})},
    errors=(409,),
)
async def labels(caller: IngestCaller, body: LabelsBody, repeat: RepeatDep, api: ApiDep) -> Response:
    """Store labels, all or none; others are replaced only where the body says so."""
    asked, kept = await repeat.before(caller)
    return kept or answer_json(await asyncio.to_thread(_store, api, caller, body, asked))


def _store(api: Api, caller: Caller, body: Labels, asked: Kept | None) -> LabelResults:
    from core.services.ingestion.label_intake import add_labels
    from core.services.ingestion.label_plans import LabelResult as Stored
    from core.services.projects.projects import project_by_id

    assert caller.place is not None
    project = project_by_id(api.ws, caller.place.id)
    by_prediction = [str(entry.prediction_id) for entry in body.labels if isinstance(entry, LabelOfPrediction)]
    rows = row_ids(api.ws, project.id, by_prediction)
    known = [(_row_id(entry, rows), entry.label) for entry in body.labels]

    def _answer(results: list[Stored]) -> LabelResults:
        return {"results": [{"row_id": r.row_id, "status": r.status} for r in results]}

    def _keep(session: Session, results: list[Stored]) -> None:
        idempotency.keep(session, asked, _answer(results))

    return _answer(
        add_labels(api.ws, project, known, by=caller.name, now=datetime.now(UTC), replace=body.replace, also=_keep)
    )


def _row_id(entry: LabelOfRow | LabelOfPrediction, rows: dict[str, str]) -> str:
    if isinstance(entry, LabelOfRow):
        return str(entry.row_id)
    return rows.get(str(entry.prediction_id), str(entry.prediction_id))
