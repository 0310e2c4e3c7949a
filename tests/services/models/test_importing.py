"""A model of the user's own is checked, registered and used."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import fitted, rows, save
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sqlalchemy import select, update

from core.cycle import run_cycle
from core.errors import BadInput, Busy, Conflict, NotEnoughRows
from core.learning.models import Converted
from core.records import ProjectInfo
from core.services.ingestion import ingest, stored_batches
from core.services.models import importing, lifecycle
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import champion_cache, predicting
from core.storage import artefacts, registry
from core.storage.tables import AuditEntry, Lease
from core.storage.workspace import Workspace

pytestmark = pytest.mark.usefixtures("mlflow_calls")


@pytest.mark.slow
def test_an_imported_pipeline_is_the_challenger_and_serves_only_when_promoted(
    ws: Workspace, project: ProjectInfo, file: Path, now: datetime, mlflow_calls: list[int]
) -> None:
    version = importing.import_challenger(ws, project, file, by="ann", now=now)
    assert (version.version, version.aliases, version.source) == (1, ("challenger",), "import")
    assert version.family == "imported LogisticRegression"
    assert 0.8 < (version.metrics["accuracy"] or 0) <= 1.0
    assert projects.project_by_id(ws, project.id).champion is None
    lifecycle.promote(ws, project, 1, reason="first", by="ann", now=now)
    assert projects.project_by_id(ws, project.id).champion == 1
    assert mlflow_calls == [project.id, project.id]
    with ws.database.read() as session:
        entries = [(e.who, e.what) for e in session.scalars(select(AuditEntry).order_by(AuditEntry.id))][-2:]
    assert entries == [("ann", "model imported"), ("ann", "model promoted")]


@pytest.mark.usefixtures("here")
def test_a_function_in_a_pipeline_is_refused_and_an_elementwise_one_is_not(
    ws: Workspace, project: ProjectInfo, tmp_path: Path, now: datetime
) -> None:
    frame = rows(seed=1)
    for function in (np.tanh, np.nan_to_num):
        own = make_pipeline(FunctionTransformer(function), LogisticRegression()).fit(frame[["a", "b"]], frame["y"])
        save(tmp_path / f"{function.__name__}.skops", own)
    with pytest.raises(BadInput, match=r"nan_to_num, which is not on the list"):
        importing.import_challenger(ws, project, tmp_path / "nan_to_num.skops", by="ann", now=now)
    version = importing.import_challenger(ws, project, tmp_path / "tanh.skops", by="ann", now=now)
    registry._loaded.clear()
    assert registry.load_model(ws, project.id, version.version).steps[-1][0] == "logisticregression"


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_an_imported_model_is_kept_as_its_numbers_and_goes_through_the_loop(
    ws: Workspace, project: ProjectInfo, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the file is constructed outside of the trial; what is left answers, races and serves as any other."""
    frame = rows(seed=1)
    own = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(frame[["a", "b"]], frame["y"])
    file = save(tmp_path / "own.skops", own)

    def never(data: bytes) -> None:
        raise AssertionError("a foreign file was loaded in this process")

    with monkeypatch.context() as patched:
        patched.setattr(importing, "loads", never)
        version = importing.import_challenger(ws, project, file, by="ann", now=now)
    registry._loaded.clear()
    model = registry.load_model(ws, project.id, version.version)
    assert isinstance(model, Converted)
    frame = rows(seed=9)
    theirs = artefacts.loads(file.read_bytes())
    assert np.allclose(model.predict_proba(frame[["a", "b"]]), theirs.predict_proba(frame[["a", "b"]]), atol=1e-9)
    lifecycle.promote(ws, project, version.version, reason="first", by="ann", now=now)
    stored = projects.project_by_id(ws, project.id)
    served = champion_cache.champion(ws, stored)
    assert predicting.predict_one(served, [0.1, 0.2])[0] in (stored.schema.classes if stored.schema else ())
    ingest.ingest_frame(ws, stored, rows(seed=10), origin="later", by="t", now=now)
    for _ in range(2):
        report = run_cycle(ws, project.id, cause="cli", now=now + timedelta(hours=1), force=True)
        assert report is not None
        assert report.status == "done"


class _Wrong:
    """Models that load but do not fit the project, and what is said of them."""

    @staticmethod
    def other_columns() -> Any:
        frame = rows(seed=1).rename(columns={"a": "z"})
        return LogisticRegression().fit(frame[["z", "b"]], frame["y"])

    @staticmethod
    def other_classes() -> Any:
        frame = rows(seed=1)
        return LogisticRegression().fit(frame[["a", "b"]], (frame["y"] == "up").astype(int))

    @staticmethod
    def endless() -> Any:
        model = fitted()
        model.steps[-1][1].coef_[:] = np.nan
        return model


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_Wrong.other_columns, "cannot predict this project's rows: ValueError"),
        (_Wrong.other_classes, "classes are 0, 1; this project's are 'down', 'up'"),
        (_Wrong.endless, "NaN or infinity|cannot predict"),
        (lambda: fitted(LinearSVC()), "has no predict_proba"),
        (lambda: make_pipeline(StandardScaler()).fit(rows()[["a", "b"]]), "has no predict"),
    ],
)
def test_a_model_that_does_not_fit_the_project_is_refused_with_the_reason(
    ws: Workspace, project: ProjectInfo, tmp_path: Path, now: datetime, make: Any, expected: str
) -> None:
    path = save(tmp_path / "wrong.skops", make())
    with pytest.raises(BadInput, match=expected):
        importing.import_challenger(ws, project, path, by="ann", now=now)
    with ws.database.read() as session:
        assert registry.list_versions(session, project.id) == []


@pytest.mark.usefixtures("here")
def test_a_regression_model_can_be_imported(ws: Workspace, tmp_path: Path, now: datetime) -> None:
    frame = rows()
    frame["y"] = frame.a * 3.0 + 0.01 * frame.b
    made = projects.create_project(ws, "Heat", Origin(source="file"), by="test", now=now)
    ingest.ingest_frame(ws, made, frame, origin="rows.csv", by="test", now=now, target="y")
    project = projects.project_by_id(ws, made.id)
    path = save(tmp_path / "ridge.skops", Ridge().fit(frame[["a", "b"]], frame["y"]))
    version = importing.import_challenger(ws, project, path, by="ann", now=now)
    assert (version.metrics["r2"] or 0) > 0.99


@pytest.mark.usefixtures("here")
def test_an_import_needs_data_labels_and_a_project_at_rest(
    ws: Workspace, project: ProjectInfo, file: Path, now: datetime
) -> None:
    empty = projects.create_project(ws, "Empty", Origin(source="file"), by="test", now=now)
    with pytest.raises(Conflict, match="no data yet"):
        importing.import_challenger(ws, empty, file, by="ann", now=now)
    (batch,) = stored_batches.list_batches(ws, project.id)[0]
    stored_batches.undo_batch(ws, project, batch.id, by="ann", now=now)
    with pytest.raises(NotEnoughRows):
        importing.import_challenger(ws, project, file, by="ann", now=now)


@pytest.mark.usefixtures("here")
def test_an_import_waits_for_a_check_that_is_under_way(
    ws: Workspace, project: ProjectInfo, file: Path, now: datetime
) -> None:
    with ws.database.write() as session:
        session.add(
            Lease(name=f"project:{project.id}", owner="x:1", expires_at=datetime.now(UTC) + timedelta(seconds=30))
        )
    with pytest.raises(Busy, match="in progress"):
        importing.import_challenger(ws, project, file, by="ann", now=now)
    with ws.database.write() as session:
        session.execute(update(Lease).values(owner=f"{socket.gethostname()}:{2**22}:1:1"))  # of a process that is gone
    assert importing.import_challenger(ws, project, file, by="ann", now=now).version == 1
