"""Answers: the champion in memory, its predictions, and the log of them.

A process asks the database at most twice a second which version serves, so a promotion made by any other one
is served within a second. A new artefact that cannot be loaded leaves the old champion in place, and says so.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loguru import logger
from sqlalchemy import insert

from core.errors import BadInput, ContinualError, FieldProblem, NoChampion
from core.records import FeatureSchema, Label, ProjectInfo
from core.storage import registry
from core.storage.tables import Prediction
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CHECK_EVERY_S = 0.5
RETRY_DAMAGED_S = 5.0
TOO_GREAT = 1e100  # squares of their sums are no finite numbers any more
LOG_CHUNK = 10_000  # rows in one statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A champion that is loaded and can answer."""

    project_id: int
    version: int
    model: Any
    schema: FeatureSchema
    classes: tuple[Label, ...]  # in the order of the probabilities; empty for regression


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Answers, row for row, as plain python values."""

    labels: list[Any]  # the class as in the data, or a float
    probabilities: np.ndarray | None  # (n, len(classes)); None for regression
    classes: tuple[Label, ...]

    def probability(self, row: int) -> float | None:
        """Probability of the predicted class; None for regression."""
        return None if self.probabilities is None else float(self.probabilities[row].max())


# --- the champion in memory -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seat:
    """One project's champion in this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    served: Served | None = None
    sha256: str | None = None
    problem: str | None = None
    next_look: float = -1.0


class Champions:
    """The serving models of this process; safe to share between threads."""

    def __init__(self, ws: Workspace, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ws = ws
        self._clock = clock
        self._seats: dict[int, _Seat] = {}
        self._seats_lock = threading.Lock()

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

    def problem(self, project_id: int) -> str | None:
        """Why the version that should serve does not, in words; None when all is well."""
        with self._seats_lock:
            seat = self._seats.get(project_id)
        return seat.problem if seat else None

    def _look(self, project_id: int, seat: _Seat) -> None:
        with self._ws.database.read() as session:
            found = registry.serving_version(session, project_id)
        wait = CHECK_EVERY_S
        if found is None:
            seat.served, seat.sha256, seat.problem = None, None, None
        elif seat.served is None or found[:2] != (seat.served.version, seat.sha256):
            version, sha256, schema = found
            try:
                model = registry.load_model(self._ws, project_id, version)
                seat.served, seat.sha256, seat.problem = served_by(project_id, version, model, schema), sha256, None
            except ContinualError as error:
                instead = f"v{seat.served.version} still answers" if seat.served else "nothing answers"
                seat.problem = f"v{version} should serve but cannot be loaded; {instead}. {error}"
                wait = RETRY_DAMAGED_S
                logger.error("{problem}", problem=seat.problem)
        else:
            seat.problem = None
        seat.next_look = self._clock() + wait


def served_by(project_id: int, version: int, model: Any, schema: FeatureSchema) -> Served:
    """A fitted estimator, ready to answer for a project."""
    classes = () if schema.task == "regression" else tuple(_plain(label) for label in model.classes_)
    return Served(project_id=project_id, version=version, model=model, schema=schema, classes=classes)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


# --- predicting -------------------------------------------------------------------------------------------------


def predict(served: Served, X: pd.DataFrame, *, single: bool = False) -> Predicted:
    """Answers for rows in schema order, as `core.data.schema` makes them.

    Args:
        single: name fields without `rows[i].` in front.

    Raises:
        BadInput: the model gives no finite number for a row, or a value is too great for it, and which.
    """
    try:
        return _asked(served, X)
    except ValueError as error:  # of the libraries: scaling has made infinity of a finite number
        raise _too_great(X, single) from error


def _asked(served: Served, X: pd.DataFrame) -> Predicted:
    import numpy as np

    from core.learning.models import chosen, predict_quietly

    if served.schema.task == "regression":
        values = predict_quietly(served.model, X, proba=False)
        _refuse_endless(np.isfinite(values))
        return Predicted(labels=values.tolist(), probabilities=None, classes=())
    probabilities = np.asarray(predict_quietly(served.model, X, proba=True), dtype=np.float64)
    _refuse_endless(np.isfinite(probabilities).all(axis=1))
    labels = [served.classes[k] for k in chosen(probabilities, served.model).tolist()]
    return Predicted(labels=labels, probabilities=probabilities, classes=served.classes)


def _refuse_endless(finite: Any) -> None:
    if not finite.all():
        row = int(finite.argmin())
        problem = FieldProblem(f"rows[{row}]", "values so large that the model overflows", "values of a usual size")
        raise BadInput(f"The model gives no finite answer for rows[{row}]: its values are too large.", (problem,))


def _too_great(X: pd.DataFrame, single: bool) -> Exception:
    """The refusal that names the values beyond what a model can scale; without any, the fault is ours."""
    import numpy as np

    numeric = X.select_dtypes("number")
    values = numeric.to_numpy()
    found = np.argwhere(np.abs(values) > TOO_GREAT)
    if not len(found):
        return RuntimeError("the model refused rows that fit the schema")
    problems = tuple(
        FieldProblem(
            numeric.columns[j] if single else f"rows[{i}].{numeric.columns[j]}",
            repr(float(values[i, j])),
            "a number of usual size",
        )
        for i, j in found[:20]
    )
    return BadInput(f"{problems[0].field} is {problems[0].seen}: so great that the model overflows.", problems)


# --- the log ----------------------------------------------------------------------------------------------------


def prediction_rows(
    served: Served,
    predicted: Predicted,
    X: pd.DataFrame,
    *,
    ids: Sequence[str | None] | None = None,
    times: Sequence[datetime | None] | None = None,
    now: datetime,
    token_id: int | None = None,
) -> list[dict[str, Any]]:
    """Rows for the prediction log, one an answer, each under a new random `prediction_id`.

    Args:
        ids: row ids of the caller's; where absent, the prediction id is the row id.
        times: the rows' own instants; where absent, `now`.
    """
    classes = json.dumps(predicted.classes) if predicted.classes else None
    chances = predicted.probabilities.tolist() if predicted.probabilities is not None else None
    rows = []
    for i, features in enumerate(_features_as_json(X)):
        prediction_id = secrets.token_urlsafe(12)
        row_id, at = (ids[i] if ids is not None else None), (times[i] if times is not None else None)
        rows.append(
            {
                "project_id": served.project_id,
                "prediction_id": prediction_id,
                "row_id": prediction_id if row_id is None else row_id,
                "model_version": served.version,
                "prediction": json.dumps(predicted.labels[i], ensure_ascii=False),
                "probabilities": json.dumps(chances[i], separators=(",", ":")) if chances is not None else None,
                "classes": classes,
                "features": features,
                "observed_at": now if at is None else at,
                "created_at": now,
                "batch_id": None,
                "token_id": token_id,
            }
        )
    return rows


def _features_as_json(X: pd.DataFrame) -> list[str]:
    """One compact JSON object a row; missing values are null."""
    names = list(X.columns)
    columns = [[None if v is None or v != v else v for v in X[name].tolist()] for name in names]
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
    return [encode(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def log_predictions(ws: Workspace, rows: Sequence[dict[str, Any]]) -> None:
    """Commit rows of the prediction log, all or none. An answer may leave the process only after this."""
    with ws.database.write() as session:
        for start in range(0, len(rows), LOG_CHUNK):
            session.execute(insert(Prediction), list(rows[start : start + LOG_CHUNK]))


# --- files ------------------------------------------------------------------------------------------------------


def champion(ws: Workspace, project: ProjectInfo) -> Served:
    """The project's champion, loaded.

    Raises:
        NoChampion: there is none yet.
        StorageError: its artefact is damaged.
    """
    with ws.database.read() as session:
        found = registry.serving_version(session, project.id)
    if found is None:
        raise NoChampion(project.slug)
    version, _, schema = found
    return served_by(project.id, version, registry.load_model(ws, project.id, version), schema)


def predict_file(
    ws: Workspace, project: ProjectInfo, frame: pd.DataFrame, *, now: datetime, log: bool = True
) -> pd.DataFrame:
    """A file's rows with the champion's answers in front: row_id, prediction, probability, model_version.

    Args:
        log: commit the answers to the prediction log first.

    Raises:
        NoChampion, StorageError, BadInput: none to answer, a damaged one, rows that cannot be taken.
    """
    import pandas as pd

    from core.data.schema import conform

    served = champion(ws, project)
    # A target that came along is no question, and may hold classes that the model never saw.
    taken = conform(frame.drop(columns=served.schema.target, errors="ignore"), served.schema)
    predicted = predict(served, taken.X)
    times = None if taken.times is None else pd.DatetimeIndex(taken.times).to_pydatetime().tolist()
    rows = prediction_rows(served, predicted, taken.X, ids=taken.ids, times=times, now=now)
    if log:
        log_predictions(ws, rows)
    answers: dict[str, Any] = {"row_id": [row["row_id"] for row in rows], "prediction": predicted.labels}
    if predicted.probabilities is not None:
        answers["probability"] = predicted.probabilities.max(axis=1)
        for k, label in enumerate(predicted.classes):
            answers[f"probability {label}"] = predicted.probabilities[:, k]
    answers["model_version"] = served.version
    given = frame.reset_index(drop=True).rename(columns={name: f"{name} (given)" for name in answers})
    return pd.concat([pd.DataFrame(answers), given], axis=1)
