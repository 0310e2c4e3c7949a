"""The champion of each project as this process holds it: loaded, checked against its stored answers, swapped after a promotion.

A process asks the database at most twice a second which version serves, so a promotion made by any other one
is served within a second. A new artefact that cannot be loaded leaves the old champion in place, and says so.
The champion is loaded as its scorer; the libraries that trained it come in only where it has none.
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


@dataclass(slots=True)
class _Slot:
    """One project's champion in this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    served: Served | None = None
    known: tuple[Any, ...] | None = None  # what the database said when it was loaded
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
        """The champion, if this process has looked a moment ago and has one; asks nobody, blocks nobody."""
        slot = self._slots.get(project_id)
        return slot.served if slot is not None and self._clock() < slot.next_check else None

    def get(self, project_id: int) -> Served | None:
        """The champion that answers now; None while the project has none.

        While one thread loads a new champion, the others go on with the old one.
        A damaged first one gives None too; `problem` tells them apart.
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
        """Whether anybody has asked for the project's champion here."""
        return project_id in self._slots

    def problem(self, project_id: int) -> str | None:
        """Why the version that should serve does not, in words; None when all is well."""
        with self._slots_lock:
            slot = self._slots.get(project_id)
        return slot.problem if slot else None

    def _refresh(self, project_id: int, slot: _Slot) -> None:
        with self._ws.database.read() as session:
            found = scorers.serving(session, project_id)
        wait = CHECK_EVERY_S
        if found is None:
            slot.served, slot.known, slot.problem = None, None, None
        elif slot.served is None or (found.version, found.sha256, found.guards) != slot.known:
            try:
                slot.served = load(self._ws, project_id, found)
                slot.known, slot.problem = (found.version, found.sha256, found.guards), None
            except ContinualError as error:
                instead = f"v{slot.served.version} still answers" if slot.served else "nothing answers"
                slot.problem = f"v{found.version} should serve but cannot be loaded; {instead}. {error}"
                wait = RETRY_DAMAGED_S
                logger.error("{problem}", problem=slot.problem)
        else:
            slot.problem = None
        slot.next_check = self._clock() + wait


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
        _Beside(document["threshold"], document["ranges"], guards, tuple(rows)),
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
    return _served(project_id, version, part, schema, classes, _Beside(threshold, ranges, guards))


class _Beside(NamedTuple):
    """What is known of a model beside its scorer and schema."""

    threshold: float | None
    ranges: Mapping[str, Any]
    guards: Guards | None
    background: tuple[Values, ...] = ()


def _served(
    project_id: int, version: int, part: Part, schema: FeatureSchema, classes: tuple[Label, ...], beside: _Beside
) -> Served:
    off = Guards(unseen_category="off", out_of_range="off")
    return Served(
        project_id=project_id,
        version=version,
        scorer=part,
        schema=schema,
        classes=classes,
        threshold=beside.threshold if len(classes) == 2 else None,
        ranges=beside.ranges,
        background=beside.background,
        guards=watch(beside.guards or off, schema, beside.ranges),
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
        found = scorers.serving(session, project.id)
    if found is None:
        raise NoChampion(project.slug)
    return load(ws, project.id, found)
