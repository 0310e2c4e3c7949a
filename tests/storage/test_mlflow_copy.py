"""The copy in MLflow: every version is there, can be loaded by MLflow itself, and a broken MLflow loses nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from patience import limit
from sqlalchemy import select

from core.learning.models import Committee
from core.records import (
    ModelVersion,
    ProjectInfo,
)
from core.storage import mlflow_copy, registry
from core.storage.tables import Cycle, ModelRow
from core.storage.workspace import Workspace
from tests.storage.conftest import rows, serve


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
    reported = {alias: client.get_model_version_by_alias("demo", alias).tags["continual.version"] for alias in aliases}
    assert reported == {"champion": "2", "previous": "1", "challenger": "3"}
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
    reported: list[int] = []
    monkeypatch.setattr(mlflow_copy, "_client", lambda ws: object())
    monkeypatch.setattr(mlflow_copy, "_own_registered_model", lambda client, project: None)
    monkeypatch.setattr(mlflow_copy, "_experiment", lambda ws, client, project: "1")
    monkeypatch.setattr(mlflow_copy, "_copy_aliases", lambda ws, client, project, aliases: None)
    monkeypatch.setattr(mlflow_copy, "_copy_version", lambda ws, c, p, row, e: reported.append(row.version) or "run")
    mlflow_copy.sync(ws, project.id)
    mlflow_copy.wait()
    with ws.database.read() as session:
        assert registry.get_version(session, project.id, version.version).run_id == "run"
    assert reported == [1]


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
    reported = {"name": "calibration", "passed": False, "reason": "Too sure.", "decides": False}
    with ws.database.write() as session:
        cycle = Cycle(
            project_id=project.id, cause="cli", status="done", started_at=now, seed=1, candidates=[entrant, dropped],
            verdict={"promote": True, "kind": "promotion", "reason": "9 to 2.", "clauses": [clause, reported]},
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
    assert tags["clause.calibration"] == "fail (reported, not enforced): Too sure."
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
