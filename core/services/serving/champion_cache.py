"""The champions in this process's memory: loaded, verified against stored predictions, replaced after a promotion.

A process reads at most twice a second from the database which version serves, so any process's promotion
takes effect within a second. If a new artefact cannot be loaded, the old champion stays in place and this is reported.
The champion is loaded as its scorer; the training libraries are imported only if it has none.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from loguru import logger

from core.data.contract import schema_from_document
from core.data.rows import RowReader, frame_of
from core.errors import ContinualError, NoChampion, StorageError
from core.learning.scorer import TOLERANCE, largest_difference, part_of
from core.learning.scorer_parts import Part, Values
from core.records import FeatureSchema, Label, ProjectInfo
from core.services.serving.guards import Guards, Watch, guards_from_document, watch
from core.storage import scorers
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np


CHECK_EVERY_S = 0.5


RETRY_DAMAGED_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A loaded champion, ready to predict."""

    project_id: int
    version: int
    scorer: Part
    schema: FeatureSchema
    classes: tuple[Label, ...]  # in the order of the probabilities; empty for regression
    threshold: float | None = None  # for two classes: probability from which the second is predicted
    ranges: Mapping[str, Any] = field(default_factory=dict)
    background: tuple[Values, ...] = ()  # the check rows: the baseline of explanations
    guards: Watch = field(default_factory=lambda: Watch(Guards(unseen_category="off", out_of_range="off")))
    reader: RowReader
    classes_json: str | None  # as stored in the log
    labels_json: tuple[str, ...]
    keys: tuple[str, ...]  # the classes as names in a response


@dataclass(slots=True)
class _Slot:
    """One project's champion in this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    served: Served | None = None
    known: tuple[Any, ...] | None = None  # the database's version when it was loaded
    problem: str | None = None
    next_check: float = -1.0


class Champions:
    """The serving models of this process; safe to share between threads."""

    def __init__(self, ws: Workspace, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ws = ws
        self._clock = clock
        self._slots: dict[int, _Slot] = {}
        self._slots_lock = threading.Lock()

    def fresh(self, project_id: int) -> Served | None:
        """The cached champion, if it was refreshed a moment ago; never reads the database and never blocks."""
        slot = self._slots.get(project_id)
        return slot.served if slot is not None and self._clock() < slot.next_check else None

    def get(self, project_id: int) -> Served | None:
        """The current champion; None while the project has none.

        While one thread loads a new champion, the others continue with the old one.
        A damaged first one gives None too; `problem` distinguishes the two.
        """
        with self._slots_lock:
            slot = self._slots.setdefault(project_id, _Slot())
        if self._clock() < slot.next_check:
            return slot.served
        if slot.lock.acquire(blocking=slot.served is None):
            try:
                if self._clock() >= slot.next_check:
                    self._refresh(project_id, slot)
            finally:
                slot.lock.release()
        return slot.served

    def knows(self, project_id: int) -> bool:
        """Whether the project's champion has been requested in this process."""
        return project_id in self._slots

    def problem(self, project_id: int) -> str | None:
        """Why the version that should serve does not, as a sentence; None if it does."""
        with self._slots_lock:
            slot = self._slots.get(project_id)
        return slot.problem if slot else None

    def _refresh(self, project_id: int, slot: _Slot) -> None:
        with self._ws.database.read() as session:
            serving = scorers.serving(session, project_id)
        wait = CHECK_EVERY_S
        if serving is None:
            slot.served, slot.known, slot.problem = None, None, None
        elif slot.served is None or (serving.version, serving.sha256, serving.guards) != slot.known:
            try:
                slot.served = load(self._ws, project_id, serving)
                slot.known, slot.problem = (serving.version, serving.sha256, serving.guards), None
            except ContinualError as error:
                instead = f"v{slot.served.version} still serves" if slot.served else "nothing answers"
                slot.problem = f"v{serving.version} should serve but cannot be loaded; {instead}. {error}"
                wait = RETRY_DAMAGED_S
                logger.error("{problem}", problem=slot.problem)
        else:
            slot.problem = None
        slot.next_check = self._clock() + wait


def load(ws: Workspace, project_id: int, serving: scorers.Serving) -> Served:
    """The serving model by the database, as its scorer if it has one, verified on its check rows.

    Raises:
        StorageError: missing, damaged, or with different predictions for the check rows.
    """
    guards = guards_from_document(serving.guards)
    if serving.scorer_path is None or serving.scorer_sha256 is None:
        model = _estimator(ws, project_id, serving.version)
        return served_by(project_id, serving.version, model, schema_from_document(serving.schema), guards=guards)
    document, views = scorers.read(ws, serving.scorer_path, serving.scorer_sha256)
    schema = schema_from_document(document["schema"])
    if document["part"] is not None:
        part = part_of(document["part"], views)
    else:
        part = Estimator(_estimator(ws, project_id, serving.version), schema)
    rows = _check_rows(document["checks"], schema)
    _verify_answers(part, rows, document["checks"]["answers"], schema)
    return _served(
        project_id,
        serving.version,
        part,
        schema,
        tuple(document["classes"]),
        _Extras(document["threshold"], document["ranges"], guards, tuple(rows)),
    )


def _check_rows(checks: Mapping[str, Any], schema: FeatureSchema) -> list[Values]:
    numeric = [f.kind == "numeric" for f in schema.features]
    return [
        [math.nan if v is None and number else v for v, number in zip(row, numeric, strict=True)]
        for row in checks["rows"]
    ]


def _verify_answers(part: Part, rows: Sequence[Values], answered: Any, schema: FeatureSchema) -> None:
    try:
        answers = [part.one(row) for row in rows]
        apart = largest_difference(answers, answered, value=schema.task == "regression")
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError) as error:
        raise StorageError(f"The scorer cannot predict its check rows ({type(error).__name__}).") from error
    if not apart <= TOLERANCE:
        raise StorageError(f"The scorer's predictions for its check rows differ from the model's by {apart:.1e}.")


def _estimator(ws: Workspace, project_id: int, version: int) -> Any:
    from core.storage import registry

    return registry.load_model(ws, project_id, version)


class Estimator(Part):
    """A fitted estimator that predicts itself, with its training libraries."""

    def __init__(self, model: Any, schema: FeatureSchema) -> None:
        self.model = model
        self._schema = schema

    def one(self, values: Values) -> list[float]:
        """See `Part`."""
        import numpy as np

        columns = [
            np.array([v]) if f.kind == "numeric" else [v] for v, f in zip(values, self._schema.features, strict=True)
        ]
        row: list[float] = self.many(columns, 1)[0].tolist()
        return row

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
    """A fitted estimator, ready to serve for a project."""
    classes = () if schema.task == "regression" else tuple(_plain(label) for label in model.classes_)
    ranges = {
        f.name: list(f.categories) if f.kind != "numeric" else [f.low, f.high] if f.low is not None else None
        for f in schema.features
    }
    threshold = getattr(model, "threshold", None)
    part = Estimator(model, schema)
    return _served(project_id, version, part, schema, classes, _Extras(threshold, ranges, guards))


class _Extras(NamedTuple):
    """What is known about a model besides its scorer and schema."""

    threshold: float | None
    ranges: Mapping[str, Any]
    guards: Guards | None
    background: tuple[Values, ...] = ()


def _served(
    project_id: int, version: int, part: Part, schema: FeatureSchema, classes: tuple[Label, ...], extras: _Extras
) -> Served:
    off = Guards(unseen_category="off", out_of_range="off")
    return Served(
        project_id=project_id,
        version=version,
        scorer=part,
        schema=schema,
        classes=classes,
        threshold=extras.threshold if len(classes) == 2 else None,
        ranges=extras.ranges,
        background=extras.background,
        guards=watch(extras.guards or off, schema, extras.ranges),
        reader=RowReader(schema),
        classes_json=json.dumps(classes) if classes else None,
        labels_json=tuple(json.dumps(label, ensure_ascii=False) for label in classes),
        keys=tuple(str(label).lower() if isinstance(label, bool) else str(label) for label in classes),
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def champion(ws: Workspace, project: ProjectInfo) -> Served:
    """The project's champion, loaded.

    Raises:
        NoChampion: there is none yet.
        StorageError: its artefact is damaged.
    """
    with ws.database.read() as session:
        serving = scorers.serving(session, project.id)
    if serving is None:
        raise NoChampion(project.slug)
    return load(ws, project.id, serving)
