"""What a person does with models: import one of their own, compare two, promote one, go back.

The loop's own race is `core.learning`; both meet in the registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from loguru import logger
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import BadInput, Busy, Conflict, NotEnoughRows
from core.records import ROW_TIME, Comparison, FeatureSchema, ModelVersion, ProjectInfo, Score
from core.services import sandbox, serving
from core.services.sandbox import ImportReport
from core.storage import audit, history, registry
from core.storage.artefacts import loads
from core.storage.tables import Lease, ModelRow
from core.storage.workspace import Workspace

CHECK_ROWS = 500  # newest labelled rows that an imported model has to answer
COMPARE_ROWS = 2_000
DEFAULT_MAX_BYTES = 200 * 1024 * 1024


# --- a model of the user's own ----------------------------------------------------------------------------------


def inspect_import(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> ImportReport:
    """What a .skops file holds, read in a child process; nothing of it is loaded.

    Raises:
        UnsupportedFormat: pickle, joblib, cloudpickle, or no skops file.
        TooLarge, BadInput: beyond a limit, unreadable.
    """
    return sandbox.inspect(sandbox.read_skops(path, max_bytes))


def import_challenger(
    ws: Workspace, project: ProjectInfo, path: Path, approved_types: Sequence[str], *, by: str, now: datetime
) -> ModelVersion:
    """Register a user's fitted pipeline as the challenger; it serves only once somebody promotes it.

    It is loaded and asked for the newest labelled rows in a child process first.

    Args:
        approved_types: those of the report's `untrusted` that an admin has approved, one by one.

    Raises:
        UnsupportedFormat, TooLarge: as in `inspect_import`.
        BadInput: a type that nobody approved, or a model that cannot answer this project's rows as it should.
        NotEnoughRows: no labelled row to ask it for.
        Busy: a check of the project is under way.
    """
    schema = _schema_of(project)
    data = sandbox.read_skops(path, ws.settings.max_upload_bytes)
    X, y, _ = history.History(ws, project.id, schema).newest(CHECK_ROWS)
    if not len(y):
        raise NotEnoughRows("The check of an imported model", needed=1, found=0)
    X = X[list(schema.names)].reset_index(drop=True)
    checked = sandbox.check_score(
        data, X, y.tolist(), task=schema.task, classes=schema.classes, approved=approved_types
    )
    model = loads(data, approved=checked.untrusted)

    def beside(session: Session) -> None:
        _refuse_while_checked(session, project.id, now)
        after = {"file": path.name, "approved": list(checked.untrusted), "checked_on": checked.n}
        audit.record(session, who=by, what="model imported", project_id=project.id, after=after, now=now)

    version = registry.register_version(
        ws,
        project,
        model,
        family=_kind_of(model),
        members=(),
        metrics=checked.metrics,
        schema=schema,
        X_example=X.tail(5),
        n_rows=None,
        data_digest=None,
        batch_ids=(),
        first_at=None,
        last_at=None,
        cycle_id=None,
        by=by,
        now=now,
        source="import",
        trusted_types=checked.untrusted,
        also=beside,
    )
    registry.sync_mlflow_apart(ws, project.id)
    return version


def _schema_of(project: ProjectInfo) -> FeatureSchema:
    if project.schema is None:
        raise Conflict(f"Project '{project.slug}' has no data yet. Store labelled rows first.")
    return project.schema


def _refuse_while_checked(session: Session, project_id: int, now: datetime) -> None:
    """A check that races has given the next version's number away already."""
    until = session.scalar(select(Lease.expires_at).where(Lease.name == f"project:{project_id}"))
    if until is not None and until > now:
        raise Busy("A check of this project is under way. Import the model when it has ended, in a minute at most.")


def _kind_of(model: Any) -> str:
    """What an estimator is, in a word: the class of a pipeline's last step."""
    steps = getattr(model, "steps", None)
    return f"imported {type(steps[-1][1] if steps else model).__name__}"[:100]


# --- comparing --------------------------------------------------------------------------------------------------


def compare(ws: Workspace, project: ProjectInfo, a: int, b: int) -> Comparison:
    """Version b (as challenger) against version a on the newest labelled rows that neither has learnt from.

    Raises:
        NotFound, StorageError: no such version, or a damaged one.
    """
    import numpy as np

    from core.performance.realised import mcnemar_exact, paired_difference

    schema = _schema_of(project)
    metric = project.policy.metric
    X, y, told = _unseen_rows(ws, project, schema, (a, b))
    if not len(y):
        nothing = Score(metric=metric, value=None, n=0, reason="No labelled row that neither has learnt from.")
        return Comparison(n=0, metric=metric, champion=nothing, challenger=nothing, difference=None, rows_from=told)
    scores, merits = [], []
    for version in (a, b):
        served = serving.served_by(project.id, version, registry.load_model(ws, project.id, version), schema)
        score, merit = _judged(served, X, y, metric)
        scores.append(score)
        merits.append(merit)
    wins, losses = int(np.sum(merits[1] > merits[0])), int(np.sum(merits[0] > merits[1]))
    unit = "mae" if schema.task == "regression" else "accuracy"
    return Comparison(
        n=len(y),
        metric=metric,
        champion=scores[0],
        challenger=scores[1],
        difference=paired_difference(merits[1], merits[0], metric=unit),
        wins=wins,
        losses=losses,
        p=mcnemar_exact(wins, losses),
        rows_from=told,
    )


def _judged(served: serving.Served, X: Any, y: Any, metric: str) -> tuple[Score, Any]:
    """The metric, and each row's merit: 1 when right, or minus the error."""
    import numpy as np

    from core.performance.realised import measure

    predicted = serving.predict(served, X)
    if served.schema.task == "regression":
        values = np.array(predicted.labels)
        return measure("regression", y, values, metrics=[metric]).score(metric), -np.abs(y - values)
    labels = np.empty(len(y), dtype=object)
    labels[:] = predicted.labels
    report = measure(served.schema.task, y, labels, predicted.probabilities, predicted.classes, metrics=[metric])
    return report.score(metric), (labels == y).astype(float)


def _unseen_rows(
    ws: Workspace, project: ProjectInfo, schema: FeatureSchema, versions: tuple[int, int]
) -> tuple[Any, Any, str]:
    """Features and labels of rows younger than all that both versions learnt from, and in words which rows they are."""
    import numpy as np
    import pandas as pd

    with ws.database.read() as session:
        for version in versions:
            registry.get_version(session, project.id, version)
        made = session.execute(
            select(ModelRow.version, ModelRow.batch_ids, ModelRow.last_at, ModelRow.source).where(
                ModelRow.project_id == project.id, ModelRow.version.in_(versions)
            )
        ).all()
    learnt = {batch_id for row in made for batch_id in row.batch_ids or ()}
    since = max((row.last_at for row in made if row.last_at is not None), default=None)
    reader = history.History(ws, project.id, schema)
    frames: list[Any] = []
    labels: list[Any] = []
    found = 0
    for batch in reader.batches:
        if found >= COMPARE_ROWS or (since is not None and batch.last_at <= since):
            break
        if batch.id in learnt:
            continue
        frame, y = reader.frame(batch)
        mask = history.is_labelled(y, schema.task)
        if since is not None:
            mask &= (frame[ROW_TIME] > since).to_numpy()
        at = np.flatnonzero(mask)[-(COMPARE_ROWS - found) :]
        frames.insert(0, frame.iloc[at][list(schema.names)])
        labels.insert(0, y[at])
        found += len(at)
    told = f"the newest {found:,} labelled rows that neither has learnt from"
    imported = [f"v{row.version}" for row in made if row.source == "import"]
    if imported:
        told += f"; what {' and '.join(imported)} learnt from before the import is not known"
    if not found:
        return pd.DataFrame(columns=list(schema.names)), np.empty(0), told
    return pd.concat(frames, ignore_index=True), np.concatenate(labels), told


# --- which one serves -------------------------------------------------------------------------------------------


def promote(ws: Workspace, project: ProjectInfo, version: int, *, reason: str, by: str, now: datetime) -> None:
    """Let a version serve, by hand; every process serves it within 2 s.

    Raises:
        NotFound: no such version.
        StorageError: its artefact cannot be loaded.
        Conflict: it serves already.
        BadInput: no reason.
    """
    registry.load_model(ws, project.id, version)  # what cannot be loaded must not be made champion
    _let_serve(ws, project, version, event="promoted", reason=reason, by=by, now=now)


def rollback(ws: Workspace, project: ProjectInfo, *, reason: str, by: str, now: datetime) -> int:
    """Let the version that the champion replaced serve again; returns its number.

    Raises:
        Conflict: the champion replaced nothing.
        StorageError: the earlier artefact cannot be loaded.
        BadInput: no reason.
    """
    with ws.database.read() as session:
        version = next(
            (v.version for v in registry.list_versions(session, project.id) if "previous" in v.aliases), None
        )
    if version is None:
        raise Conflict(f"Project '{project.slug}' has no earlier champion to go back to.")
    registry.load_model(ws, project.id, version)
    _let_serve(ws, project, version, event="rolled_back", reason=reason, by=by, now=now)
    return version


def _let_serve(
    ws: Workspace, project: ProjectInfo, version: int, *, event: str, reason: str, by: str, now: datetime
) -> None:
    if not reason.strip():
        raise BadInput("A reason is expected: it stands in the audit beside your name. Write one sentence.")
    with ws.database.write() as session:
        before = registry.serving_version(session, project.id)
        if before is not None and before[0] == version:
            raise Conflict(f"v{version} of '{project.slug}' serves already.")
        registry.record_event(
            session, project.id, version, event=event, by=by, reason=reason.strip(), cycle_id=None, now=now
        )
        audit.record(
            session,
            who=by,
            what=f"model {event.replace('_', ' ')}",
            project_id=project.id,
            before={"champion": before[0] if before else None},
            after={"champion": version, "reason": reason.strip()},
            now=now,
        )
    logger.info("{event} by hand: v{version}", event=event, version=version)
    registry.sync_mlflow_apart(ws, project.id)
