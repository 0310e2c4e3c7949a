"""POST /predict and /explain: rows in, the champion's answers out, each committed to the log before it leaves.

One row of JSON, the usual case, is read, answered and handed to the log in the event loop itself; the framework does
not see it. Tables and many rows are answered in a thread.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from core.errors import BadInput, FieldProblem
from core.http import bodies, repeats
from core.http.access import Api, Caller, api_of
from core.http.answers import answer_json
from core.records import Problem
from core.services.serving.answering import Answered, document, many, one
from core.services.serving.champion_cache import Estimator, Served

_JSON_HEADERS = [(b"content-type", b"application/json")]


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
    keep = repeats.wanted(headers.get(repeats.HEADER), caller, "/predict", body)
    if keep is not None:
        keep = dataclasses.replace(keep, body=answered.body)
    kept = await api.writer.write(answered.records, keep)
    if kept is not None and keep is not None:
        await repeats.again(kept, keep)(scope, receive, send)
        return
    count(api, caller, answered)
    length = (b"content-length", b"%d" % len(answered.body))
    await send({"type": "http.response.start", "status": 200, "headers": [*_JSON_HEADERS, length]})
    await send({"type": "http.response.body", "body": answered.body})


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


async def explain(request: Request) -> Response:
    """What each feature adds to the answer to one row. The question is not logged: nothing is predicted for anybody."""
    api = api_of(request)
    caller = await api.caller(request, "predict")
    assert caller.place is not None
    bodies.require_kind(request.headers, "json")
    told = await bodies.read_json(request)
    served = await api.champion(caller.place)
    return answer_json(await api.infer(_explained, served, told))


def _explained(served: Served, told: Any) -> dict[str, Any]:
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
