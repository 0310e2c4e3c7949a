"""The champion's predictions for a row, for columns, for a frame, and the guards' results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.data.cells import MAX_PROBLEMS, TOO_GREAT, refusal
from core.data.rows import columns_of
from core.errors import BadInput, FieldProblem
from core.learning.scorer_parts import Values
from core.records import FeatureSchema, Label

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
from core.services.serving.champion_cache import Served
from core.services.serving.guards import Guarded

USUAL = 1e15  # greater numbers may make a model overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Predictions, row by row, as plain Python values."""

    labels: list[Any]  # the class as in the data, or a float
    probabilities: np.ndarray | None  # (n, len(classes)); None for regression
    classes: tuple[Label, ...]
    places: np.ndarray  # of each class, or the values once more

    def probability(self, row: int) -> float | None:
        """Probability of the predicted class; None for regression."""
        return None if self.probabilities is None else float(self.probabilities[row][int(self.places[row])])


def predict_one(served: Served, values: Values) -> tuple[Any, int, list[float] | None]:
    """The prediction for one row: class or value, position of the class, probabilities (None for regression).

    Raises:
        BadInput: the model has no finite prediction for it; the message says why.
    """
    try:
        answer = served.scorer.one(values)
    except (ValueError, OverflowError) as error:
        raise _unanswered([[v] for v in values], served.schema, 0, single=True) from error
    total = sum(answer)
    if total - total != 0.0 or (not served.classes and abs(total) > TOO_GREAT):
        raise _unanswered([[v] for v in values], served.schema, 0, single=True)
    if not served.classes:
        return answer[0], 0, None
    if served.threshold is None:
        place = answer.index(max(answer))
    else:
        place = int(answer[1] >= served.threshold)
    return served.classes[place], place, answer


def predict_columns(served: Served, columns: Sequence[Any], n: int) -> Predicted:
    """Predictions for n rows, columns in schema order.

    Raises:
        BadInput: the model has no finite prediction for a row; the message says which and why.
    """
    import numpy as np

    for feature, column in zip(served.schema.features, columns, strict=True):
        if feature.kind == "numeric" and (np.abs(column) >= TOO_GREAT).any():
            raise _unanswered(columns, served.schema, int((np.abs(column) >= TOO_GREAT).argmax()), single=False)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = served.scorer.many(columns, n)
    except (ValueError, OverflowError) as error:
        raise _unanswered(columns, served.schema, None, single=False) from error
    finite = np.isfinite(outputs).all(axis=1)
    if not served.classes:
        finite &= np.abs(outputs[:, 0]) <= TOO_GREAT
    if not finite.all():
        raise _unanswered(columns, served.schema, int(finite.argmin()), single=False)
    if not served.classes:
        values = outputs[:, 0]
        return Predicted(labels=values.tolist(), probabilities=None, classes=(), places=values)
    if served.threshold is None:
        places = outputs.argmax(axis=1)
    else:
        places = (outputs[:, 1] >= served.threshold).astype(np.int64)
    labels = list(map(served.classes.__getitem__, places.tolist()))
    return Predicted(labels=labels, probabilities=outputs, classes=served.classes, places=places)


def predict(served: Served, X: pd.DataFrame) -> Predicted:
    """Predictions for rows in schema order, as `core.data.conforming` makes them; see `predict_columns`."""
    return predict_columns(served, columns_of(X, served.schema), len(X))


def _unanswered(columns: Sequence[Any], schema: FeatureSchema, row: int | None, *, single: bool) -> BadInput:
    """Why the model has no finite prediction for a row (None: for one of them): the unusual values in it."""
    rows = range(len(columns[0])) if row is None else (row,)
    problems = []
    for i in rows:
        for feature, column in zip(schema.features, columns, strict=True):
            name, value = feature.name if single else f"rows[{i}].{feature.name}", column[i]
            if value is None or value != value:
                problems.append(FieldProblem(name, "missing", "a value: this model does not accept missing ones"))
            elif feature.kind == "numeric" and abs(value) > USUAL:
                problems.append(FieldProblem(name, repr(float(value)), "a smaller number: the model overflows"))
        if len(problems) >= MAX_PROBLEMS:
            break
    if not problems:
        place = "row" if single or row is None else f"rows[{row}]"
        problems = [
            FieldProblem(place, "values that this model does not accept", "values like those in its training rows")
        ]
    return refusal("The model has no prediction", problems[:MAX_PROBLEMS])


def guarded(served: Served, columns: Sequence[Any], predicted: Predicted) -> dict[int, Guarded]:
    """The project's triggered guards for these predictions, by position."""
    highest = None
    if predicted.probabilities is not None:
        import numpy as np

        highest = np.take_along_axis(predicted.probabilities, predicted.places[:, None].astype(np.int64), axis=1)[:, 0]
    return served.guards.many(columns, predicted.labels, highest)
