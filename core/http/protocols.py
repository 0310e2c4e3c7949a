"""The routes that other servers' clients know: MLflow's scoring server and the Open Inference Protocol v2."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from core import __version__
from core.data.cells import shown
from core.data.rows import Table
from core.errors import NotAllowed, NotAuthenticated, NotFound
from core.http import bodies, mlflow_forms, open_inference, repeats
from core.http.access import ANONYMOUS, Api, Caller, api_of
from core.http.answers import answer_json
from core.http.open_inference import InferRequest
from core.http.predicting import count
from core.services.access.addresses import FORWARDED, client_of, lies_in, parsed
from core.services.serving.answering import Answered, many
from core.services.serving.champion_cache import Served
from core.services.serving.kept_answers import Kept
from core.settings import Settings

_LENGTH = "inference-header-content-length"
_OPEN = "Where CONTINUAL_OPEN_INVOCATIONS=true, this machine and CONTINUAL_OPEN_FROM may ask without one, in application/json."


# --- MLflow -----------------------------------------------------------------------------------------------------


async def invocations(request: Request) -> Response:
    """Rows in one of MLflow's forms, or CSV with a header."""
    api = api_of(request)
    caller = await _mlflow_caller(api, request)
    assert caller.place is not None
    kind = bodies.require_kind(request.headers, "json", "csv")
    body = await bodies.read_bytes(request)
    told = bodies.decode(body) if kind == "json" else None
    keep = _wanted(request, caller, "/invocations", body)
    served = await api.champion(caller.place)
    answered = await api.infer(_invoked, caller, served, told, body)
    if answered is None:
        return answer_json({"predictions": []})
    return await _committed(api, caller, answered, keep)


def _invoked(caller: Caller, served: Served, told: Any, body: bytes) -> Answered | None:
    names = served.schema.names
    if told is None:
        numeric = frozenset(f.name for f in served.schema.features if f.kind == "numeric")
        rows = mlflow_forms.rows_of_csv(body, names, numeric=numeric)
    else:
        rows = mlflow_forms.rows_of(told, names)
    if not rows:
        return None
    anonymous = caller.token is ANONYMOUS
    answered = many(served, served.reader.many(rows), datetime.now(UTC), token_id=caller.token.id, anonymous=anonymous)
    return dataclasses.replace(answered, body=orjson.dumps({"predictions": answered.labels()}))


async def ping(request: Request) -> Response:
    """A model is there and answers."""
    api = api_of(request)
    caller = await _mlflow_caller(api, request)
    assert caller.place is not None
    await api.champion(caller.place)
    return Response(b"", 200)


async def version(request: Request) -> Response:
    """The version of this program."""
    await _mlflow_caller(api_of(request), request)
    return Response(__version__, 200, media_type="text/plain")


async def _mlflow_caller(api: Api, request: Request) -> Caller:
    """Who asks; nobody in particular where that is allowed, as MLflow's clients send no token.

    Raises:
        NotAuthenticated: no token, and why none is needed or not enough.
    """
    if request.headers.get("authorization"):
        return await api.caller(request, "predict")
    if not api.settings.open_invocations:
        raise NotAuthenticated(f"This needs a token: send `Authorization: Bearer <token>`. {_OPEN}")
    if not _is_near(request, api.settings):
        raise NotAuthenticated(f"Callers from here need a token: send `Authorization: Bearer <token>`. {_OPEN}")
    # A page of somebody else's can make a browser send anything but this type.
    if request.method == "POST" and not _is_plain_json(request):
        raise NotAuthenticated(f"Without a token the Content-Type must be application/json. {_OPEN}")
    return Caller(ANONYMOUS, await api.place(request))


def _is_plain_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _is_near(request: Request, settings: Settings) -> bool:
    """Whether the caller is on this machine or in one of the networks; one behind a proxy that is not trusted is neither."""
    peer = parsed(request.client.host if request.client else None)
    if any(request.headers.get(name) for name in FORWARDED) and not lies_in(peer, settings.trusted_proxies):
        return False
    client = client_of(str(peer), request.headers.getlist("x-forwarded-for"), settings.trusted_proxies)
    address = parsed(client)
    return address is not None and (address.is_loopback or lies_in(address, settings.open_from))


# --- Open Inference Protocol ------------------------------------------------------------------------------------


async def server_live(_request: Request) -> Response:
    """This process answers."""
    return answer_json({"live": True})


async def server_ready(request: Request) -> Response:
    """This process answers and its database does."""
    from core.http.telling import ready

    found = await ready(api_of(request))
    return answer_json({"ready": found.status_code == 200}, found.status_code)


async def server_metadata(request: Request) -> Response:
    """Name, version and extensions of this server."""
    api = api_of(request)
    await api.token(request, "predict")
    return answer_json(open_inference.server_metadata())


async def model_metadata(request: Request) -> Response:
    """Inputs and outputs of a project's champion."""
    _, place, served = await _model(request)
    return answer_json(open_inference.model_metadata(place, served.version, served.schema))


async def model_ready(request: Request) -> Response:
    """The champion is loaded."""
    _, place, _ = await _model(request)
    return answer_json({"name": place, "ready": True})


async def infer(request: Request) -> Response:
    """Tensors in, tensors out, JSON or binary."""
    api = api_of(request)
    caller, name, served = await _model(request)
    body = await bodies.read_bytes(request)
    keep = _wanted(request, caller, request.url.path, body)
    answered, asked = await api.infer(_inferred, caller, served, body, _header_length(request))
    answered = dataclasses.replace(answered, body=_tensors(asked, name, answered))
    response = await _committed(api, caller, answered, keep)
    # Of the body as it is sent: it may be one that was kept.
    _, length = json.JSONDecoder().raw_decode(bytes(response.body).decode("latin-1"))
    if length < len(response.body):
        response.headers["content-type"] = "application/octet-stream"
        response.headers[_LENGTH] = str(length)
    return response


def _header_length(request: Request) -> int | None:
    given = request.headers.get(_LENGTH)
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 12:
        from core.errors import BadInput, FieldProblem

        problem = FieldProblem(_LENGTH, shown(given), "bytes of the JSON part")
        raise BadInput(f"{_LENGTH} is {problem.seen}, expected the {problem.expected}.", (problem,))
    return int(given)


def _inferred(caller: Caller, served: Served, body: bytes, length: int | None) -> tuple[Answered, InferRequest]:
    import numpy as np

    asked = open_inference.read_infer(body, length, served.schema)
    if asked.matrix is not None:
        table = Table(list(np.ascontiguousarray(asked.matrix.T)), asked.rows)
    else:
        names = served.schema.names
        cells = zip(*(asked.columns[name] for name in names), strict=True)
        table = served.reader.many([dict(zip(names, row, strict=True)) for row in cells])
    return many(served, table, datetime.now(UTC), token_id=caller.token.id), asked


def _tensors(asked: InferRequest, name: str, answered: Answered) -> bytes:
    served, predicted = answered.served, answered.predicted
    assert predicted is not None
    probabilities = predicted.probabilities
    withheld = [i for i, spoken in answered.guarded.items() if spoken["action"] != "warn"]
    if withheld and probabilities is not None:
        probabilities = probabilities.copy()
        probabilities[withheld] = float("nan")
    told: dict[str, Any] = {}
    if answered.guarded:  # parameters are plain values in the protocol
        told["guards"] = orjson.dumps({str(i): spoken["hits"] for i, spoken in answered.guarded.items()}).decode()
    content, _ = open_inference.answer_infer(
        asked,
        name=name,
        version=served.version,
        labels=answered.labels(),
        probabilities=probabilities,
        classes=served.classes,
        parameters=told or None,
    )
    return content


async def _model(request: Request) -> tuple[Caller, str, Served]:
    """The caller, the model's name, which is the project's, and what serves.

    Raises:
        NotFound: no such model, or another version serves.
    """
    api = api_of(request)
    name = request.path_params["model"]
    token = await api.token(request, "predict")
    if request.path_params.get("slug", name) != name:
        raise NotFound(f"The model of project '{request.path_params['slug'][:80]}' is not called '{name[:80]}'.")
    caller = await api.placed(token, name)
    assert caller.place is not None
    served = await api.champion(caller.place)
    wanted = request.path_params.get("version")
    if wanted is not None and wanted != str(served.version):
        raise NotFound(f"Version {wanted[:20]} of '{name}' does not serve, expected {served.version} or none.")
    return caller, name, served


# --- both -------------------------------------------------------------------------------------------------------


def _wanted(request: Request, caller: Caller, route: str, body: bytes) -> Kept | None:
    """What is to be kept for this request, if it came with a key."""
    given = request.headers.get(repeats.HEADER.decode())
    if given is not None and caller.token is ANONYMOUS:
        raise NotAllowed("An Idempotency-Key needs a token: without one, nobody knows whose it is.")
    return repeats.wanted(None if given is None else given.encode("latin-1"), caller, route, body)


async def _committed(api: Api, caller: Caller, answered: Answered, keep: Kept | None) -> Response:
    """The answer, once it is in the log."""
    if keep is not None:
        keep = dataclasses.replace(keep, body=answered.body)
    kept = await api.writer.write(answered.records, keep)
    if kept is not None and keep is not None:
        return repeats.again(kept, keep)
    count(api, caller, answered)
    return Response(answered.body, 200, media_type="application/json")
