"""From rows to responses: predictions and guards, the records for the log, and the response text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import repeat
from typing import Any

import msgspec

from core.data.cells import AHEAD
from core.data.problems import ProblemDocument, document_of
from core.data.rows import Table
from core.errors import BadInput, FieldProblem
from core.records import Problem
from core.services.serving import answer_records, predicting
from core.services.serving.champion_cache import Served
from core.services.serving.guards import Guarded, GuardHit
from core.services.serving.predicting import Predicted
from core.services.serving.prediction_log import Record


class PredictionResponse(msgspec.Struct, gc=False):
    """The response for one row."""

    prediction: Any  # the class, or the value; None if a guard withholds it
    probability: float | None  # of that class
    probabilities: dict[str, float] | None
    prediction_id: str
    row_id: str
    model_version: int
    guards: list[GuardHit] | msgspec.UnsetType = msgspec.UNSET  # triggered guards; left out if there are none


class PredictionsResponse(msgspec.Struct):
    """The response for many rows."""

    predictions: list[PredictionResponse]
    model_version: int
    problems: list[ProblemDocument] | msgspec.UnsetType = msgspec.UNSET  # conversions applied to the rows


_encode = msgspec.json.Encoder().encode


@dataclasses.dataclass(slots=True)
class Answered:
    """Predictions that are not committed yet."""

    served: Served
    records: Sequence[Record]
    body: bytes
    rows: int
    guarded: Mapping[int, Guarded]  # by position: the triggered guards
    predicted: Predicted | None = None  # of many rows

    def labels(self) -> list[Any]:
        """The value returned for each of many rows: the model's, unless a guard replaced or withheld it."""
        assert self.predicted is not None
        labels = list(self.predicted.labels)
        for i, guarded in self.guarded.items():
            labels[i] = guarded["answer"]
        return labels


def one(served: Served, row: Any, now: datetime, *, token_id: int | None) -> Answered:
    """The response for one row as sent by a client.

    Raises:
        BadInput: every problem of the row with its field.
    """
    values, row_id, at = served.reader.one(row)
    if at is not None:
        _refuse_future([at], now, "_time")
    answer = predicting.predict_one(served, values)
    label, place, chances = answer
    probability = None if chances is None else chances[place]
    guarded = served.guards.one(values, label, probability)
    record = answer_records.record_one(
        served, values, answer, answer_records.PredictionContext(now, token_id), row_id=row_id, at=at, guarded=guarded
    )
    document = PredictionResponse(
        label,
        probability,
        None if chances is None else dict(zip(served.keys, chances, strict=True)),
        record[1],
        record[2],
        served.version,
    )
    if guarded is not None:
        _add_guards(document, guarded)
    return Answered(served, (record,), _encode(document), 1, {0: guarded} if guarded is not None else {})


def many(
    served: Served,
    table: Table,
    now: datetime,
    *,
    token_id: int | None,
    anonymous: bool = False,
) -> Answered:
    """The predictions for a table; see `document` for their text.

    Raises:
        BadInput: the model gives no finite number for a row; the message says which.
    """
    if table.times is not None:
        _refuse_future(table.times, now, "rows[{}]._time")
    predicted = predicting.predict_columns(served, table.columns, table.n)
    guarded = predicting.guarded(served, table.columns, predicted)
    records = answer_records.records(
        served,
        predicted,
        table.columns,
        answer_records.PredictionContext(now, token_id, anonymous),
        ids=table.ids,
        times=table.times,
        guarded=guarded,
    )
    return Answered(served, records, b"", table.n, guarded, predicted)


def _refuse_future(times: Sequence[datetime | None], now: datetime, field: str) -> None:
    """Refuse instants in the future: they come from a wrong clock, zone or unit."""
    late = [i for i, at in enumerate(times) if at is not None and at > now + AHEAD]
    if late:
        expected = f"an instant up to now ({now:%Y-%m-%dT%H:%M:%SZ})"
        problems = tuple(FieldProblem(field.format(i), str(times[i]), expected) for i in late[:20])
        raise BadInput(f"{len(late):,} of {len(times):,} instants are in the future, expected {expected}.", problems)


# --- as text ----------------------------------------------------------------------------------------------------


def _add_guards(document: PredictionResponse, guarded: Guarded) -> None:
    """The result of the guards for one prediction."""
    if guarded["action"] != "warn":
        document.prediction = guarded["answer"]
        document.probability = document.probabilities = None
    document.guards = guarded["hits"]


def document(answered: Answered, notes: Sequence[Problem] = ()) -> bytes:
    """The response for many rows."""
    served, predicted = answered.served, answered.predicted
    assert predicted is not None
    tops, chances = _chances(predicted, served.keys)
    ids = answer_records.ids_of(answered.records, answered.rows)
    rows = list(map(PredictionResponse, predicted.labels, tops, chances, *ids, repeat(served.version)))
    for i, guarded in answered.guarded.items():
        _add_guards(rows[i], guarded)
    problems = [document_of(p) for p in notes] or msgspec.UNSET
    return _encode(PredictionsResponse(rows, served.version, problems))


def _chances(predicted: Predicted, keys: Sequence[str]) -> tuple[Iterable[float | None], Iterable[Any]]:
    """Of each row: the predicted class's probability, and each class's by its name; None for regression."""
    import numpy as np

    if predicted.probabilities is None:
        return repeat(None), repeat(None)
    tops = np.take_along_axis(predicted.probabilities, predicted.places[:, None], axis=1)[:, 0]
    by_class = predicted.probabilities.T.tolist()
    return tops.tolist(), map(_chances_type(tuple(keys)), *by_class)


@lru_cache
def _chances_type(keys: tuple[str, ...]) -> Callable[..., Any]:
    """Takes the probability of each class to an object of them.

    A structure where the names allow it: ten thousand dictionaries keep the garbage collector busy for longer than
    everything else that a response of so many rows needs.
    """
    names = {f"p{k}": key for k, key in enumerate(keys)}
    try:
        return msgspec.defstruct("Chances", [(field, float) for field in names], rename=names, gc=False)
    except ValueError:  # a name that JSON has to escape
        return lambda *chances: dict(zip(keys, chances, strict=True))
