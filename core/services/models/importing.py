"""Import of a user's model: inspected and tested in a child process, then registered as a challenger."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from core.data.packed import unpack
from core.errors import BadInput, NotEnoughRows, StorageError
from core.records import Change, FeatureSchema, ModelVersion, ProjectInfo
from core.services.access.actors import require_proof
from core.services.models import archives, sandbox
from core.services.models.sandbox import ImportReport
from core.storage import audit, history, mlflow_copy, registry
from core.storage.artefacts import loads
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

from core.services.models.conditions import refuse_while_checked, schema_of

CHECK_ROWS = 500  # newest labelled rows that an imported model has to predict


DEFAULT_MAX_BYTES = 200 * 1024 * 1024


def inspect_import(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> ImportReport:
    """The content of a .skops file, read in a child process; nothing of it is loaded.

    Raises:
        UnsupportedFormat: pickle, joblib, cloudpickle, or not a skops file.
        TooLarge, BadInput: beyond a limit, unreadable.
    """
    return sandbox.inspect(archives.read_skops(path, max_bytes))


def import_challenger(ws: Workspace, project: ProjectInfo, path: Path, *, by: str, now: datetime) -> ModelVersion:
    """Register a user's fitted pipeline as the challenger; it serves only after somebody promotes it.

    Everything in it has to be on the list of `core.storage.modelfile`; it is loaded, and predicts the newest labelled
    rows, in a child process, and only then here, by the same list.

    Raises:
        UnsupportedFormat, TooLarge: as in `inspect_import`.
        BadInput: a part or type that is not allowed, or a model without valid predictions for this project's rows.
        NotEnoughRows: no labelled row to test it on.
        Busy: a check of the project is in progress.
    """
    require_proof(ws, by, "admin", now)
    schema = schema_of(project)
    data = archives.read_skops(path, ws.settings.max_upload_bytes)
    X, y, _ = history.History(ws, project.id, schema).newest(CHECK_ROWS, measured=True)
    if not len(y):
        raise NotEnoughRows("The check of an imported model", needed=1, found=0)
    X = X[list(schema.names)].reset_index(drop=True)
    checked = sandbox.check_score(data, X, y.tolist(), schema=schema)
    model = loads(data) if checked.packed is None else _converted(checked.packed, X, schema)

    def store_alongside(session: Session) -> None:
        # a running race has already reserved the next version number
        refuse_while_checked(session, project.id, "Import the model")
        after = {"file": path.name, "checked_on": checked.n}
        audit.record(session, who=by, what="model imported", project_id=project.id, after=after, now=now)

    version = registry.register_version(
        ws,
        project,
        registry.NewVersion(
            model=model,
            family=f"imported {checked.kind}",
            metrics=checked.metrics,
            schema=schema,
            X_learnt=X,
            source="import",
        ),
        Change(by=by, now=now),
        also=store_alongside,
    )
    mlflow_copy.sync_in_child(ws, project.id)
    return version


def _converted(packed: bytes, X: pd.DataFrame, schema: FeatureSchema) -> Any:
    """The scorer that the child process exported, checked against this project's form of predictions.

    Raises:
        BadInput: it does not have that form.
    """
    import numpy as np

    from core.learning.models import Converted

    try:
        document, _ = unpack(packed)
        model = Converted(np.frombuffer(packed, dtype=np.uint8), schema.task, document["classes"])
        answers = model.predict(X) if schema.task == "regression" else model.predict_proba(X)
    except (StorageError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BadInput(
            f"The model's exported scorer cannot be read ({type(error).__name__}). It was not imported."
        ) from error
    sandbox.refuse_answers(answers, len(X), len(document["classes"]), schema.task == "regression")
    unknown = [c for c in document["classes"] if c not in schema.classes]
    if unknown:
        raise BadInput(
            f"The model has the classes {unknown[:5]}, which this project does not have. It was not imported."
        )
    return model
