"""Model versions: their artefacts, and which of them serves.

A version counts once its artefact is on disk and its row committed; which one serves is an append-only row of ours.
core/storage/mlflow_copy.py copies both to MLflow afterwards.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.data.contract import schema_from_document, schema_to_document
from core.errors import Conflict, NotFound, StorageError
from core.records import (
    Candidate,
    Change,
    CommitteeMember,
    FeatureSchema,
    ModelVersion,
    ProjectInfo,
    Reason,
    from_document,
    to_document,
)
from core.storage import queries
from core.storage.artefacts import dumps, loads, read_bytes
from core.storage.artefacts import loads_file as loads_file
from core.storage.batches import verify, write_durably
from core.storage.tables import ModelEvent, ModelRow, Project
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

CHECKED_ROWS = 5  # that a stored model is asked
KEPT_MODELS = 6  # loaded models that a process keeps
ALIASES = ("champion", "challenger", "previous")


# --- versions ---------------------------------------------------------------------------------------------------


def next_version(session: Session, project_id: int) -> int:
    """Number that the project's next version gets; 1 for the first."""
    return (session.scalar(select(func.max(ModelRow.version)).where(ModelRow.project_id == project_id)) or 0) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewVersion:
    """A fitted model, and what is to be known of it."""

    model: Any
    family: str
    schema: FeatureSchema
    X_learnt: pd.DataFrame  # rows in schema order that it learnt from; guards take their ranges from them
    members: Sequence[CommitteeMember] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    n_rows: int | None = None
    data_digest: str | None = None
    batch_ids: Sequence[int] = ()
    first_at: datetime | None = None
    last_at: datetime | None = None
    version: int | None = None  # its number where it was given away already; else the next one
    source: str = "race"
    candidates: Sequence[Candidate] = ()  # those that it was chosen from, for the log


def register_version(
    ws: Workspace,
    project: ProjectInfo,
    new: NewVersion,
    change: Change,
    *,
    also: Callable[[Session], None] | None = None,
) -> ModelVersion:
    """Store a fitted model as the project's next version. It serves only after a serving event names it.

    The artefact is written durably, read back and asked for the last of `X_learnt`: what will serve answers as the model
    does. Beside it lies the scorer, by which the API answers.

    Args:
        also: runs inside the transaction that commits the version; what it raises leaves nothing behind.

    Raises:
        StorageError: it cannot be stored, or answers otherwise after storing.
        Conflict: the number is taken.
    """
    data = dumps(new.model)
    sha256 = hashlib.sha256(data).hexdigest()
    stored = loads(data)
    _check_same_answers(new.model, stored, new.X_learnt.tail(CHECKED_ROWS))
    path = f"p{project.id}/model-{sha256[:24]}.skops"  # by content: no version ever overwrites another one's file
    if not (ws.models_path / path).exists():
        write_durably(ws.models_path / path, data)
    scorer_path, scorer_sha256 = _write_scorer(ws, project.id, stored, new.schema, new.X_learnt)
    try:
        with ws.database.write() as session:
            if also is not None:
                also(session)
            row = _new_row(session, project.id, new, change)
            row.path, row.sha256, row.scorer_path, row.scorer_sha256 = path, sha256, scorer_path, scorer_sha256
            session.add(row)
            session.flush()
            record = _record(row, _served_last(session, project.id), aliases_of(session, project.id))
    except IntegrityError as error:
        raise Conflict(f"Version {new.version} of '{project.slug}' is taken. Start the check again.") from error
    _keep(ws, sha256, stored)
    logger.info(
        "registered v{version}: {family}, {bytes} bytes, of {raced} candidates",
        version=record.version,
        family=new.family,
        bytes=len(data),
        raced=len(new.candidates),
    )
    return record


def _new_row(session: Session, project_id: int, new: NewVersion, change: Change) -> ModelRow:
    """The version's row, but for its files."""
    return ModelRow(
        project_id=project_id,
        version=next_version(session, project_id) if new.version is None else new.version,
        family=new.family,
        source=new.source,
        created_at=change.now,
        created_by=change.by,
        cycle_id=change.cycle_id,
        n_rows=new.n_rows,
        members=to_document(new.members),
        metrics=dict(new.metrics),
        schema=schema_to_document(new.schema),
        data_digest=new.data_digest,
        batch_ids=list(new.batch_ids),
        first_at=new.first_at,
        last_at=new.last_at,
    )


def _write_scorer(
    ws: Workspace, project_id: int, model: Any, schema: FeatureSchema, X: pd.DataFrame
) -> tuple[str, str]:
    """Export what the API loads; its path and sha256."""
    from core.learning.export import export

    data = export(model, schema, X)
    sha256 = hashlib.sha256(data).hexdigest()
    path = f"p{project_id}/scorer-{sha256[:24]}.cml"
    if not (ws.models_path / path).exists():
        write_durably(ws.models_path / path, data)
    return path, sha256


def ensure_scorer(ws: Workspace, project_id: int, version: int, read: Callable[[], pd.DataFrame]) -> None:
    """Export a version that was registered before scorers were, if it has none.

    Args:
        read: gives rows in schema order that the scorer is checked on.
    """
    with ws.database.read() as session:
        row = _row(session, project_id, version)
    if row.scorer_path is not None:
        return
    model = load_model(ws, project_id, version)
    path, sha256 = _write_scorer(ws, project_id, model, schema_from_document(row.schema), read())
    with ws.database.write() as session:
        stored = _row(session, project_id, version)
        stored.scorer_path, stored.scorer_sha256 = path, sha256


def _check_same_answers(model: Any, stored: Any, X: pd.DataFrame) -> None:
    import numpy as np

    ask = "predict_proba" if len(getattr(model, "classes_", ())) else "predict"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns at each unseen category
        before, after = getattr(model, ask)(X), getattr(stored, ask)(X)
    if not np.array_equal(before, after):
        raise StorageError(
            f"The model answers otherwise after storing (on {len(X)} rows): skops does not keep all of it. "
            "It was not registered."
        )


def _row(session: Session, project_id: int, version: int) -> ModelRow:
    row = session.scalar(select(ModelRow).where(ModelRow.project_id == project_id, ModelRow.version == version))
    if row is None:
        there = session.scalars(
            select(ModelRow.version)
            .where(ModelRow.project_id == project_id)
            .order_by(ModelRow.version.desc())
            .limit(10)
        ).all()
        named = ", ".join(f"v{v}" for v in there) or "none"
        raise NotFound(f"This project has no model version {version}. The newest are: {named}.")
    return row


def get_version(session: Session, project_id: int, version: int) -> ModelVersion:
    """One version; NotFound names those that exist."""
    row = _row(session, project_id, version)
    return _record(row, _served_last(session, project_id), aliases_of(session, project_id))


def list_versions(session: Session, project_id: int) -> list[ModelVersion]:
    """All versions, newest first, with aliases and the instant of their last promotion."""
    rows = session.scalars(select(ModelRow).where(ModelRow.project_id == project_id).order_by(ModelRow.version.desc()))
    promoted, aliases = _served_last(session, project_id), aliases_of(session, project_id)
    return [_record(row, promoted, aliases) for row in rows]


def _record(row: ModelRow, promoted: dict[int, datetime], aliases: dict[str, int]) -> ModelVersion:
    return ModelVersion(
        version=row.version,
        family=row.family,
        created_at=row.created_at,
        aliases=tuple(alias for alias in ALIASES if aliases.get(alias) == row.version),
        promoted_at=promoted.get(row.version),
        source=row.source,
        run_id=row.run_id,
        path=row.path,
        sha256=row.sha256,
        n_rows=row.n_rows,
        members=tuple(from_document(CommitteeMember, member) for member in row.members or ()),
        metrics=dict(row.metrics or {}),
        data_digest=row.data_digest,
        first_at=row.first_at,
        last_at=row.last_at,
        cycle_id=row.cycle_id,
        removed_at=row.removed_at,
    )


def _refuse_removed(row: ModelRow) -> None:
    if row.removed_at is not None:
        raise NotFound(
            f"The artefact of v{row.version} was removed on {row.removed_at:%Y-%m-%d}: only the newest former champions and "
            "rejected challengers keep theirs (CONTINUAL_KEEP_FORMER, CONTINUAL_KEEP_REJECTED). Choose a version that has one."
        )


def artefact_path(ws: Workspace, project_id: int, version: int) -> Path:
    """The version's file, verified against its sha256.

    Raises:
        NotFound: no such version, or its artefact was removed.
        StorageError: missing or damaged.
    """
    with ws.database.read() as session:
        row = _row(session, project_id, version)
    _refuse_removed(row)
    path = ws.models_path / row.path
    read_bytes(path, row.sha256, what=f"the artefact of v{version}")
    return path


def check_artefact(ws: Workspace, project_id: int, version: int, *, reread: bool = False) -> None:
    """See that a version's artefact is whole; Damaged when not. One that this process has seen whole costs nothing.

    Args:
        reread: read it even then.
    """
    with ws.database.read() as session:
        row = _row(session, project_id, version)
    verify(ws.models_path / row.path, row.sha256, what=f"the artefact of v{version}", reread=reread)


_loaded: OrderedDict[tuple[Path, str], Any] = OrderedDict()
_loaded_lock = threading.Lock()


def _keep(ws: Workspace, sha256: str, model: Any) -> None:
    with _loaded_lock:
        _loaded[ws.models_path, sha256] = model
        _loaded.move_to_end((ws.models_path, sha256))
        while len(_loaded) > KEPT_MODELS:
            _loaded.popitem(last=False)


def load_model(ws: Workspace, project_id: int, version: int) -> Any:
    """The fitted estimator of a version; callers share it and must not change it.

    Raises:
        NotFound: no such version, or its artefact was removed.
        StorageError: its file is missing or damaged, or holds what is not loaded.
    """
    with ws.database.read() as session:
        row = _row(session, project_id, version)
    _refuse_removed(row)
    with _loaded_lock:
        model = _loaded.get((ws.models_path, row.sha256))
    if model is None:
        model = loads(read_bytes(ws.models_path / row.path, row.sha256, what=f"the artefact of v{version}"))
    _keep(ws, row.sha256, model)
    return model


# --- which one serves -------------------------------------------------------------------------------------------


def record_event(session: Session, project_id: int, version: int, event: str, reason: Reason, change: Change) -> None:
    """Let a version serve from now on.

    Args:
        event: promoted | refreshed | rolled_back.

    Raises:
        NotFound: no such version, or its artefact was removed.
    """
    _refuse_removed(_row(session, project_id, version))
    session.add(
        ModelEvent(
            project_id=project_id,
            version=version,
            event=event,
            replaced=queries.champion_of(session, project_id),
            at=change.now,
            by=change.by,
            reason=reason,
            cycle_id=change.cycle_id,
        )
    )
    session.flush()


def serving_version(session: Session, project_id: int) -> tuple[int, str, FeatureSchema] | None:
    """Who serves now: version, sha256 of its artefact, and the schema that it takes rows in; None before the first."""
    event = ModelEvent
    same = (event.project_id == ModelRow.project_id) & (event.version == ModelRow.version)
    found = session.execute(
        select(ModelRow.version, ModelRow.sha256, ModelRow.schema)
        .join(event, same)
        .where(event.project_id == project_id)
        .order_by(event.id.desc())
        .limit(1)
    ).first()
    return (found.version, found.sha256, schema_from_document(found.schema)) if found else None


def _events(session: Session, project_id: int) -> list[ModelEvent]:
    """Serving events, oldest first."""
    return list(session.scalars(select(ModelEvent).where(ModelEvent.project_id == project_id).order_by(ModelEvent.id)))


def _served_last(session: Session, project_id: int) -> dict[int, datetime]:
    return {event.version: event.at for event in _events(session, project_id)}


def aliases_of(session: Session, project_id: int) -> dict[str, int]:
    """Alias -> version: who serves, whom it replaced, and the newest version that has never served."""
    newest = session.scalar(
        select(ModelEvent).where(ModelEvent.project_id == project_id).order_by(ModelEvent.id.desc()).limit(1)
    )
    served = select(ModelEvent.version).where(ModelEvent.project_id == project_id)
    challenger = session.scalar(
        select(func.max(ModelRow.version)).where(ModelRow.project_id == project_id, ModelRow.version.not_in(served))
    )
    found = {
        "champion": newest.version if newest else None,
        "challenger": challenger,
        "previous": newest.replaced if newest else None,
    }
    return {alias: version for alias, version in found.items() if version is not None}


def serving_spans(session: Session, project_id: int) -> list[tuple[int, datetime, datetime | None, str, Reason | None]]:
    """Who served from when to when, oldest first: (version, from, to or None, event, reason)."""
    events = _events(session, project_id)
    ends = [event.at for event in events[1:]] + [None]
    return [(e.version, e.at, end, e.event, e.reason) for e, end in zip(events, ends, strict=False)]


def champion_at(session: Session, project_id: int, instant: datetime) -> int | None:
    """Version that served at an instant; None before the first one."""
    return session.scalar(
        select(ModelEvent.version)
        .where(ModelEvent.project_id == project_id, ModelEvent.at <= instant)
        .order_by(ModelEvent.id.desc())
        .limit(1)
    )


# --- versions whose time is over ---------------------------------------------------------------------------------------


def mark_removed(
    session: Session, project_id: int, *, keep_former: int, keep_rejected: int, now: datetime
) -> list[ModelRow]:
    """Former champions and rejected challengers beyond the newest, from now on without artefact; lowest version first.

    What is still asked is never among them: a version with an alias, the first champion, which every score is compared
    with, the one in the shadow, the newest, which a check under way may just have made, and what a person imported.

    Args:
        keep_former: former champions that keep theirs: those that served last.
        keep_rejected: versions that never served and keep theirs: the newest.
    """
    served = [event.version for event in _events(session, project_id)]
    last_served = {version: at for at, version in enumerate(served)}
    shadow = session.scalar(select(Project.shadow_version).where(Project.id == project_id))
    newest = next_version(session, project_id) - 1
    held = {*served[:1], *aliases_of(session, project_id).values(), shadow, newest}
    own = select(ModelRow).where(ModelRow.project_id == project_id, ModelRow.removed_at.is_(None))
    found = session.scalars(own.where(ModelRow.source != "import", ModelRow.version.not_in(held - {None}))).all()
    former = sorted((row for row in found if row.version in last_served), key=lambda row: -last_served[row.version])
    rejected = sorted((row for row in found if row.version not in last_served), key=lambda row: -row.version)
    beyond = [*former[keep_former:], *rejected[keep_rejected:]]
    for row in beyond:
        row.removed_at = now
    return sorted(beyond, key=lambda row: row.version)


def mlflow_copies(ws: Workspace, run_id: str) -> list[Path]:
    """MLflow's name for the artefact of a run: a hard link of ours, or a copy."""
    return list(ws.settings.home_path.glob(f"mlartifacts/*/{run_id}/artifacts/model/model.skops"))
