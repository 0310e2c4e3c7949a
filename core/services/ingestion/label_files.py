"""A file of labels: which columns hold the ids and the labels, and the rows that its ids name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data.cells import (
    MAX_PROBLEMS,
    as_id,
    listed,
    refusal,
)
from core.data.files import read_table
from core.errors import BadInput, FieldProblem
from core.records import (
    ROW_ID,
    Problem,
    ProjectInfo,
)
from core.services.serving.logged_predictions import row_ids
from core.storage.workspace import Workspace


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The content of a file of labels."""

    pairs: list[tuple[str, Any]]  # id and label
    by_prediction: bool  # the ids are those of predictions
    problems: tuple[Problem, ...]


def read_labels(source: Path | bytes, *, name: str, max_bytes: int, project: ProjectInfo) -> LabelFile:
    """Ids and labels of a file in any format of batches; lines without a label are ignored, which is reported.

    The ids are in a column row_id, prediction_id, _id, id or the project's id column, the labels in label or the
    target column; case is ignored.

    Raises:
        BadInput: no such columns, an id missing, no label at all; as `read_table`.
    """
    from core.data import columns

    read = read_table(source, name=name, max_bytes=max_bytes, target="label")
    frame = read.frame
    schema = project.schema
    by_name = {str(c).strip().lower(): str(c) for c in reversed(frame.columns)}
    own_id = schema.id_column if schema is not None else None
    key = next((k for k in ("row_id", "prediction_id", ROW_ID, own_id, "id") if k and k.lower() in by_name), None)
    target = schema.target if schema is not None else None
    label = next((k for k in ("label", target) if k and k.lower() in by_name and k != key), None)
    if key is None or label is None:
        names = ["row_id", "prediction_id", *([own_id] if own_id else [])]
        expected = f"{' or '.join(names)}, and {' or '.join(['label', *([target] if target else [])])}"
        raise BadInput(
            f"{name} has the columns {listed(map(str, frame.columns))}, expected {expected}.",
            (FieldProblem("header", listed(map(str, frame.columns)), expected),),
        )
    ids, labels = frame[by_name[key.lower()]], frame[by_name[label.lower()]]
    there = labels.notna().to_numpy()
    if not there.any():
        raise BadInput(f"{name} contains no labels, expected one line per label below the header.")
    keys = columns.mapped(ids, key, as_id, "a row id")
    missing = [i for i, k in enumerate(keys) if k is None and there[i]]
    if missing:
        problems = [FieldProblem(f"row {i + 1}", "no id", "the id of a row") for i in missing[:MAX_PROBLEMS]]
        raise refusal(f"{name} has labels without an id", problems)
    notes = list(read.problems)
    if not there.all():
        example = next(str(keys[i]) for i in range(len(keys)) if not there[i])
        notes.append(Problem(code="no_label", column=label, count=int((~there).sum()), example=example))
    pairs = [(k, v) for k, v, known in zip(keys, labels.tolist(), there, strict=True) if known]
    return LabelFile(pairs, key.lower() == "prediction_id", tuple(notes))


def file_pairs(
    ws: Workspace, project: ProjectInfo, source: Path | bytes, name: str
) -> tuple[list[tuple[str, Any]], tuple[Problem, ...]]:
    read = read_labels(source, name=name, max_bytes=ws.settings.max_upload_bytes, project=project)
    pairs = read.pairs
    if read.by_prediction:
        rows = row_ids(ws, project.id, [key for key, _ in pairs])
        pairs = [(rows.get(key, key), label) for key, label in pairs]
    return pairs, read.problems
