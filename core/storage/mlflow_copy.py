"""The copy of the registry that MLflow shows: runs, versions, aliases. The one module that imports MLflow.

A copy for people: nothing reads it back, no failure of it stops anything, and what it lacks is added with the next sync.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger
from sqlalchemy import select, update

from core.data.contract import schema_from_document
from core.records import JsonObject, reason_from
from core.settings import ROOT
from core.storage.artefacts import read_bytes, untrusted_types
from core.storage.engine import file_lock, one_upgrade
from core.storage.registry import ALIASES, aliases_of
from core.storage.tables import Cycle, ModelRow, Project
from core.storage.workspace import Workspace, open_workspace
from core.text.reasons import in_words, sentence

if TYPE_CHECKING:
    from mlflow import MlflowClient

_queue: dict[tuple[Path, int], Workspace] = {}
_known_aliases: dict[tuple[Path, int, datetime], dict[str, int]] = {}  # aliases as MLflow has them
_queue_lock = threading.Lock()
_thread: threading.Thread | None = None


def sync(ws: Workspace, project_id: int) -> None:
    """Copy to MLflow what it lacks of a project, in a thread: its first import alone takes seconds. Returns at once.

    A process that ends waits for the thread; what fails is logged, and copied with the next call.
    """
    global _thread
    with _queue_lock:
        _queue[ws.settings.home_path, project_id] = ws
        if _thread is None:
            _thread = threading.Thread(target=_work, name="mlflow", daemon=False)
            _thread.start()


def sync_in_child(ws: Workspace, project_id: int) -> None:
    """The same from a process that should not carry MLflow's 250 MB: a child makes the copy. Returns at once."""
    environment = {**os.environ, "CONTINUAL_HOME": str(ws.settings.home_path)}
    command = [sys.executable, "-m", "core.storage.mlflow_copy", str(project_id)]

    def run() -> None:
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, start_new_session=True)  # noqa: S603  # a fixed command of ours
        if done.returncode:
            logger.warning("MLflow has no copy yet: exit code {code}", code=done.returncode)

    threading.Thread(target=run, name="mlflow", daemon=True).start()


def wait() -> None:
    """Return when everything asked for so far has been copied, or has failed."""
    thread = _thread
    if thread is not None:
        thread.join()


def _work() -> None:
    global _thread
    while True:
        with _queue_lock:
            if not _queue:
                _thread = None
                return
            (_, project_id), ws = _queue.popitem()
        try:
            sync_now(ws, project_id)
        except Exception as error:  # MLflow is a copy for people: no failure of it may stop anything
            logger.warning("MLflow has no copy yet: {kind}: {error}", kind=type(error).__name__, error=str(error)[:300])


def sync_now(ws: Workspace, project_id: int) -> None:
    """Copy now, in this thread; one process at a time, so that no version is copied twice.

    Raises:
        Whatever MLflow raises.
    """
    with file_lock(ws.locks_path / "mlflow.lock"):
        _copy(ws, project_id)


def _copy(ws: Workspace, project_id: int) -> None:
    with ws.database.read() as session:
        project = session.get(Project, project_id)
        if project is None:
            return
        rows = session.scalars(
            select(ModelRow)
            .where(ModelRow.project_id == project_id, ModelRow.run_id.is_(None))
            .order_by(ModelRow.version)
        ).all()
        aliases = aliases_of(session, project_id)
    known = (ws.settings.home_path, project_id, project.created_at)
    if not rows and _known_aliases.get(known) == aliases:
        return
    client = _client(ws)
    _own_registered_model(client, project)
    experiment_id = _experiment(ws, client, project)
    for row in rows:
        run_id = _copy_version(ws, client, project, row, experiment_id)
        with ws.database.write() as session:
            session.execute(update(ModelRow).where(ModelRow.id == row.id).values(run_id=run_id))
    _copy_aliases(ws, client, project, aliases)
    _known_aliases[known] = aliases


def _client_class() -> type[MlflowClient]:
    """MLflow's client, imported.

    An import that fails half-way leaves modules behind with which every later one fails too: they are taken away, so
    so that the next call starts afresh.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
    except BaseException:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
            del sys.modules[name]
        raise
    return MlflowClient


def _client(ws: Workspace) -> MlflowClient:
    client_of = _client_class()
    uri = f"sqlite:///{ws.settings.home_path / 'mlflow.db'}"
    with one_upgrade:
        client = client_of(tracking_uri=uri, registry_uri=uri)
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


def _copy_version(ws: Workspace, client: MlflowClient, project: Project, row: ModelRow, experiment_id: str) -> str:
    """Run, parameters, metrics, data digest and the model itself; begun before, it is finished."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param

    tags = {"continual.version": str(row.version), "continual.created_at": project.created_at.isoformat()}
    at = int(row.created_at.timestamp() * 1000)
    begun = client.search_runs(
        [experiment_id], " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items()), max_results=1
    )
    run = begun[0] if begun else client.create_run(experiment_id, start_time=at, tags=tags, run_name=f"v{row.version}")
    run_id = str(run.info.run_id)
    params: JsonObject = {
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
    there = (ws.models_path / row.path).is_file()  # it may have been removed before it was copied
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
        note = "" if clause.get("decides", True) else " (reported, not enforced)"
        client.set_tag(
            run_id, f"clause.{clause['name']}", f"{passed}{note}: {sentence(reason_from(clause['reason']))}"[:5000]
        )
    if verdict is not None:
        client.set_tag(run_id, "verdict", f"{verdict['kind']}: {sentence(reason_from(verdict['reason']))}"[:5000])
    _copy_candidates(client, experiment_id, run_id, candidates, at)
    client.set_terminated(run_id, "FINISHED", end_time=at)
    return run_id


def _copy_candidates(
    client: MlflowClient, experiment_id: str, run_id: str, candidates: Sequence[JsonObject], at: int
) -> None:
    """One nested run for each entrant of the race, those that a copy broken off has left included."""
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
        params = {name: candidate[name] for name in ("family", "window", "n_rows", "fitted", "error")}
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, float(value), at, 0) for name, value in figures.items() if value is not None],
            params=[Param(name, str(value)[:6000]) for name, value in params.items() if value is not None],
        )
        client.set_terminated(run.info.run_id, "FAILED" if candidate["error"] else "FINISHED", end_time=at)


def _write_mlflow_model(ws: Workspace, row: ModelRow, folder: Path, run_id: str) -> None:
    """The folder that MLflow's own loaders read: our artefact under a second name, and its description.

    `log_model` would store the estimator again, several times slower than all of this.
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
    """Who raced, and what they scored, as the cycle's audit row has it."""
    if row.cycle_id is None:
        return
    with ws.database.read() as session:
        candidates = session.scalar(select(Cycle.candidates).where(Cycle.id == row.cycle_id))
    raced = [
        {**known, "score": {**known["score"], "reason": reason_from(known["score"].get("reason"))}}
        for known in candidates or ()
    ]
    path.write_text(json.dumps(in_words(raced), indent=1))


def _copy_aliases(ws: Workspace, client: MlflowClient, project: Project, aliases: dict[str, int]) -> None:
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
    sync_now(open_workspace(), int(sys.argv[1]))
