"""POST /predict and /explain: rows in, the champion's predictions out, each committed to the log before it is sent.

A single JSON row, the usual case, is parsed, predicted and queued for the log in the event loop itself, bypassing the
framework. Tables and multiple rows are predicted in a thread, where large bodies are decoded too.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, with_config
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import TypedDict

from core.errors import FieldProblem
from core.http import bodies, idempotency, json_decoding
from core.http.access import ApiState, Caller, api_of
from core.http.answers import Prediction, Predictions, answer_json
from core.http.documentation import ARROW, BINARY, IDEMPOTENCY_KEY, JSON, NPY, ROW_ERRORS, described
from core.records import Problem
from core.services.serving.answering import Answered, document, many, one
from core.services.serving.champion_cache import Estimator, Served
from core.services.serving.stored_responses import StoredResponse

_JSON_HEADERS = [(b"content-type", b"application/json")]


@with_config(ConfigDict(extra="allow"))
class Row(TypedDict):
    """One value per feature of the project; null stands for a missing value."""


@with_config(ConfigDict(extra="forbid"))
class Rows(TypedDict):
    rows: Annotated[
        list[Row],
        Field(
            description="One value per feature; optionally `_id` (your row id) and `_time` (ISO 8601).",
            min_length=1,
            max_length=json_decoding.MAX_ROWS,
        ),
    ]


_ONE = {
    "prediction": 1,
    "probability": 0.7,
    "probabilities": {"0": 0.3, "1": 0.7},
    "prediction_id": "bHq0x3vT7Yk2wZpA",
    "row_id": "bHq0x3vT7Yk2wZpA",
    "model_version": 3,
}


async def predict(scope: Scope, receive: Receive, send: Send) -> None:
    """The route as an ASGI application; `scope["path_params"]` may hold a project's slug."""
    api: ApiState = scope["app"].state.api
    headers = dict(scope["headers"])
    slug = scope.get("path_params", {}).get("slug")
    caller = await api.authorize(headers.get(b"authorization", b"").decode("latin-1"), slug, "predict")
    assert caller.project is not None
    kind = bodies.kind_at_once(headers)
    if kind is None:
        kind = bodies.require_kind(Headers(raw=scope["headers"]), "json", "arrow", "npy")
    body = await bodies.read_body(headers, receive)
    at_once = kind == "json" and len(body) <= json_decoding.AT_ONCE_BYTES
    decoded = json_decoding.decode(body) if at_once else None  # invalid JSON is reported before a missing champion
    served = await api.champion(caller.project)
    now = datetime.now(UTC)
    single = at_once and type(decoded) is dict and "rows" not in decoded
    if single and type(served.scorer) is not Estimator:
        answered = one(served, decoded, now, token_id=caller.token.id)
    else:
        answered = await api.infer(_in_thread, api, caller, served, kind, body, decoded, now)
    pending = idempotency.pending(headers.get(idempotency.HEADER), caller, "/predict", body)
    replayed = await _log(api, answered, pending)
    if replayed is not None:
        await replayed(scope, receive, send)
        return
    count(api, caller, answered)
    length = (b"content-length", b"%d" % len(answered.body))
    await send({"type": "http.response.start", "status": 200, "headers": [*_JSON_HEADERS, length]})
    await send({"type": "http.response.body", "body": answered.body})


@described(
    summary="Predict",
    text="One row, `rows`, an Arrow stream or an npy array (features in the project's order). A prediction is returned only "
    "after it has been committed to the prediction log. At most 100,000 rows and 32 MB; one invalid row rejects the request.",
    scope="predict",
    parameters=[IDEMPOTENCY_KEY],
    body={
        JSON: (
            (Row, Rows),
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
)
async def documented(_request: Request) -> Response:
    """The route's entry in the documentation; the middleware answers its requests before they are routed."""
    raise RuntimeError("POST /predict is answered by the middleware")


def count(api: ApiState, caller: Caller, answered: Answered) -> None:
    """Count predictions and guard hits in the metrics."""
    assert caller.project is not None
    api.requests.predicted(caller.project.slug, answered.served.version, answered.rows)
    for guarded in answered.guarded.values():
        for hit in guarded["hits"]:
            api.requests.guarded(caller.project.slug, hit["guard"], hit["action"])


async def log_and_respond(
    api: ApiState, caller: Caller, answered: Answered, pending: StoredResponse | None
) -> Response:
    """The response, once its predictions are committed to the log; or the stored one of an earlier request."""
    replayed = await _log(api, answered, pending)
    if replayed is not None:
        return replayed
    count(api, caller, answered)
    return Response(answered.body, 200, media_type="application/json")


async def _log(api: ApiState, answered: Answered, pending: StoredResponse | None) -> Response | None:
    """Commit predictions to the log; the stored response instead, if the Idempotency-Key was used before."""
    if pending is not None:
        pending = dataclasses.replace(pending, body=answered.body)
    stored = await api.writer.write(answered.records, pending)
    return idempotency.replay(stored, pending) if stored is not None and pending is not None else None


# --- multiple rows ----------------------------------------------------------------------------------------------


def _in_thread(
    api: ApiState, caller: Caller, served: Served, kind: str, body: bytes, decoded: Any, now: datetime
) -> Answered:
    notes: tuple[Problem, ...] = ()
    table = served.reader.numbers(body, json_decoding.MAX_ROWS) if kind == "json" and decoded is None else None
    if kind == "json" and table is None:
        rows, single = _rows(json_decoding.decode(body) if decoded is None else decoded, served.schema.names)
        if single:
            return one(served, rows[0], now, token_id=caller.token.id)
        table = served.reader.many(rows)
    elif table is None:
        table, notes = bodies.table_of(body, kind, served.schema, api.settings.max_upload_bytes)
    answered = many(served, table, now, token_id=caller.token.id)
    return dataclasses.replace(answered, body=document(answered, notes))


def _rows(decoded: Any, features: tuple[str, ...]) -> tuple[list[Any], bool]:
    """The rows of a JSON body, and whether it is a single row without `rows` around it."""
    if not isinstance(decoded, dict):
        bodies.require_object(decoded, (), expected='one row as an object of features, or {"rows": [...]}')
    rows = decoded.get("rows")
    if "rows" not in decoded or ("rows" in features and not isinstance(rows, list)):
        return [decoded], True
    if not isinstance(rows, list):
        from core.data.cells import refusal, shown_json

        raise refusal("The rows are not valid", [FieldProblem("rows", shown_json(rows), "a list of objects")])
    bodies.require_object(decoded, ("rows",))
    bodies.check_rows(len(rows))
    return rows, False


# --- explanations -----------------------------------------------------------------------------------------------


class Contribution(TypedDict):
    feature: str
    value: JsonValue
    contribution: float


class Explanation(TypedDict):
    contributions: Annotated[
        list[Contribution], Field(description="In feature order; `base` plus all contributions equals `answer`.")
    ]
    base: Annotated[float, Field(description="Mean output over the background rows.")]
    answer: float
    of: Annotated[JsonValue, Field(description="The class being explained; null for regression.")]
    unit: Literal["log-odds", "probability", "value"]
    method: Literal["linear", "trees", "permutation"]
    model_version: int


@described(
    summary="Explain a prediction",
    text="The contribution of each feature to the prediction, relative to a sample of the training rows: exact Shapley values "
    "for linear and tree models, estimated by permutation otherwise. Nothing is logged.",
    scope="predict",
    body={JSON: (Row, {"one row": {"value": {"feature1": 0.1, "feature2": 2.0}}})},
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
)
async def explain(request: Request) -> Response:
    """The contribution of each feature to the prediction for one row. Nothing is logged: this is not a prediction."""
    api = api_of(request)
    caller = await api.caller(request, "predict")
    assert caller.project is not None
    bodies.require_kind(request.headers, "json")
    row = await bodies.read_json(request)
    served = await api.champion(caller.project)
    return answer_json(await api.infer(_explain, served, row))


def _explain(served: Served, row: Any) -> Explanation:
    from core.services.serving.explaining import explain_row

    values, _, _ = served.reader.one(row)
    explanation = explain_row(served, values)
    return {
        "contributions": [
            {"feature": feature, "value": value, "contribution": contribution}
            for feature, value, contribution in explanation.contributions
        ],
        "base": explanation.base,
        "answer": explanation.answer,
        "of": explanation.of,
        "unit": explanation.unit,
        "method": explanation.method,
        "model_version": served.version,
    }
