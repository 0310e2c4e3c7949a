"""The routes of MLflow's scoring server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue, RootModel

from core.http.documents.common import JSON, MODEL_ERRORS, REPEAT, ROW_ERRORS, Document, reference


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


SCHEMAS: tuple[type[BaseModel], ...] = (Invocation, Invoked)

DOCUMENTS: dict[str, Document] = {
    "invocations": Document(
        summary="Ask as MLflow's clients do",
        text="Exactly one of `dataframe_split`, `dataframe_records`, `instances`, `inputs`, or CSV with a header. Without a "
        "token only where CONTINUAL_OPEN_INVOCATIONS is true, from this machine and CONTINUAL_OPEN_FROM, in JSON; such "
        "rows are kept out of the loop.",
        scope="predict",
        parameters=[REPEAT],
        body={
            JSON: (
                reference(Invocation),
                {"records": {"value": {"dataframe_records": [{"feature1": 0.1, "feature2": 2.0}]}}},
            ),
            "text/csv": ({"type": "string"}, {"table": {"value": "feature1,feature2\n0.1,2.0\n"}}),
        },
        answers={200: (Invoked, {"predictions": [1]})},
        errors=ROW_ERRORS,
    ),
    "ping": Document(
        summary="A model answers",
        text="As MLflow's scoring server; the body is empty.",
        scope="predict",
        answers={200: ("", None)},
        errors=MODEL_ERRORS,
    ),
    "version": Document(
        summary="Version of this program",
        text="As MLflow's scoring server.",
        scope="predict",
        answers={200: ("text/plain", "0.1.0")},
        errors=(401, 403, 404, 503),
    ),
}
