"""Many rows of one call as one block of the prediction log: packed columns instead of a table row for each.

A call of thousands of rows is answered as fast as it is read; writing table rows would take longer than the model. The ids of
a block's rows are made from its own: `<prediction_id>.<place>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.data.packed import pack, unpack
from core.errors import StorageError
from core.records import FeatureSchema, JsonObject, Label
from core.services.serving.guards import Guarded

if TYPE_CHECKING:
    import numpy as np

LEAST_ROWS = 32  # smaller calls are logged row by row


def row_id(prediction_id: str, place: int) -> str:
    """Id of a block's row, of the prediction and of the row alike."""
    return f"{prediction_id}.{place}"


def row_ids(prediction_id: str, n: int) -> list[str]:
    """Ids of all n rows of a block."""
    return [f"{prediction_id}.{place}" for place in range(n)]


def base_of(name: str) -> tuple[str, int] | None:
    """The block's prediction id and the position in an id of this form; None for any other id."""
    base, dot, place = name.rpartition(".")
    return (base, int(place)) if dot and base and place.isascii() and place.isdigit() and len(place) <= 7 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows and the model's predictions for them."""

    names: tuple[str, ...]
    columns: list[Any]  # in schema order: float64 arrays, or lists of text with None
    classes: tuple[Label, ...]  # empty for regression
    answers: np.ndarray  # place of the class, or the value
    probabilities: np.ndarray | None  # (rows, classes)
    guarded: dict[int, Guarded]  # by position: the triggered guards

    def labels(self) -> list[Any]:
        """The model's prediction for each row."""
        return [self.classes[int(k)] for k in self.answers] if self.classes else self.answers.tolist()

    def answered(self) -> list[Any]:
        """The returned values: the model's, unless a guard changed them."""
        labels = self.labels()
        for place, result in self.guarded.items():
            if result["action"] != "warn":
                labels[place] = result["answer"]
        return labels

    def features(self) -> list[JsonObject]:
        """Each row as an object; missing values are None."""
        plain = [
            [None if v != v else v for v in column.tolist()] if hasattr(column, "tolist") else column
            for column in self.columns
        ]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*plain, strict=True)]


def write(
    schema: FeatureSchema,
    columns: Sequence[Any],
    classes: Sequence[Label],
    answers: np.ndarray,
    probabilities: np.ndarray | None,
    guarded: dict[int, Guarded],
) -> bytes:
    """A block's bytes."""
    import numpy as np

    arrays: dict[str, tuple[str, bytes]] = {}
    text: dict[str, list[str | None]] = {}
    for j, (feature, column) in enumerate(zip(schema.features, columns, strict=True)):
        if feature.kind == "numeric":
            arrays[f"x{j}"] = ("d", np.ascontiguousarray(column, dtype="<f8").tobytes())
        else:
            text[f"x{j}"] = list(column)
    arrays["answers"] = ("d", np.asarray(answers, dtype="<f8").tobytes())
    if probabilities is not None:
        arrays["probabilities"] = ("d", np.ascontiguousarray(probabilities, dtype="<f8").tobytes())
    document = {
        "names": list(schema.names),
        "classes": list(classes),
        "text": text,
        "guarded": {str(place): result for place, result in guarded.items()},
    }
    return pack(document, arrays)


def read(data: bytes) -> Block:
    """The block of such bytes; StorageError when they are damaged."""
    document, views = unpack(data)
    try:
        return _block(document, views)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"A block of predictions is damaged: {type(error).__name__}.") from error


def _block(document: JsonObject, views: dict[str, memoryview]) -> Block:
    import numpy as np

    classes = tuple(document["classes"])
    chances = views.get("probabilities")
    return Block(
        names=tuple(document["names"]),
        columns=[
            np.frombuffer(views[f"x{j}"]) if f"x{j}" in views else document["text"][f"x{j}"]
            for j in range(len(document["names"]))
        ],
        classes=classes,
        answers=np.frombuffer(views["answers"]),
        probabilities=None if chances is None else np.frombuffer(chances).reshape(-1, len(classes)),
        guarded={int(place): result for place, result in document["guarded"].items()},
    )
