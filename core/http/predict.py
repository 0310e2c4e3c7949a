"""POST /predict and /explain: rows in, the champion's answers out, each committed to the log before it leaves.

One row of JSON, the usual case, is read, answered and handed to the log in the event loop itself; the framework does
not see it. Tables and many rows are answered in a thread.
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

from core.errors import BadInput, FieldProblem, NotAllowed
from core.http import bodies, idempotency
from core.http.access import ANONYMOUS, Api, Caller, api_of
from core.http.answers import Prediction, Predictions, answer_json
from core.http.documentation import ARROW, BINARY, JSON, NPY, REPEAT, ROW_ERRORS, described
from core.records import Problem
from core.services.serving.answering import Answered, document, many, one
from core.services.serving.champion_cache import Estimator, Served
from core.services.serving.kept_answers import Kept

_JSON_HEADERS = [(b"content-type", b"application/json")]


@with_config(ConfigDict(extra="allow"))
class Row(TypedDict):
    """One value for each feature of the project; null is a missing one."""


@with_config(ConfigDict(extra="forbid"))
class Rows(TypedDict):
    rows: Annotated[
        list[Row],
        Field(
            description="Besides the features `_id` (your row id) and `_time` (ISO 8601).",
            min_length=1,
            max_length=bodies.MAX_ROWS,
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
    """The route as an ASGI application; `scope["path_params"]` may name a project."""
    api: Api = scope["app"].state.api
    headers = dict(scope["headers"])
    slug = scope.get("path_params", {}).get("slug")
    caller = await api.who(headers.get(b"authorization", b"").decode("latin-1"), slug, "predict")
    assert caller.place is not None
    kind = bodies.kind_at_once(headers)
    if kind is None:
        kind = bodies.require_kind(Headers(raw=scope["headers"]), "json", "arrow", "npy")
    body = await bodies.read_body(headers, receive)
    told = bodies.decode(body) if kind == "json" else None  # what is no JSON is said before anything else
    served = await api.champion(caller.place)
    now = datetime.now(UTC)
    single = kind == "json" and type(told) is dict and "rows" not in told
    if single and type(served.scorer) is not Estimator:
        answered = one(served, told, now, token_id=caller.token.id)
    else:
        answered = await api.infer(_in_thread, api, caller, served, kind, body, told, now)
    keep = idempotency.wanted(headers.get(idempotency.HEADER), caller, "/predict", body)
    if keep is not None:
        keep = dataclasses.replace(keep, body=answered.body)
    kept = await api.writer.write(answered.records, keep)
    if kept is not None and keep is not None:
        await idempotency.again(kept, keep)(scope, receive, send)
        return
    count(api, caller, answered)
    length = (b"content-length", b"%d" % len(answered.body))
    await send({"type": "http.response.start", "status": 200, "headers": [*_JSON_HEADERS, length]})
    await send({"type": "http.response.body", "body": answered.body})


@described(
    summary="Ask for predictions",
    text="One row, `rows`, an Arrow stream or an npy array (features in the project's order). An answer leaves only "
    "after it is in the log. At most 100,000 rows and 32 MB; one bad row refuses the call.",
    scope="predict",
    parameters=[REPEAT],
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
async def answered_around(_request: Request) -> Response:
    """The route as the documentation lists it; requests to it are answered before they come here."""
    raise RuntimeError("POST /predict is answered by the middleware")


def count(api: Api, caller: Caller, answered: Answered) -> None:
    """Note what was answered, for the metrics."""
    assert caller.place is not None
    api.requests.predicted(caller.place.slug, answered.served.version, answered.rows)
    for spoken in answered.guarded.values():
        for hit in spoken["hits"]:
            api.requests.guarded(caller.place.slug, hit["guard"], hit["action"])


def kept_under(request: Request, caller: Caller, route: str, body: bytes) -> Kept | None:
    """What is to be kept for this request, if it came with a key."""
    given = request.headers.get(idempotency.HEADER.decode())
    if given is not None and caller.token is ANONYMOUS:
        raise NotAllowed("An Idempotency-Key needs a token: without one, nobody knows whose it is.")
    return idempotency.wanted(None if given is None else given.encode("latin-1"), caller, route, body)


async def committed(api: Api, caller: Caller, answered: Answered, keep: Kept | None) -> Response:
    """The answer, once it is in the log."""
    if keep is not None:
        keep = dataclasses.replace(keep, body=answered.body)
    kept = await api.writer.write(answered.records, keep)
    if kept is not None and keep is not None:
        return idempotency.again(kept, keep)
    count(api, caller, answered)
    return Response(answered.body, 200, media_type="application/json")


# --- many rows --------------------------------------------------------------------------------------------------


def _in_thread(api: Api, caller: Caller, served: Served, kind: str, body: bytes, told: Any, now: datetime) -> Answered:
    notes: tuple[Problem, ...] = ()
    if kind == "json":
        rows, single = _rows(told, served.schema.names)
        if single:
            return one(served, rows[0], now, token_id=caller.token.id)
        table = served.reader.many(rows)
    else:
        table, notes = bodies.table_of(body, kind, served.schema, api.settings.max_upload_bytes)
    answered = many(served, table, now, token_id=caller.token.id)
    return dataclasses.replace(answered, body=document(answered, notes))


def _rows(told: Any, features: tuple[str, ...]) -> tuple[list[Any], bool]:
    """The rows of a JSON body, and whether it is a single one."""
    if not isinstance(told, dict):
        bodies.an_object(told, ())
    rows = told.get("rows")
    if "rows" not in told or ("rows" in features and not isinstance(rows, list)):
        return [told], True
    if not isinstance(rows, list):
        seen = "an object" if isinstance(rows, dict) else str(rows)[:60]
        raise BadInput("rows is not a list.", (FieldProblem("rows", seen, "a list of objects"),))
    bodies.an_object(told, ("rows",))
    bodies.check_rows(len(rows))
    return rows, False


# --- why --------------------------------------------------------------------------------------------------------


class Contribution(TypedDict):
    feature: str
    value: JsonValue
    contribution: float


class Explanation(TypedDict):
    contributions: Annotated[
        list[Contribution], Field(description="In the order of the features; with `base` they sum to `answer`.")
    ]
    base: Annotated[float, Field(description="The answer's mean over the rows that the model is compared with.")]
    answer: float
    of: Annotated[JsonValue, Field(description="The class whose answer is explained; null in regression.")]
    unit: Literal["log-odds", "probability", "value"]
    method: Literal["linear", "trees", "permutation"]
    model_version: int


@described(
    summary="Why a row gets its answer",
    text="What each feature adds to the answer, against rows that the model learnt from: exact for linear and tree "
    "models, by permutation otherwise. Nothing is logged.",
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
    """What each feature adds to the answer to one row. The question is not logged: nothing is predicted for anybody."""
    api = api_of(request)
    caller = await api.caller(request, "predict")
    assert caller.place is not None
    bodies.require_kind(request.headers, "json")
    told = await bodies.read_json(request)
    served = await api.champion(caller.place)
    return answer_json(await api.infer(_explained, served, told))


def _explained(served: Served, told: Any) -> Explanation:
    from core.services.serving.explaining import explain_row

    values, _, _ = served.reader.one(told)
    found = explain_row(served, values)
    return {
        "contributions": [
            {"feature": feature, "value": value, "contribution": contribution}
            for feature, value, contribution in found.contributions
        ],
        "base": found.base,
        "answer": found.answer,
        "of": found.of,
        "unit": found.unit,
        "method": found.method,
        "model_version": served.version,
    }
