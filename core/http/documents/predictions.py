"""Predictions: asking for them, and why a row gets its answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from core.http.answers import Prediction, Predictions
from core.http.bodies import MAX_ROWS
from core.http.documents.common import ARROW, BINARY, JSON, NPY, REPEAT, ROW_ERRORS, Document, reference


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


_ONE = {
    "prediction": 1,
    "probability": 0.7,
    "probabilities": {"0": 0.3, "1": 0.7},
    "prediction_id": "bHq0x3vT7Yk2wZpA",
    "row_id": "bHq0x3vT7Yk2wZpA",
    "model_version": 3,
}


SCHEMAS: tuple[Any, ...] = (Row, Rows, Prediction, Predictions, Explanation)

DOCUMENTS: dict[str, Document] = {
    "predict": Document(
        summary="Ask for predictions",
        text="One row, `rows`, an Arrow stream or an npy array (features in the project's order). An answer leaves only "
        "after it is in the log. At most 100,000 rows and 32 MB; one bad row refuses the call.",
        scope="predict",
        parameters=[REPEAT],
        body={
            JSON: (
                {"anyOf": [reference(Row), reference(Rows)]},
                {
                    "one row": {"value": {"feature1": 0.1, "feature2": 2.0}},
                    "rows": {"value": {"rows": [{"feature1": 0.1, "feature2": 2.0, "_id": "a7"}]}},
                },
            ),
            ARROW: (BINARY, None),
            NPY: (BINARY, None),
        },
        answers={200: ((Prediction, Predictions), _ONE)},
        errors=(400, 401, 403, 404, 409, 413, 415, 422, 503),
    ),
    "explain": Document(
        summary="Why a row gets its answer",
        text="What each feature adds to the answer, against rows that the model learnt from: exact for linear and tree "
        "models, by permutation otherwise. Nothing is logged.",
        scope="predict",
        body={JSON: (reference(Row), {"one row": {"value": {"feature1": 0.1, "feature2": 2.0}}})},
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
        errors=ROW_ERRORS,
    ),
}
