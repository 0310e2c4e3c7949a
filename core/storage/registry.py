"""Model versions: their artefacts, which of them serves, and the copy of both in MLflow.

A version counts once its artefact is on disk and its row committed; which one serves is an append-only row of ours.
MLflow (imported by this module alone, and only inside functions) is told afterwards, by a thread of its own: whatever
could not be told is told later, and an absent or broken MLflow never fails or delays a cycle.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.data.contract import schema_from_document, schema_to_document
from core.errors import Conflict, NotFound, StorageError
from core.records import Candidate, FeatureSchema, ModelVersion, ProjectInfo, to_document
from core.settings import ROOT
from core.storage import queries
from core.storage.artefacts import dumps, loads, read_bytes, untrusted_types
from core.storage.artefacts import loads_file as loads_file
from core.storage.batches import verify, write_durably
from core.storage.engine import file_lock, one_upgrade
from core.storage.tables import Cycle, ModelEvent, ModelRow, Project
from core.storage.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

CHECKED_ROWS = 5  # that a stored model is asked
KEPT_MODELS = 6  # loaded models that a process keeps
ALIASES = ("champion", "challenger", "previous")


# --- versions ---------------------------------------------------------------------------------------------------


def next_version(session: Session, project_id: int) -> int:
    """Number that the project's next version gets; 1 for the first."""
    return (session.scalar(select(func.max(ModelRow.version)).where(ModelRow.project_id == project_id)) or 0) + 1


def register_version(
    ws: Workspace,
    project: ProjectInfo,
    model: Any,
    *,
    family: str,
    members: Sequence[dict[str, Any]],
    metrics: dict[str, float | None],
    schema: FeatureSchema,
    X_learnt: pd.DataFrame,
    n_rows: int | None,
    data_digest: str | None,
    batch_ids: Sequence[int],
    first_at: datetime | None,
    last_at: datetime | None,
    cycle_id: int | None,
    by: str,
    now: datetime,
    version: int | None = None,
    source: str = "race",
    candidates: Sequence[Candidate] = (),
    also: Callable[[Session], None] | None = None,
) -> ModelVersion:
    """Store a fitted model as the project's next version. It serves only once an event says so.

    The artefact is written durably, read back and asked for the last of `X_learnt`: what will serve answers as the model
    does. Beside it lies the scorer, by which the API answers.

    Args:
        X_learnt: rows in schema order that it learnt from; guards take their ranges from them.
        version: its number where the caller has given it away already; else the next one.
        candidates: those that it was chosen from, for the log.
        also: runs inside the transaction that commits the version; what it raises leaves nothing behind.

    Raises:
        StorageError: it cannot be stored, or answers otherwise after storing.
        Conflict: the number is taken.
    """
    data = dumps(model)
    sha256 = hashlib.sha256(data).hexdigest()
    stored = loads(data)
    _check_same_answers(model, stored, X_learnt.tail(CHECKED_ROWS))
    path = f"p{project.id}/model-{sha256[:24]}.skops"  # by content: no version ever overwrites another one's file
    if not (ws.models_path / path).exists():
        write_durably(ws.models_path / path, data)
    scorer_path, scorer_sha256 = _write_scorer(ws, project.id, stored, schema, X_learnt)
    try:
        with ws.database.write() as session:
            if also is not None:
                also(session)
            row = ModelRow(
                project_id=project.id,
                version=next_version(session, project.id) if version is None else version,
                family=family,
                source=source,
                path=path,
                sha256=sha256,
                created_at=now,
                created_by=by,
                cycle_id=cycle_id,
                n_rows=n_rows,
                members=[dict(member) for member in members],
                metrics=dict(metrics),
                schema=schema_to_document(schema),
                scorer_path=scorer_path,
                scorer_sha256=scorer_sha256,
                data_digest=data_digest,
                batch_ids=list(batch_ids),
                first_at=first_at,
                last_at=last_at,
            )
            session.add(row)
            session.flush()
            record = _record(row, _served_last(session, project.id), _aliases(session, project.id))
    except IntegrityError as error:
        raise Conflict(f"Version {version} of '{project.slug}' is taken. Start the check again.") from error
    _keep(ws, sha256, stored)
    logger.info(
        "registered v{version}: {family}, {bytes} bytes, of {raced} candidates",
        version=record.version,
        family=family,
        bytes=len(data),
        raced=len(candidates),
    )
    return record


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
        warnings.simplefilter("ignore")  # an unseen category says so each time it is asked for
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
    return _record(row, _served_last(session, project_id), _aliases(session, project_id))


def list_versions(session: Session, project_id: int) -> list[ModelVersion]:
    """All versions, newest first, with aliases and the instant of their last promotion."""
    rows = session.scalars(select(ModelRow).where(ModelRow.project_id == project_id).order_by(ModelRow.version.desc()))
    promoted, aliases = _served_last(session, project_id), _aliases(session, project_id)
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
        members=tuple(row.members or ()),
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


def check_artefact(ws: Workspace, project_id: int, version: int, *, anew: bool = False) -> None:
    """See that a version's artefact is whole; Damaged when not. One that this process has seen whole costs nothing.

    Args:
        anew: read it also then.
    """
    with ws.database.read() as session:
        row = _row(session, project_id, version)
    verify(ws.models_path / row.path, row.sha256, what=f"the artefact of v{version}", anew=anew)


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


def record_event(
    session: Session,
    project_id: int,
    version: int,
    *,
    event: str,
    by: str,
    reason: str,
    cycle_id: int | None,
    now: datetime,
) -> None:
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
            at=now,
            by=by,
            reason=reason,
            cycle_id=cycle_id,
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


def _aliases(session: Session, project_id: int) -> dict[str, int]:
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


def serving_spans(session: Session, project_id: int) -> list[tuple[int, datetime, datetime | None, str, str | None]]:
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
    held = {*served[:1], *_aliases(session, project_id).values(), shadow, newest}
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


# --- the copy in MLflow -----------------------------------------------------------------------------------------

_queue: dict[tuple[Path, int], Workspace] = {}
_told: dict[tuple[Path, int, datetime], dict[str, int]] = {}  # aliases as MLflow has them
_queue_lock = threading.Lock()
_teller: threading.Thread | None = None


def sync_mlflow(ws: Workspace, project_id: int) -> None:
    """Tell MLflow what it does not know yet of a project. Returns at once: its first import alone takes seconds.

    A process that ends waits for the telling; what fails is logged, and told with the next call.
    """
    global _teller
    with _queue_lock:
        _queue[ws.settings.home_path, project_id] = ws
        if _teller is None:
            _teller = threading.Thread(target=_tell_all, name="mlflow", daemon=False)
            _teller.start()


def sync_mlflow_apart(ws: Workspace, project_id: int) -> None:
    """The same from a process that should not carry MLflow's 250 MB: a child does the telling. Returns at once."""
    environment = {**os.environ, "CONTINUAL_HOME": str(ws.settings.home_path)}
    command = [sys.executable, "-m", "core.storage.registry", str(project_id)]

    def tell() -> None:
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, start_new_session=True)  # noqa: S603  # a fixed command of ours
        if done.returncode:
            logger.warning("MLflow was not told: exit code {code}", code=done.returncode)

    threading.Thread(target=tell, name="mlflow", daemon=True).start()


def wait_for_mlflow() -> None:
    """Return when everything asked for so far has been told, or has failed."""
    teller = _teller
    if teller is not None:
        teller.join()


def _tell_all() -> None:
    global _teller
    while True:
        with _queue_lock:
            if not _queue:
                _teller = None
                return
            (_, project_id), ws = _queue.popitem()
        try:
            tell_mlflow(ws, project_id)
        except Exception as error:  # MLflow is a copy for people: no failure of it may stop anything
            logger.warning("MLflow was not told: {kind}: {error}", kind=type(error).__name__, error=str(error)[:300])


def tell_mlflow(ws: Workspace, project_id: int) -> None:
    """Tell MLflow now, in this thread; one process at a time, so that no version is told twice.

    Raises:
        Whatever MLflow raises.
    """
    with file_lock(ws.locks_path / "mlflow.lock"):
        _tell(ws, project_id)


def _tell(ws: Workspace, project_id: int) -> None:
    with ws.database.read() as session:
        project = session.get(Project, project_id)
        if project is None:
            return
        rows = session.scalars(
            select(ModelRow)
            .where(ModelRow.project_id == project_id, ModelRow.run_id.is_(None))
            .order_by(ModelRow.version)
        ).all()
        aliases = _aliases(session, project_id)
    known = (ws.settings.home_path, project_id, project.created_at)
    if not rows and _told.get(known) == aliases:
        return
    client = _client(ws)
    _own_registered_model(client, project)
    experiment_id = _experiment(ws, client, project)
    for row in rows:
        run_id = _tell_version(ws, client, project, row, experiment_id)
        with ws.database.write() as session:
            session.execute(update(ModelRow).where(ModelRow.id == row.id).values(run_id=run_id))
    _tell_aliases(ws, client, project, aliases)
    _told[known] = aliases


def _client(ws: Workspace) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    uri = f"sqlite:///{ws.settings.home_path / 'mlflow.db'}"
    with one_upgrade:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_registered_models(max_results=1)  # both stores make their tables at first use
        return client


def _own_registered_model(client: MlflowClient, project: Project) -> None:
    """One registered model a project; one that a deleted project of the same slug left is renamed first."""
    from mlflow.exceptions import MlflowException

    made = project.created_at.isoformat()
    try:
        there = client.get_registered_model(project.slug)
    except MlflowException:
        there = None
    if there is not None and there.tags.get("continual.created_at") == made:
        return
    if there is not None:
        former = there.tags.get("continual.created_at", str(there.creation_timestamp))
        client.rename_registered_model(project.slug, f"{project.slug} {former}".replace(":", "").replace("/", ""))
    client.create_registered_model(project.slug, tags={"continual.created_at": made}, description=project.name)


def _experiment(ws: Workspace, client: MlflowClient, project: Project) -> str:
    found = client.get_experiment_by_name(project.slug)
    if found is not None:
        return str(found.experiment_id)
    folder = ws.settings.home_path / "mlartifacts" / project.slug
    return str(client.create_experiment(project.slug, artifact_location=str(folder)))


def _tell_version(ws: Workspace, client: MlflowClient, project: Project, row: ModelRow, experiment_id: str) -> str:
    """Run, parameters, metrics, data digest and the model itself; begun before, it is finished."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param

    tags = {"continual.version": str(row.version), "continual.created_at": project.created_at.isoformat()}
    at = int(row.created_at.timestamp() * 1000)
    begun = client.search_runs(
        [experiment_id], " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items()), max_results=1
    )
    run = begun[0] if begun else client.create_run(experiment_id, start_time=at, tags=tags, run_name=f"v{row.version}")
    run_id = str(run.info.run_id)
    params: dict[str, Any] = {
        "family": row.family,
        "source": row.source,
        "n_rows": row.n_rows,
        "members": json.dumps(row.members),
        "data_digest": row.data_digest,
        "first_at": row.first_at,
        "last_at": row.last_at,
        "cycle": row.cycle_id,
    }
    scores = {name: value for name, value in (row.metrics or {}).items() if value is not None}
    client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), at, 0) for name, value in scores.items()],
        params=[Param(name, str(value)[:6000]) for name, value in params.items() if value is not None],
    )
    if row.data_digest:
        source = json.dumps({"batches": row.batch_ids})
        client.log_inputs(run_id, [DatasetInput(Dataset(project.slug, row.data_digest[:36], "local", source[:60_000]))])
    folder = Path(str(run.info.artifact_uri).removeprefix("file://"))
    there = (ws.models_path / row.path).is_file()  # it may have been removed before MLflow was told
    if there:
        _write_mlflow_model(ws, row, folder / "model", run_id)
    folder.mkdir(parents=True, exist_ok=True)
    _write_race(ws, row, folder / "race.json")
    if there and not client.search_model_versions(f"run_id = '{run_id}'"):
        client.create_model_version(project.slug, source=str(folder / "model"), run_id=run_id, tags=tags)
    with ws.database.read() as session:
        cycle = session.get(Cycle, row.cycle_id) if row.cycle_id is not None else None
        verdict, candidates = (cycle.verdict, list(cycle.candidates or ())) if cycle is not None else (None, [])
    for clause in (verdict or {}).get("clauses", ()):
        passed = "pass" if clause["passed"] else "fail"
        told = "" if clause.get("decides", True) else " (told, not decided)"
        client.set_tag(run_id, f"clause.{clause['name']}", f"{passed}{told}: {clause['reason']}"[:5000])
    if verdict is not None:
        client.set_tag(run_id, "verdict", f"{verdict['kind']}: {verdict['reason']}"[:5000])
    _tell_candidates(client, experiment_id, run_id, candidates, at)
    client.set_terminated(run_id, "FINISHED", end_time=at)
    return run_id


def _tell_candidates(
    client: MlflowClient, experiment_id: str, run_id: str, candidates: Sequence[dict[str, Any]], at: int
) -> None:
    """One nested run for each entrant of the race, those that a broken telling has left included."""
    from mlflow.entities import Metric, Param

    parent = "mlflow.parentRunId"
    there = client.search_runs([experiment_id], f"tags.`{parent}` = '{run_id}'", max_results=1000)
    finished = {run.info.run_name for run in there if run.info.status in ("FINISHED", "FAILED")}
    for run in there:
        if run.info.run_name not in finished:
            client.delete_run(run.info.run_id)
    for candidate in candidates:
        if candidate["name"] in finished:
            continue
        run = client.create_run(
            experiment_id, start_time=at, tags={parent: run_id, "candidate": "true"}, run_name=candidate["name"]
        )
        figures = {
            candidate["score"]["metric"]: candidate["score"]["value"], "loss": candidate["loss"],
            "weight": candidate["weight"], "fit_seconds": candidate["seconds"],
        }  # fmt: skip
        told = {name: candidate[name] for name in ("family", "window", "n_rows", "fitted", "error")}
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, float(value), at, 0) for name, value in figures.items() if value is not None],
            params=[Param(name, str(value)[:6000]) for name, value in told.items() if value is not None],
        )
        client.set_terminated(run.info.run_id, "FAILED" if candidate["error"] else "FINISHED", end_time=at)


def _write_mlflow_model(ws: Workspace, row: ModelRow, folder: Path, run_id: str) -> None:
    """The folder that MLflow's own loaders read: our artefact under a second name, and its description.

    `log_model` would store the estimator anew, several times slower than all of this.
    """
    import mlflow.pyfunc
    import sklearn
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import ColSpec
    from mlflow.types.schema import Schema as Columns

    schema = schema_from_document(row.schema)
    kinds = {float: "double", int: "long", bool: "boolean", str: "string"}
    answer = "double" if schema.task == "regression" else kinds[type(schema.classes[0])]
    inputs: list[Any] = [
        ColSpec("double" if f.kind == "numeric" else "string", f.name, required=False) for f in schema.features
    ]
    model = Model(
        artifact_path="model",
        run_id=run_id,
        signature=ModelSignature(inputs=Columns(inputs), outputs=Columns([ColSpec(answer)])),
    )
    mlflow.pyfunc.add_to_model(
        model, loader_module="mlflow.sklearn", model_path="model.skops", predict_fn="predict", conda_env="conda.yaml"
    )
    artefact = ws.models_path / row.path
    model.add_flavor(
        "sklearn",
        pickled_model="model.skops",
        sklearn_version=sklearn.__version__,
        serialization_format="skops",
        code=None,
        skops_trusted_types=untrusted_types(read_bytes(artefact)),
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        os.link(artefact, folder / "model.skops")
    except OSError:  # another file system, or one without links
        shutil.copyfile(artefact, folder / "model.skops")
    needed = [f"{name}=={importlib.import_module(name).__version__}" for name in ("skops", "numpy", "pandas")]
    needed = ["mlflow", f"scikit-learn=={sklearn.__version__}", *needed]
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n")
    environment = {"name": "model", "channels": ["conda-forge"], "dependencies": ["pip", {"pip": needed}]}
    (folder / "conda.yaml").write_text(json.dumps(environment))  # JSON is YAML
    model.save(str(folder / "MLmodel"))


def _write_race(ws: Workspace, row: ModelRow, path: Path) -> None:
    """Who raced, and what they scored, as the cycle's audit row tells it."""
    if row.cycle_id is None:
        return
    with ws.database.read() as session:
        candidates = session.scalar(select(Cycle.candidates).where(Cycle.id == row.cycle_id))
    path.write_text(json.dumps(to_document(candidates or []), indent=1))


def _tell_aliases(ws: Workspace, client: MlflowClient, project: Project, aliases: dict[str, int]) -> None:
    with ws.database.read() as session:
        runs = {
            alias: session.scalar(
                select(ModelRow.run_id).where(ModelRow.project_id == project.id, ModelRow.version == version)
            )
            for alias, version in aliases.items()
        }
    there = dict(client.get_registered_model(project.slug).aliases)
    for alias in ALIASES:
        run_id = runs.get(alias)
        if run_id is None:
            if alias in there:
                client.delete_registered_model_alias(project.slug, alias)
            continue
        found = client.search_model_versions(f"run_id = '{run_id}'")
        if found and str(there.get(alias)) != str(found[0].version):
            client.set_registered_model_alias(project.slug, alias, found[0].version)


if __name__ == "__main__":
    tell_mlflow(open_workspace(), int(sys.argv[1]))
