"""POST /invocations, GET /ping and /version: the routes of MLflow's scoring server."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired

import orjson
from pydantic import ConfigDict, Field, JsonValue, with_config
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypeAliasType, TypedDict

from core import __version__
from core.errors import NotAuthenticated
from core.http import bodies, json_decoding, mlflow_formats
from core.http.access import ANONYMOUS, ApiState, Caller, api_of
from core.http.answers import answer_json
from core.http.documentation import IDEMPOTENCY_KEY, JSON, MODEL_ERRORS, ROW_ERRORS, described
from core.http.idempotency import pending_of
from core.http.predict import log_and_respond
from core.services.access.addresses import FORWARDED, client_of, lies_in, parsed
from core.services.serving.answering import Answered, many
from core.services.serving.champion_cache import Served
from core.settings import Settings

_OPEN = "With CONTINUAL_OPEN_INVOCATIONS=true, clients on this machine and in CONTINUAL_OPEN_FROM need none for application/json."


# --- bodies -----------------------------------------------------------------------------------------------------


@with_config(ConfigDict(extra="forbid"))
class SplitFrame(TypedDict):
    """Without `columns`, values are in the project's feature order."""

    columns: NotRequired[Annotated[list[str] | None, Field(None)]]
    data: list[list[JsonValue]]
    index: NotRequired[Annotated[JsonValue, Field(None)]]


@with_config(ConfigDict(extra="forbid"))
class InvocationOfSplit(TypedDict):
    dataframe_split: SplitFrame


@with_config(ConfigDict(extra="forbid"))
class InvocationOfRecords(TypedDict):
    dataframe_records: list[dict[str, JsonValue]]


@with_config(ConfigDict(extra="forbid"))
class InvocationOfInstances(TypedDict):
    instances: list[JsonValue]


@with_config(ConfigDict(extra="forbid"))
class InvocationOfInputs(TypedDict):
    inputs: list[JsonValue] | dict[str, JsonValue]


Invocation = TypeAliasType(
    "Invocation",
    Annotated[
        InvocationOfSplit | InvocationOfRecords | InvocationOfInstances | InvocationOfInputs,
        Field(title="Invocation", description="Exactly one of MLflow's input formats."),
    ],
)


class Invoked(TypedDict):
    predictions: list[JsonValue]


# --- routes -----------------------------------------------------------------------------------------------------


@described(
    summary="Predict (MLflow)",
    text="Exactly one of `dataframe_split`, `dataframe_records`, `instances`, `inputs`, or CSV with a header. A "
    "token is optional only if CONTINUAL_OPEN_INVOCATIONS is true, for JSON from this machine or CONTINUAL_OPEN_FROM; such "
    "rows are not used for monitoring or training.",
    scope="predict",
    parameters=[IDEMPOTENCY_KEY],
    body={
        JSON: (
            Invocation,
            {"records": {"value": {"dataframe_records": [{"feature1": 0.1, "feature2": 2.0}]}}},
        ),
        "text/csv": ({"type": "string"}, {"table": {"value": "feature1,feature2\n0.1,2.0\n"}}),
    },
    answers={200: (Invoked, {"predictions": [1]})},
    errors=ROW_ERRORS,
)
async def invocations(request: Request) -> Response:
    """Predictions for rows in one of MLflow's input formats, or CSV with a header."""
    api = api_of(request)
    caller = await _mlflow_caller(api, request)
    assert caller.project is not None
    kind = bodies.require_kind(request.headers, "json", "csv")
    body = await bodies.read_bytes(request)
    document = await json_decoding.decode_aside(body) if kind == "json" else None
    pending = pending_of(request, caller, "/invocations", body)
    served = await api.champion(caller.project)
    answered = await api.infer(_predict, caller, served, kind, document, body)
    if answered is None:
        return answer_json({"predictions": []})
    return await log_and_respond(api, caller, answered, pending)


def _predict(caller: Caller, served: Served, kind: str, document: Any, body: bytes) -> Answered | None:
    names = served.schema.names
    if kind == "csv":
        numeric = frozenset(f.name for f in served.schema.features if f.kind == "numeric")
        rows = mlflow_formats.rows_of_csv(body, names, numeric=numeric)
    else:
        rows = mlflow_formats.rows_of(document, names)
    if not rows:
        return None
    anonymous = caller.token is ANONYMOUS
    answered = many(served, served.reader.many(rows), datetime.now(UTC), token_id=caller.token.id, anonymous=anonymous)
    return dataclasses.replace(answered, body=orjson.dumps({"predictions": answered.labels()}))


@described(
    summary="Model health (MLflow)",
    text="As in MLflow's scoring server; the body is empty.",
    scope="predict",
    answers={200: ("", None)},
    errors=MODEL_ERRORS,
)
async def ping(request: Request) -> Response:
    """The champion is loaded."""
    api = api_of(request)
    caller = await _mlflow_caller(api, request)
    assert caller.project is not None
    await api.champion(caller.project)
    return Response(b"", 200)


@described(
    summary="Server version",
    text="As in MLflow's scoring server.",
    scope="predict",
    answers={200: ("text/plain", "0.1.0")},
    errors=(401, 403, 404, 503),
)
async def version(request: Request) -> Response:
    """The version of this server."""
    await _mlflow_caller(api_of(request), request)
    return Response(__version__, 200, media_type="text/plain")


async def _mlflow_caller(api: ApiState, request: Request) -> Caller:
    """The caller; anonymous where that is allowed, as MLflow's clients send no token.

    Raises:
        NotAuthenticated: a token is required; says when it is not.
    """
    if request.headers.get("authorization"):
        return await api.caller(request, "predict")
    if not api.settings.open_invocations:
        raise NotAuthenticated(f"A token is required: send `Authorization: Bearer <token>`. {_OPEN}")
    if not _is_trusted_address(request, api.settings):
        raise NotAuthenticated(f"A token is required from this address: send `Authorization: Bearer <token>`. {_OPEN}")
    # The one type that a foreign web page cannot make a browser send.
    if request.method == "POST" and not _is_plain_json(request):
        raise NotAuthenticated(f"Without a token the Content-Type must be application/json. {_OPEN}")
    return Caller(ANONYMOUS, await api.project_of(request))


def _is_plain_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _is_trusted_address(request: Request, settings: Settings) -> bool:
    """Whether the client is on this machine or in CONTINUAL_OPEN_FROM; clients behind an untrusted proxy are not."""
    peer = parsed(request.client.host if request.client else None)
    if any(request.headers.get(name) for name in FORWARDED) and not lies_in(peer, settings.trusted_proxies):
        return False
    client = client_of(str(peer), request.headers.getlist("x-forwarded-for"), settings.trusted_proxies)
    address = parsed(client)
    return address is not None and (address.is_loopback or lies_in(address, settings.open_from))
