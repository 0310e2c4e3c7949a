"""Versions: stored whole or not at all, exact after storing, named by the events which of them served when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from patience import limit
from sqlalchemy import select

from core.errors import Conflict, NotFound, StorageError
from core.learning.models import Committee, fit_family
from core.records import (
    NO_REASON,
    Change,
    CommitteeMember,
    Feature,
    FeatureSchema,
    ModelVersion,
    ProjectInfo,
    as_written,
)
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import artefacts, mlflow_copy, registry
from core.storage.tables import Cycle, ModelRow
from core.storage.workspace import Workspace

SCHEMA = FeatureSchema(
    task="multiclass",
    target="y",
    features=(Feature(name="a", kind="numeric"), Feature(name="b", kind="numeric"), Feature(name="c", kind="numeric")),
    classes=(0, 1, 2),
)


def rows(n: int = 200) -> tuple[pd.DataFrame, np.ndarray]:
    """Three classes that two of three features tell apart."""
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(n, 3)), columns=list("abc"))
    return X, ((X.a > 0).astype(int) + (X.b > 0)).to_numpy()


@pytest.fixture(scope="module")
def committee() -> Committee:
    """Trees, a line and neighbours that vote."""
    X, y = rows()
    families = ("dated_boosting", "extra_trees", "logistic", "neighbours")
    models = [fit_family(family, SCHEMA, X, y, seed=0) for family in families]
    info = [{"key": f, "name": f, "family": f, "window": "all", "n_rows": len(X)} for f in families]
    return Committee(models, [0.4, 0.3, 0.2, 0.1], info, "multiclass")


@pytest.fixture(scope="module")
def line() -> Any:
    """A small model, for tests that are about something else."""
    X, y = rows()
    return fit_family("logistic", SCHEMA, X, y, seed=0)


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """An empty project."""
    return projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)


@pytest.fixture
def register(ws: Workspace, project: ProjectInfo, line: Any, now: datetime) -> Callable[..., ModelVersion]:
    """Registers a model as the next version."""

    def _register(model: Any = line, **changes: Any) -> ModelVersion:
        values: dict[str, Any] = {
            "family": "logistic",
            "members": [CommitteeMember(name="line", weight=1.0)],
            "metrics": {"accuracy": 0.9, "kappa": None},
            "schema": SCHEMA,
            "X_learnt": rows()[0].head(),
            "n_rows": 200,
            "data_digest": "ab" * 32,
            "batch_ids": [1],
            "first_at": now,
            "last_at": now,
        }
        change = Change(by="test", now=changes.pop("now", now), cycle_id=changes.pop("cycle_id", None))
        also = changes.pop("also", None)
        new = registry.NewVersion(model=model, **{**values, **changes})
        return registry.register_version(ws, project, new, change, also=also)

    return _register


def serve(ws: Workspace, project: ProjectInfo, version: int, at: datetime, event: str = "promoted") -> None:
    """Let a version serve from an instant on."""
    with ws.database.write() as session:
        registry.record_event(session, project.id, version, event, as_written("better"), Change(by="test", now=at))


def test_a_stored_committee_answers_exactly_as_the_one_that_was_tested(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], committee: Committee
) -> None:
    version = register(committee, family="committee")
    registry._loaded.clear()
    loaded = registry.load_model(ws, project.id, version.version)
    X, _ = rows(50)
    np.testing.assert_array_equal(loaded.predict_proba(X), committee.predict_proba(X))
    assert loaded.info == committee.info
    assert registry.load_model(ws, project.id, version.version) is loaded
    assert registry.artefact_path(ws, project.id, version.version).stat().st_size > 1000


def test_versions_are_numbered_from_one_and_a_number_is_given_once(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion]
) -> None:
    assert [register().version, register().version] == [1, 2]
    with pytest.raises(Conflict, match="Version 2 of 'demo' is taken"):
        register(version=2)
    with ws.database.read() as session:
        assert registry.next_version(session, project.id) == 3
        assert registry.get_version(session, project.id, 2).metrics == {"accuracy": 0.9, "kappa": None}
        with pytest.raises(NotFound, match=r"no model version 7.*v2, v1"):
            registry.get_version(session, project.id, 7)


def test_what_fails_beside_a_registration_leaves_no_version(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion]
) -> None:
    def refuse(session: Any) -> None:
        raise Conflict("not now")

    with pytest.raises(Conflict, match="not now"):
        register(also=refuse)
    with ws.database.read() as session:
        assert registry.list_versions(session, project.id) == []


def test_a_damaged_or_missing_artefact_is_named_and_never_loaded(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion]
) -> None:
    version = register()
    path = registry.artefact_path(ws, project.id, version.version)
    registry._loaded.clear()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError, match="sha256 differs"):
        registry.load_model(ws, project.id, version.version)
    path.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        registry.artefact_path(ws, project.id, version.version)


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"PK\x03\x04 nothing"])
def test_bytes_that_are_no_artefact_raise_one_named_error(line: Any, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(StorageError, match="damaged"):
        artefacts.loads(damage(artefacts.dumps(line)))


def test_aliases_and_spans_follow_the_events(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime
) -> None:
    hour = timedelta(hours=1)
    for _ in range(3):
        register()
    serve(ws, project, 1, now)
    serve(ws, project, 2, now + hour, "refreshed")
    serve(ws, project, 1, now + 2 * hour, "rolled_back")
    with ws.database.read() as session:
        versions = {v.version: v for v in registry.list_versions(session, project.id)}
        spans = registry.serving_spans(session, project.id)
        at = [registry.champion_at(session, project.id, now + offset * hour) for offset in (-1, 0.5, 1.5, 9)]
    assert {n: v.aliases for n, v in versions.items()} == {3: ("challenger",), 2: ("previous",), 1: ("champion",)}
    assert [versions[n].promoted_at for n in (1, 2, 3)] == [now + 2 * hour, now + hour, None]
    assert [(s[0], s[2], s[3]) for s in spans] == [
        (1, now + hour, "promoted"),
        (2, now + 2 * hour, "refreshed"),
        (1, None, "rolled_back"),
    ]
    assert at == [None, 1, 2, 1]
    with ws.database.write() as session, pytest.raises(NotFound):
        registry.record_event(session, project.id, 9, "promoted", NO_REASON, Change(by="t", now=now))


@pytest.mark.slow
def test_mlflow_knows_every_version_and_loads_the_champion_itself(
    ws: Workspace,
    project: ProjectInfo,
    register: Callable[..., ModelVersion],
    committee: Committee,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register()
    register(committee, family="committee", now=now + timedelta(minutes=1))
    serve(ws, project, 1, now)
    serve(ws, project, 2, now)
    mlflow_copy.sync(ws, project.id)
    mlflow_copy.wait()
    register()
    mlflow_copy.sync(ws, project.id)
    mlflow_copy.wait()

    client = mlflow_copy._client(ws)
    aliases = client.get_registered_model("demo").aliases
    told = {alias: client.get_model_version_by_alias("demo", alias).tags["continual.version"] for alias in aliases}
    assert told == {"champion": "2", "previous": "1", "challenger": "3"}
    with ws.database.read() as session:
        run_ids = session.scalars(select(ModelRow.run_id).order_by(ModelRow.version)).all()
    run = client.get_run(str(run_ids[1]))
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"accuracy": 0.9}
    assert run.data.params["family"] == "committee"
    assert run.inputs.dataset_inputs[0].dataset.digest == ("ab" * 32)[:36]

    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{ws.settings.home_path / 'mlflow.db'}")
    try:
        X, _ = rows(20)
        loaded = mlflow.pyfunc.load_model("models:/demo@champion")
        np.testing.assert_array_equal(loaded.predict(X), committee.predict(X))
        assert [c.name for c in loaded.metadata.signature.inputs] == ["a", "b", "c"]
        np.testing.assert_array_equal(
            mlflow.sklearn.load_model("models:/demo@champion").predict_proba(X), committee.predict_proba(X)
        )
    finally:
        mlflow.set_tracking_uri(before)


def test_a_broken_mlflow_loses_nothing_and_is_copied_later(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(ws: Workspace) -> Any:
        raise OSError("no MLflow here")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow_copy, "_client", broken)
        version = register()
        mlflow_copy.sync(ws, project.id)
        mlflow_copy.wait()
    with ws.database.read() as session:
        assert registry.get_version(session, project.id, version.version).run_id is None
    told: list[int] = []
    monkeypatch.setattr(mlflow_copy, "_client", lambda ws: object())
    monkeypatch.setattr(mlflow_copy, "_own_registered_model", lambda client, project: None)
    monkeypatch.setattr(mlflow_copy, "_experiment", lambda ws, client, project: "1")
    monkeypatch.setattr(mlflow_copy, "_copy_aliases", lambda ws, client, project, aliases: None)
    monkeypatch.setattr(mlflow_copy, "_copy_version", lambda ws, c, p, row, e: told.append(row.version) or "run")
    mlflow_copy.sync(ws, project.id)
    mlflow_copy.wait()
    with ws.database.read() as session:
        assert registry.get_version(session, project.id, version.version).run_id == "run"
    assert told == [1]


def test_importing_registry_and_services_imports_neither_mlflow_nor_sklearn(tmp_path: Path) -> None:

    modules = "('mlflow', 'sklearn', 'scipy')"
    code = f"import sys, core.storage.registry, core.services.serving.champion_cache, core.services.serving.predicting; print([m for m in {modules} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=limit(60))
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_mlflow_holds_candidates_as_nested_runs_and_clauses_as_tags(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime
) -> None:
    entrant = {
        "name": "logistic regression, all rows", "family": "logistic", "window": "all", "n_rows": 200, "loss": 0.4, "weight": 1.0,
        "fitted": True, "seconds": 0.1, "error": None, "score": {"metric": "accuracy", "value": 0.9},
    }  # fmt: skip
    dropped = {
        **entrant,
        "name": "extra-trees, all rows",
        "weight": None,
        "error": "too few rows",
        "score": {"metric": "accuracy", "value": None},
    }
    clause = {"name": "right_more_often", "passed": True, "reason": "9 to 2.", "decides": True}
    told = {"name": "calibration", "passed": False, "reason": "Too sure.", "decides": False}
    with ws.database.write() as session:
        cycle = Cycle(
            project_id=project.id, cause="cli", status="done", started_at=now, seed=1, candidates=[entrant, dropped],
            verdict={"promote": True, "kind": "promotion", "reason": "9 to 2.", "clauses": [clause, told]},
        )  # fmt: skip
        session.add(cycle)
        session.flush()
        cycle_id = cycle.id
    register(cycle_id=cycle_id)
    mlflow_copy.sync_now(ws, project.id)
    client = mlflow_copy._client(ws)
    with ws.database.read() as session:
        run_id = str(session.scalar(select(ModelRow.run_id)))
    tags = client.get_run(run_id).data.tags
    assert tags["clause.right_more_often"] == "pass: 9 to 2."
    assert tags["clause.calibration"] == "fail (told, not decided): Too sure."
    assert tags["verdict"] == "promotion: 9 to 2."
    experiment = client.get_run(run_id).info.experiment_id
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    by_name = {run.info.run_name: run for run in nested}
    assert set(by_name) == {entrant["name"], dropped["name"]}
    assert by_name[entrant["name"]].data.metrics["loss"] == 0.4
    assert by_name[dropped["name"]].info.status == "FAILED"
    assert by_name[dropped["name"]].data.params["error"] == "too few rows"


def test_an_import_of_mlflow_that_failed_half_way_is_begun_anew() -> None:
    """In a process of its own: the import must be its first."""
    script = """
import sys
from core.storage import mlflow_copy

class Failing:
    def find_spec(self, name, path=None, target=None):
        if name == "mlflow.entities.span_log_level":
            raise OSError("Too many open files")

sys.meta_path.insert(0, failing := Failing())
try:
    mlflow_copy._client_class()
except OSError as error:
    print(error)
sys.meta_path.remove(failing)
print(mlflow_copy._client_class().__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=limit(60), check=False
    )
    assert done.stdout.split("\n")[:2] == ["Too many open files", "MlflowClient"], done.stderr
