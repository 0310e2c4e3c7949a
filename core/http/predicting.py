"""POST /predict: rows in, the champion's answers out, each committed to the log before it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from core.errors import BadInput, FieldProblem, NoChampion, StorageError
from core.http import bodies
from core.http.access import Api, Caller, api_of

if TYPE_CHECKING:
    import pandas as pd

    from core.services.serving import Predicted, Served

_Log = list[dict[str, Any]]


async def predict(request: Request) -> Response:
    """Answer one row, many rows, an Arrow stream or an npy array."""
    api = api_of(request)
    caller = await api.caller(request, "predict")
    kind = bodies.require_kind(request, "json", "arrow", "npy")
    body = await bodies.read_bytes(request)
    log, document, version = await api.infer(_answered, api, caller, kind, body, datetime.now(UTC))
    await api.writer.write(log)
    assert caller.place is not None
    api.requests.predicted(caller.place.slug, version, len(log))
    return Response(document, media_type="application/json")


def served(api: Api, caller: Caller) -> Served:
    """The champion that answers.

    Raises:
        NoChampion: there is none yet.
        StorageError: there should be one, but it cannot be loaded.
    """
    assert caller.place is not None
    champions = api.champions()
    champion = champions.get(caller.place.id)
    if champion is None:
        if champions.problem(caller.place.id) is not None:
            raise StorageError("The model that should answer cannot be loaded; the log tells why.")
        raise NoChampion(caller.place.slug)
    return champion


def _answered(api: Api, caller: Caller, kind: str, body: bytes, now: datetime) -> tuple[_Log, bytes, int]:
    """In a thread: the rows for the log, the answer's bytes, the version."""
    from core.services.serving import predict as ask
    from core.services.serving import prediction_rows

    document = bodies.decode(body) if kind == "json" else None  # what is no JSON is said before anything else
    champion = served(api, caller)
    single = False
    notes: tuple[str, ...] = ()
    ids: Sequence[str | None] | None
    times: Sequence[datetime | None] | None
    if kind == "json":
        from core.data.rows import rows_to_frame

        rows, single = _rows(document, champion.schema.names)
        X, ids, times = rows_to_frame(rows, champion.schema, single=single)
    else:
        X, ids, times, notes = _table(api, champion, kind, body)
    predicted = ask(champion, X, single=single)
    log = prediction_rows(champion, predicted, X, ids=ids, times=times, now=now, token_id=caller.token.id)
    answers = _documents(predicted, log)
    if single:
        return log, orjson.dumps(answers[0]), champion.version
    whole = {"predictions": answers, "model_version": champion.version, **({"problems": notes} if notes else {})}
    return log, orjson.dumps(whole), champion.version


def _rows(document: Any, features: tuple[str, ...]) -> tuple[list[Any], bool]:
    """The rows of a JSON body, and whether it is a single one."""
    if not isinstance(document, dict):
        bodies.an_object(document, ())
    rows = document.get("rows")
    if "rows" not in document or ("rows" in features and not isinstance(rows, list)):
        return [document], True
    if not isinstance(rows, list):
        seen = "an object" if isinstance(rows, dict) else str(rows)[:60]
        raise BadInput("rows is not a list.", (FieldProblem("rows", seen, "a list of objects"),))
    bodies.an_object(document, ("rows",))
    bodies.check_rows(len(rows))
    return rows, False


def _table(
    api: Api, champion: Served, kind: str, body: bytes
) -> tuple[pd.DataFrame, Sequence[str | None] | None, Sequence[datetime | None] | None, tuple[str, ...]]:
    import pandas as pd

    from core.data.columns import nearest, refusal
    from core.data.schema import conform

    schema = champion.schema
    frame = bodies.frame_of(body, kind, schema, api.settings.max_upload_bytes)
    taken = conform(frame.drop(columns=schema.target, errors="ignore"), schema)
    if len(taken.extra.columns):
        raise refusal(
            "The table has unknown columns",
            [
                FieldProblem(f"column {name}"[:80], "an unknown feature", f"'{near}'" if near else "a known feature")
                for name in map(str, taken.extra.columns[:20])
                for near in [nearest(name[:200], schema.names)]
            ],
        )
    times = None if taken.times is None else list(pd.DatetimeIndex(taken.times).to_pydatetime())
    # Absent ids and times are usual in a question, unlike in a file of rows.
    notes = tuple(p for p in taken.problems if " is not there: " not in p)
    return taken.X, taken.ids, times, notes


def _documents(predicted: Predicted, log: _Log) -> list[dict[str, Any]]:
    """The answers as they are sent, row for row."""
    names = [_key(label) for label in predicted.classes]
    chances = None if predicted.probabilities is None else predicted.probabilities.tolist()
    return [
        {
            "prediction": label,
            "probability": None if chances is None else max(chances[i]),
            "probabilities": None if chances is None else dict(zip(names, chances[i], strict=True)),
            "prediction_id": row["prediction_id"],
            "row_id": row["row_id"],
            "model_version": row["model_version"],
        }
        for i, (label, row) in enumerate(zip(predicted.labels, log, strict=True))
    ]


def _key(label: Any) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
