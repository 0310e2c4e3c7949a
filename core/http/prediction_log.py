"""GET /predictions: the prediction log, page by page."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import Annotated

from fastapi import Query
from pydantic import JsonValue
from starlette.responses import Response
from typing_extensions import TypedDict

from core.errors import BadInput, FieldProblem
from core.http.access import ApiState
from core.http.answers import Instant, answer_json
from core.http.dependencies import ApiDep, ReadCaller
from core.http.documentation import described
from core.services.serving.logged_predictions import logged

_CURSOR = re.compile(r"p(\d{1,18})(?:\.(\d{1,6}))?")


class LoggedPrediction(TypedDict):
    prediction_id: str
    row_id: str
    model_version: int
    prediction: JsonValue
    created_at: Instant


class PredictionsPage(TypedDict):
    predictions: list[LoggedPrediction]
    next_cursor: str | None


@described(
    summary="Prediction log",
    text="Oldest first. Follow `next_cursor` until it is null: no row is skipped or repeated, even if rows are sealed into a batch meanwhile.",
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
)
async def predictions(
    caller: ReadCaller,
    api: ApiDep,
    limit: Annotated[int, Query(description="Page size.", ge=1, le=10_000)] = 1_000,
    # The pattern is documentation only: an invalid cursor is reported below, in words.
    cursor: Annotated[
        str,
        Query(description="`next_cursor` of the previous page.", json_schema_extra={"pattern": "^[A-Za-z0-9_-]*$"}),
    ] = "",
) -> Response:
    """One page of the log, oldest first."""
    assert caller.project is not None
    return answer_json(await asyncio.to_thread(_page, api, caller.project.id, limit, _after(cursor)))


def _after(cursor: str) -> tuple[int, int]:
    """The position in the log after which the page begins."""
    if not cursor:
        return 0, 0
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    position = _CURSOR.fullmatch(text)
    if position is None:
        problem = FieldProblem("cursor", repr(cursor[:40]), "the next_cursor of an earlier page")
        raise BadInput(f"cursor is {problem.seen}, expected {problem.expected}.", (problem,))
    return int(position[1]), int(position[2] or 0)


def _cursor(last: tuple[int, int]) -> str:
    return base64.urlsafe_b64encode(f"p{last[0]}.{last[1]}".encode()).decode().rstrip("=")


def _page(api: ApiState, project_id: int, limit: int, after: tuple[int, int]) -> PredictionsPage:
    entries, more = logged(api.ws, project_id, limit=limit, after=after)
    return {
        "predictions": [
            {
                "prediction_id": entry.prediction_id,
                "row_id": entry.row_id,
                "model_version": entry.model_version,
                "prediction": entry.prediction,
                "created_at": entry.created_at,
            }
            for entry in entries
        ],
        "next_cursor": _cursor(entries[-1].at) if more else None,
    }
