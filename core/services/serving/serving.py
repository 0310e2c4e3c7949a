"""Answers: the champion in memory, its predictions, and the records of them for the log.

A process asks the database at most twice a second which version serves, so a promotion made by any other one
is served within a second. A new artefact that cannot be loaded leaves the old champion in place, and says so.
The champion is loaded as its scorer; the libraries that trained it come in only where it has none.
"""

from __future__ import annotations

import itertools
import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from loguru import logger

from core.data.cells import MAX_PROBLEMS, TOO_GREAT, refusal
from core.data.contract import schema_from_document
from core.data.rows import RowReader, columns_of, frame_of
from core.errors import BadInput, ContinualError, FieldProblem, NoChampion, StorageError
from core.learning.scorer import TOLERANCE, Part, Values, largest_difference, part_of
from core.records import FeatureSchema, Label, ProjectInfo
from core.services.serving import blocks
from core.services.serving.guards import Guards, Watch, guards_from_document, tally, watch
from core.services.serving.prediction_log import Record, store
from core.storage import scorers
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CHECK_EVERY_S = 0.5
RETRY_DAMAGED_S = 5.0
USUAL = 1e15  # greater numbers may be why a model overflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A champion that is loaded and can answer."""

    project_id: int
    version: int
    scorer: Part
    schema: FeatureSchema
    classes: tuple[Label, ...]  # in the order of the probabilities; empty for regression
    threshold: float | None = None  # of two classes: probability from which the second is answered
    ranges: Mapping[str, Any] = field(default_factory=dict)
    background: tuple[Values, ...] = ()  # the check rows: what an answer is compared with when it is explained
    guards: Watch = field(default_factory=lambda: Watch(Guards(unseen_category="off", out_of_range="off")))
    reader: RowReader
    classes_json: str | None  # as the log keeps them
    labels_json: tuple[str, ...]
    keys: tuple[str, ...]  # the classes as names in an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Answers, row for row, as plain python values."""

    labels: list[Any]  # the class as in the data, or a float
    probabilities: np.ndarray | None  # (n, len(classes)); None for regression
    classes: tuple[Label, ...]
    places: np.ndarray  # of each class, or the values once more

    def probability(self, row: int) -> float | None:
        """Probability of the predicted class; None for regression."""
        return None if self.probabilities is None else float(self.probabilities[row][int(self.places[row])])


# --- the champion in memory -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seat:
    """One project's champion in this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    served: Served | None = None
    known: tuple[Any, ...] | None = None  # what the database said when it was loaded
    problem: str | None = None
    next_look: float = -1.0


class Champions:
    """The serving models of this process; safe to share between threads."""

    def __init__(self, ws: Workspace, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ws = ws
        self._clock = clock
        self._seats: dict[int, _Seat] = {}
        self._seats_lock = threading.Lock()

    def fresh(self, project_id: int) -> Served | None:
        """The champion, if this process has looked a moment ago and has one; asks nobody, blocks nobody."""
        seat = self._seats.get(project_id)
        return seat.served if seat is not None and self._clock() < seat.next_look else None

    def get(self, project_id: int) -> Served | None:
        """The champion that answers now; None while the project has none.

        While one thread loads a new champion, the others go on with the old one.
        A damaged first one gives None too; `problem` tells them apart.
        """
        with self._seats_lock:
            seat = self._seats.setdefault(project_id, _Seat())
        if self._clock() < seat.next_look:
            return seat.served
        if seat.lock.acquire(blocking=seat.served is None):
            try:
                if self._clock() >= seat.next_look:
                    self._look(project_id, seat)
            finally:
                seat.lock.release()
        return seat.served

    def knows(self, project_id: int) -> bool:
        """Whether anybody has asked for the project's champion here."""
        return project_id in self._seats

    def problem(self, project_id: int) -> str | None:
        """Why the version that should serve does not, in words; None when all is well."""
        with self._seats_lock:
            seat = self._seats.get(project_id)
        return seat.problem if seat else None

    def _look(self, project_id: int, seat: _Seat) -> None:
        with self._ws.database.read() as session:
            found = scorers.serving(session, project_id)
        wait = CHECK_EVERY_S
        if found is None:
            seat.served, seat.known, seat.problem = None, None, None
        elif seat.served is None or (found.version, found.sha256, found.guards) != seat.known:
            try:
                seat.served = load(self._ws, project_id, found)
                seat.known, seat.problem = (found.version, found.sha256, found.guards), None
            except ContinualError as error:
                instead = f"v{seat.served.version} still answers" if seat.served else "nothing answers"
                seat.problem = f"v{found.version} should serve but cannot be loaded; {instead}. {error}"
                wait = RETRY_DAMAGED_S
                logger.error("{problem}", problem=seat.problem)
        else:
            seat.problem = None
        seat.next_look = self._clock() + wait


def load(ws: Workspace, project_id: int, found: scorers.Serving) -> Served:
    """The model that the database names, by its scorer where it has one, held to its check rows.

    Raises:
        StorageError: missing, damaged, or with other answers to the check rows.
    """
    guards = guards_from_document(found.guards)
    if found.scorer_path is None or found.scorer_sha256 is None:
        model = _estimator(ws, project_id, found.version)
        return served_by(project_id, found.version, model, schema_from_document(found.schema), guards=guards)
    document, views = scorers.read(ws, found.scorer_path, found.scorer_sha256)
    schema = schema_from_document(document["schema"])
    if document["part"] is not None:
        part = part_of(document["part"], views)
    else:
        part = Estimator(_estimator(ws, project_id, found.version), schema)
    rows = _check_rows(document["checks"], schema)
    _hold_to(part, rows, document["checks"]["answers"], schema)
    return _served(
        project_id,
        found.version,
        part,
        schema,
        tuple(document["classes"]),
        threshold=document["threshold"],
        ranges=document["ranges"],
        background=tuple(rows),
        guards=guards,
    )


def _check_rows(checks: Mapping[str, Any], schema: FeatureSchema) -> list[Values]:
    numeric = [f.kind == "numeric" for f in schema.features]
    return [
        [math.nan if v is None and number else v for v, number in zip(row, numeric, strict=True)]
        for row in checks["rows"]
    ]


def _hold_to(part: Part, rows: Sequence[Values], answered: Any, schema: FeatureSchema) -> None:
    try:
        answers = [part.one(row) for row in rows]
        apart = largest_difference(answers, answered, value=schema.task == "regression")
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError) as error:
        raise StorageError(f"The scorer cannot answer its check rows ({type(error).__name__}).") from error
    if not apart <= TOLERANCE:
        raise StorageError(f"The scorer answers its check rows otherwise than the model did, by {apart:.1e}.")


def _estimator(ws: Workspace, project_id: int, version: int) -> Any:
    from core.storage import registry

    return registry.load_model(ws, project_id, version)


class Estimator(Part):
    """A fitted estimator that answers itself, with the libraries that trained it."""

    def __init__(self, model: Any, schema: FeatureSchema) -> None:
        self.model = model
        self._schema = schema

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        import numpy as np

        columns = [
            np.array([v]) if f.kind == "numeric" else [v] for v, f in zip(values, self._schema.features, strict=True)
        ]
        found: list[float] = self.many(columns, 1)[0].tolist()
        return found

    def many(self, columns: Sequence[Any], n: int) -> np.ndarray:
        """See `Part`."""
        import numpy as np

        from core.learning.models import predict_quietly

        X = frame_of(columns, self._schema)
        answers = predict_quietly(self.model, X, proba=self._schema.task != "regression")
        return np.asarray(answers, dtype=np.float64).reshape(n, -1)


def served_by(
    project_id: int, version: int, model: Any, schema: FeatureSchema, *, guards: Guards | None = None
) -> Served:
    """A fitted estimator, ready to answer for a project."""
    classes = () if schema.task == "regression" else tuple(_plain(label) for label in model.classes_)
    ranges = {
        f.name: list(f.categories) if f.kind != "numeric" else [f.low, f.high] if f.low is not None else None
        for f in schema.features
    }
    threshold = getattr(model, "threshold", None)
    part = Estimator(model, schema)
    return _served(project_id, version, part, schema, classes, threshold=threshold, ranges=ranges, guards=guards)


def _served(
    project_id: int,
    version: int,
    part: Part,
    schema: FeatureSchema,
    classes: tuple[Label, ...],
    *,
    threshold: float | None,
    ranges: Mapping[str, Any],
    background: tuple[Values, ...] = (),
    guards: Guards | None,
) -> Served:
    off = Guards(unseen_category="off", out_of_range="off")
    return Served(
        project_id=project_id,
        version=version,
        scorer=part,
        schema=schema,
        classes=classes,
        threshold=threshold if len(classes) == 2 else None,
        ranges=ranges,
        background=background,
        guards=watch(guards or off, schema, ranges),
        reader=RowReader(schema),
        classes_json=json.dumps(classes) if classes else None,
        labels_json=tuple(json.dumps(label, ensure_ascii=False) for label in classes),
        keys=tuple(str(label).lower() if isinstance(label, bool) else str(label) for label in classes),
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


# --- predicting -------------------------------------------------------------------------------------------------


def predict_one(served: Served, values: Values) -> tuple[Any, int, list[float] | None]:
    """The answer to one row: class or value, place of the class, probabilities (None for regression).

    Raises:
        BadInput: the model has no finite answer to it, and why.
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
    """Answers for n rows, columns in schema order.

    Raises:
        BadInput: the model has no finite answer to a row, and which and why.
    """
    import numpy as np

    for feature, column in zip(served.schema.features, columns, strict=True):
        if feature.kind == "numeric" and (np.abs(column) >= TOO_GREAT).any():
            raise _unanswered(columns, served.schema, int((np.abs(column) >= TOO_GREAT).argmax()), single=False)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = served.scorer.many(columns, n)
    except (ValueError, OverflowError) as error:
        raise _unanswered(columns, served.schema, None, single=False) from error
    finite = np.isfinite(found).all(axis=1)
    if not served.classes:
        finite &= np.abs(found[:, 0]) <= TOO_GREAT
    if not finite.all():
        raise _unanswered(columns, served.schema, int(finite.argmin()), single=False)
    if not served.classes:
        values = found[:, 0]
        return Predicted(labels=values.tolist(), probabilities=None, classes=(), places=values)
    if served.threshold is None:
        places = found.argmax(axis=1)
    else:
        places = (found[:, 1] >= served.threshold).astype(np.int64)
    labels = list(map(served.classes.__getitem__, places.tolist()))
    return Predicted(labels=labels, probabilities=found, classes=served.classes, places=places)


def predict(served: Served, X: pd.DataFrame) -> Predicted:
    """Answers for rows in schema order, as `core.data.schema` makes them; see `predict_columns`."""
    return predict_columns(served, columns_of(X, served.schema), len(X))


def _unanswered(columns: Sequence[Any], schema: FeatureSchema, row: int | None, *, single: bool) -> BadInput:
    """Why the model answers a row (None: one of them) with no finite number, or not at all: what is odd about it."""
    rows = range(len(columns[0])) if row is None else (row,)
    problems = []
    for i in rows:
        for feature, column in zip(schema.features, columns, strict=True):
            name, value = feature.name if single else f"rows[{i}].{feature.name}", column[i]
            if value is None or value != value:
                problems.append(FieldProblem(name, "missing", "a value: this model takes no missing ones"))
            elif feature.kind == "numeric" and abs(value) > USUAL:
                problems.append(FieldProblem(name, repr(float(value)), "a number of usual size: the model overflows"))
        if len(problems) >= MAX_PROBLEMS:
            break
    if not problems:
        place = "row" if single or row is None else f"rows[{row}]"
        problems = [FieldProblem(place, "values that this model does not take", "values like those it learnt from")]
    return refusal("The model has no answer", problems[:MAX_PROBLEMS])


# --- the log ----------------------------------------------------------------------------------------------------

_process, _count = secrets.token_hex(3), itertools.count()


def new_id(now: datetime) -> str:
    """A prediction id that nobody else gives out: instant, process, number. Ids of one time lie side by side in an index."""
    return f"{int(now.timestamp() * 1000):011x}{_process}{next(_count) & 0xFFFFFF:06x}"


def record_one(
    served: Served,
    values: Values,
    answer: tuple[Any, int, list[float] | None],
    *,
    row_id: str | None = None,
    at: datetime | None = None,
    now: datetime,
    token_id: int | None = None,
    anonymous: bool = False,
    guarded: dict[str, Any] | None = None,
) -> Record:
    """One answer as a record of the prediction log, under a new `prediction_id`.

    Args:
        row_id: the caller's; where absent, the prediction id is the row id.
        at: the row's own instant; where absent, `now`.
        guarded: what the guards said.
    """
    label, place, chances = answer
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
    *,
    ids: Sequence[str | None] | None = None,
    times: Sequence[datetime | None] | None = None,
    now: datetime,
    token_id: int | None = None,
    anonymous: bool = False,
    guarded: Mapping[int, dict[str, Any]] | None = None,
) -> list[Record]:
    """The answers to many rows as records of the log: one a row, or one block where no row has an id or instant of its own."""
    n, spoken = len(predicted.labels), dict(guarded or {})
    if ids is None and times is None and n >= blocks.LEAST_ROWS:
        block = blocks.write(served.schema, columns, served.classes, predicted.places, predicted.probabilities, spoken)
        name = new_id(now)
        empty = "null"
        head = (served.project_id, name, name, served.version, empty, None, served.classes_json, empty)
        told = orjson.dumps({"tally": tally(spoken.values())}).decode() if spoken else None
        return [(*head, now, now, token_id, n, block, anonymous, told)]
    chances = predicted.probabilities.tolist() if predicted.probabilities is not None else [None] * n
    plain = [column.tolist() if hasattr(column, "tolist") else column for column in columns]
    return [
        record_one(
            served,
            list(values),
            (predicted.labels[i], int(predicted.places[i]) if served.classes else 0, chances[i]),
            row_id=ids[i] if ids is not None else None,
            at=times[i] if times is not None else None,
            now=now,
            token_id=token_id,
            anonymous=anonymous,
            guarded=spoken.get(i),
        )
        for i, values in enumerate(zip(*plain, strict=True))
    ]


def ids_of(log: Sequence[Record], n: int) -> list[tuple[str, str]]:
    """Prediction id and row id of each of n answers."""
    if len(log) == 1 and log[0][11] > 1:
        return [(name, name) for name in (blocks.row_id(log[0][1], i) for i in range(n))]
    return [(record[1], record[2]) for record in log]


# --- files ------------------------------------------------------------------------------------------------------


def champion(ws: Workspace, project: ProjectInfo) -> Served:
    """The project's champion, loaded.

    Raises:
        NoChampion: there is none yet.
        StorageError: its artefact is damaged.
    """
    with ws.database.read() as session:
        found = scorers.serving(session, project.id)
    if found is None:
        raise NoChampion(project.slug)
    return load(ws, project.id, found)


def predict_file(
    ws: Workspace, project: ProjectInfo, frame: pd.DataFrame, *, now: datetime, log: bool = True
) -> pd.DataFrame:
    """A file's rows with the champion's answers in front: row_id, prediction, probability, model_version.

    Where guards spoke, a column `guards` names them, and the prediction is what they leave of it.

    Args:
        log: commit the answers to the prediction log first.

    Raises:
        NoChampion, StorageError, BadInput: none to answer, a damaged one, rows that cannot be taken.
    """
    import pandas as pd

    from core.data.cells import AHEAD
    from core.data.schema import table_of

    served = champion(ws, project)
    table, _, _ = table_of(frame, served.schema, latest=now + AHEAD)
    predicted = predict_columns(served, table.columns, table.n)
    spoken = guarded(served, table.columns, predicted)
    rows = records(served, predicted, table.columns, ids=table.ids, times=table.times, now=now, guarded=spoken)
    if log:
        store(ws, rows)
    labels = [spoken[i]["answer"] if i in spoken else label for i, label in enumerate(predicted.labels)]
    answers: dict[str, Any] = {
        "row_id": [row_id for _, row_id in ids_of(rows, table.n)],
        "prediction": labels,
    }
    if predicted.probabilities is not None:
        withheld = {i for i, found in spoken.items() if found["action"] != "warn"}
        answers["probability"] = [None if i in withheld else predicted.probability(i) for i in range(len(labels))]
        for k, label in enumerate(predicted.classes):
            own = predicted.probabilities[:, k].tolist()
            answers[f"probability {label}"] = [None if i in withheld else p for i, p in enumerate(own)]
    answers["model_version"] = served.version
    if spoken:
        answers["guards"] = [
            ", ".join(dict.fromkeys(h["guard"] for h in spoken[i]["hits"])) if i in spoken else ""
            for i in range(len(labels))
        ]
    given = frame.reset_index(drop=True).rename(columns={name: f"{name} (given)" for name in answers})
    return pd.concat([pd.DataFrame(answers), given], axis=1)


def guarded(served: Served, columns: Sequence[Any], predicted: Predicted) -> dict[int, dict[str, Any]]:
    """What the project's guards say of these answers, by place."""
    highest = None
    if predicted.probabilities is not None:
        import numpy as np

        highest = np.take_along_axis(predicted.probabilities, predicted.places[:, None].astype(np.int64), axis=1)[:, 0]
    return served.guards.many(columns, predicted.labels, highest)
