"""Predictions as records of the log."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from core.learning.scorer_parts import Values
from core.services.serving import blocks
from core.services.serving.champion_cache import Served
from core.services.serving.guards import Guarded, tally
from core.services.serving.predicting import Predicted
from core.services.serving.prediction_log import Record

_process, _count = secrets.token_hex(3), itertools.count()


class PredictionContext(NamedTuple):
    """When rows were predicted, and for whom."""

    now: datetime
    token_id: int | None = None
    anonymous: bool = False


def new_id(now: datetime) -> str:
    """A unique prediction id: instant, process, number. Ids of the same time are adjacent in an index."""
    return f"{int(now.timestamp() * 1000):011x}{_process}{next(_count) & 0xFFFFFF:06x}"


def record_one(
    served: Served,
    values: Values,
    answer: tuple[Any, int, list[float] | None],
    context: PredictionContext,
    *,
    row_id: str | None = None,
    at: datetime | None = None,
    guarded: Guarded | None = None,
) -> Record:
    """One prediction as a record of the prediction log, with a new `prediction_id`.

    Args:
        row_id: the caller's; if absent, the prediction id is the row id.
        at: the row's instant; if absent, the prediction's.
        guarded: the result of the guards.
    """
    label, place, chances = answer
    now, token_id, anonymous = context
    prediction_id = new_id(now)
    return (
        served.project_id,
        prediction_id,
        prediction_id if row_id is None else row_id,
        served.version,
        served.labels_json[place] if chances is not None else orjson.dumps(label).decode(),
        orjson.dumps(chances).decode() if chances is not None else None,
        served.classes_json,
        orjson.dumps(dict(zip(served.schema.names, values, strict=True))).decode(),
        now if at is None else at,
        now,
        token_id,
        1,
        None,
        anonymous,
        orjson.dumps(guarded).decode() if guarded is not None else None,
    )


def records(
    served: Served,
    predicted: Predicted,
    columns: Sequence[Any],
    context: PredictionContext,
    *,
    ids: Sequence[str | None] | None = None,
    times: Sequence[datetime | None] | None = None,
    guarded: Mapping[int, Guarded] | None = None,
) -> list[Record]:
    """Predictions of many rows as records of the log: one per row, or one block if no row has its own id or instant."""
    n, guarded_rows = len(predicted.labels), dict(guarded or {})
    now, token_id, anonymous = context
    if ids is None and times is None and n >= blocks.LEAST_ROWS:
        block = blocks.write(
            served.schema, columns, served.classes, predicted.places, predicted.probabilities, guarded_rows
        )
        block_id = new_id(now)
        empty = "null"
        head = (served.project_id, block_id, block_id, served.version, empty, None, served.classes_json, empty)
        tally_text = orjson.dumps({"tally": tally(guarded_rows.values())}).decode() if guarded_rows else None
        return [(*head, now, now, token_id, n, block, anonymous, tally_text)]
    chances = predicted.probabilities.tolist() if predicted.probabilities is not None else [None] * n
    values_by_column = [column.tolist() if hasattr(column, "tolist") else column for column in columns]
    return [
        record_one(
            served,
            list(values),
            (predicted.labels[i], int(predicted.places[i]) if served.classes else 0, chances[i]),
            context,
            row_id=ids[i] if ids is not None else None,
            at=times[i] if times is not None else None,
            guarded=guarded_rows.get(i),
        )
        for i, values in enumerate(zip(*values_by_column, strict=True))
    ]


def ids_of(log: Sequence[Record], n: int) -> tuple[list[str], list[str]]:
    """Prediction ids and row ids of n answers."""
    if len(log) == 1 and log[0][11] > 1:
        names = blocks.row_ids(log[0][1], n)
        return names, names
    return [record[1] for record in log], [record[2] for record in log]
