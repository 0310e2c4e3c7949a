"""A model of the user's own: refused by name, opened apart, checked, registered; comparing, promoting, going back."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sqlalchemy import select, update

from core.cycle import run_cycle
from core.errors import BadInput, Busy, Conflict, NotEnoughRows, NotFound, StorageError, TooLarge, UnsupportedFormat
from core.learning.models import Converted
from core.records import Change, ProjectInfo
from core.services.ingestion import ingest, stored_batches
from core.services.models import comparing, importing, lifecycle, sandbox
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import champion_cache, predicting
from core.settings import ROOT
from core.storage import artefacts, mlflow_copy, registry
from core.storage.tables import AuditEntry, Lease
from core.storage.workspace import Workspace


def rows(n: int = 200, *, seed: int = 0) -> pd.DataFrame:
    """Rows whose class is the sign of a, with some noise."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    frame["y"] = np.where(frame.a + 0.3 * rng.normal(size=n) > 0, "up", "down")
    return frame


def fitted(model: Any | None = None, *, target: str = "y") -> Any:
    """A user's own pipeline."""
    frame = rows(seed=1)
    return make_pipeline(StandardScaler(), model or LogisticRegression()).fit(frame[["a", "b"]], frame[target])


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Projects that MLflow was to be told about; the telling itself is the registry's test."""
    found: list[int] = []
    monkeypatch.setattr(mlflow_copy, "sync_in_child", lambda ws, project_id: found.append(project_id))
    return found


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's side without a child: a process for each of many files would take most of the time."""

    def run(what: str, folder: Path) -> int:
        (folder / "answer.json").write_text(json.dumps(sandbox._answer(what, folder)))
        return 0

    monkeypatch.setattr(sandbox, "_run", run)


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """A project with 200 labelled rows."""
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    ingest.ingest_frame(ws, made, rows(), origin="rows.csv", by="test", now=now, target="y")
    return projects.project_by_id(ws, made.id)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good model file."""
    return save(tmp_path / "model.skops", fitted())


def save(path: Path, model: Any) -> Path:
    path.write_bytes(artefacts.dumps(model))
    return path


# --- refusals by name -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.pkl", "model.skops", "model"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_refused_whatever_it_is_called(tmp_path: Path, name: str, protocol: int) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"a": [1, 2.5, "x"]}, protocol=protocol))
    with pytest.raises(UnsupportedFormat, match=r"is a pickle file.*skops\.io\.dump"):
        importing.inspect_import(path)


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_joblib_is_refused_compressed_or_not(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "model.skops"
    joblib.dump(fitted(), path, compress=compress)
    with pytest.raises(UnsupportedFormat, match="is a joblib file"):
        importing.inspect_import(path)


def test_cloudpickle_is_refused_by_content_and_by_name(tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    path = tmp_path / "model.skops"
    path.write_bytes(cloudpickle.dumps(lambda x: x + 1))
    with pytest.raises(UnsupportedFormat, match="is a cloudpickle file"):
        importing.inspect_import(path)
    path = tmp_path / "model.cloudpickle"
    path.write_bytes(b"whatever")
    with pytest.raises(UnsupportedFormat, match="is a cloudpickle file"):
        importing.inspect_import(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a zip"),
        (b"<html></html>", "not a zip"),
        (b"PK\x03\x04broken", "not a zip"),
        (zlib.compress(b"text"), "not a zip"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(content)
    with pytest.raises(UnsupportedFormat, match=told):
        importing.inspect_import(path)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name.replace("_", "."), content)
    return path


def test_archives_that_are_no_skops_or_hold_a_pickle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match=r"no schema\.json"):
        importing.inspect_import(archive(tmp_path / "a.skops", rows_csv=b"1,2"))
    with pytest.raises(UnsupportedFormat, match=r"contains the pickle data\.pkl"):
        importing.inspect_import(archive(tmp_path / "b.skops", data_pkl=b"", schema_json=b"{}"))
    with pytest.raises(BadInput, match="cannot be read"):
        importing.inspect_import(tmp_path / "absent.skops")


def test_a_zip_bomb_and_a_file_beyond_the_limit_are_refused(tmp_path: Path, file: Path) -> None:
    bomb = archive(tmp_path / "bomb.skops", schema_json=b"{}", x_npy=bytes(60_000_000))
    with pytest.raises(TooLarge, match=r"unpacks from 0\.1 MB to 60 MB"):
        importing.inspect_import(bomb)
    with pytest.raises(TooLarge, match=r"expected at most 0\.0 MB"):
        importing.inspect_import(file, max_bytes=100)


# --- the child process ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_inspecting_lists_the_types_and_names_those_from_outside(tmp_path: Path, file: Path) -> None:
    report = importing.inspect_import(file)
    assert report.problems == ()
    assert "sklearn.linear_model._logistic.LogisticRegression" in report.types
    own = save(tmp_path / "own.skops", make_pipeline(FunctionTransformer(json.dumps), StandardScaler()))
    with pytest.raises(BadInput, match=r"json\.dumps, which is not on the list"):
        importing.inspect_import(own)


@pytest.mark.usefixtures("here")
def test_files_that_provoke_the_reader_get_one_clear_answer(tmp_path: Path) -> None:
    for schema in (b"{}", b"[]", b"not json", b'{"protocol": 99, "__class__": "x", "__module__": "y"}'):
        with pytest.raises(BadInput, match="cannot be read as skops"):
            importing.inspect_import(archive(tmp_path / "odd.skops", schema_json=schema))
    listed = importing.inspect_import(save(tmp_path / "list.skops", [1, 2]))
    assert listed.problems == (
        "The file contains a builtins.list, expected a fitted scikit-learn pipeline or estimator.",
    )


@pytest.mark.usefixtures("here")
def test_a_type_of_another_package_is_named(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "foreign.skops"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(path, "w") as made:
        for member in source.namelist():
            made.writestr(member, source.read(member).replace(b"sklearn.linear_model._logistic", b"no_such_package.x"))
    with pytest.raises(BadInput, match=r"no_such_package\.x\.LogisticRegression, which is not on the list"):
        importing.inspect_import(path)


def test_the_child_has_no_secrets_and_its_end_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "not for the child")
    given: list[dict[str, str]] = []
    real = sandbox.subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        given.append(options["env"])
        return real([sys.executable, "-c", "raise SystemExit(7)"], **options)

    monkeypatch.setattr(sandbox.subprocess, "Popen", popen)
    with pytest.raises(BadInput, match=r"without an answer \(exit code 7\)"):
        importing.inspect_import(file)
    assert given and "API_KEY" not in given[0] and "CONTINUAL_HOME" not in given[0]


def test_a_child_that_never_ends_is_stopped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "TIMEOUT_S", 0.01)
    with pytest.raises(BadInput, match="stopped after"):
        importing.inspect_import(file)


APART = """
import encodings.idna, json, os, resource, socket, sys
from pathlib import Path
from core.services.models import sandbox
place, secret = Path(sys.argv[1]), Path(sys.argv[2])
sandbox._leave_privileges(place)
sandbox._limit()
def tried(act):
    try:
        act()
    except OSError:
        return False
    return True
found = {
    "uid": os.getuid(), "back": tried(lambda: os.setuid(0)), "secret": tried(secret.read_bytes),
    "network": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), 5)),
    "large": resource.getrlimit(resource.RLIMIT_FSIZE)[0], "processes": resource.getrlimit(resource.RLIMIT_NPROC)[0],
}
(place / "answer.json").write_text(json.dumps(found))
"""


def test_the_child_of_root_is_nobody_without_a_network(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("API_KEY=x")
    secret.chmod(0o600)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", APART, folder, str(secret), str(server.getsockname()[1])]
        subprocess.run(command, check=True, cwd=folder, env={"PYTHONPATH": str(ROOT)}, timeout=120)
        found = json.loads((Path(folder) / "answer.json").read_text())
    assert found["large"] == 64 * 1024**2
    if sys.platform == "linux" and os.getuid() == 0:  # only root can give its rights away
        assert found["uid"] == sandbox.NOBODY and found["processes"] == 64
        assert not (found["back"] or found["secret"] or found["network"])


def test_only_a_plain_small_file_is_read_as_the_childs_answer(tmp_path: Path) -> None:
    plain, link, pipe, large = (tmp_path / name for name in ("plain", "link", "pipe", "large"))
    plain.write_bytes(b"{}")
    link.symlink_to(plain)
    os.mkfifo(pipe)
    with large.open("wb") as opened:
        opened.truncate(sandbox.MAX_ANSWER_BYTES + 1)
    assert sandbox._read_plain(plain) == b"{}"
    for odd in (link, pipe, large):
        with pytest.raises(OSError):
            sandbox._read_plain(odd)


# --- importing --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_imported_pipeline_is_the_challenger_and_serves_only_when_promoted(
    ws: Workspace, project: ProjectInfo, file: Path, now: datetime, told: list[int]
) -> None:
    version = importing.import_challenger(ws, project, file, by="ann", now=now)
    assert (version.version, version.aliases, version.source) == (1, ("challenger",), "import")
    assert version.family == "imported LogisticRegression"
    assert 0.8 < (version.metrics["accuracy"] or 0) <= 1.0
    assert projects.project_by_id(ws, project.id).champion is None
    lifecycle.promote(ws, project, 1, reason="first", by="ann", now=now)
    assert projects.project_by_id(ws, project.id).champion == 1
    assert told == [project.id, project.id]
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
    ("make", "told"),
    [
        (_Wrong.other_columns, "cannot predict this project's rows: ValueError"),
        (_Wrong.other_classes, "classes are 0, 1; this project's are 'down', 'up'"),
        (_Wrong.endless, "NaN or infinity|cannot predict"),
        (lambda: fitted(LinearSVC()), "has no predict_proba"),
        (lambda: make_pipeline(StandardScaler()).fit(rows()[["a", "b"]]), "has no predict"),
    ],
)
def test_a_model_that_does_not_fit_the_project_is_refused_with_the_reason(
    ws: Workspace, project: ProjectInfo, tmp_path: Path, now: datetime, make: Any, told: str
) -> None:
    path = save(tmp_path / "wrong.skops", make())
    with pytest.raises(BadInput, match=told):
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


# --- comparing, promoting, going back ---------------------------------------------------------------------------


def register(ws: Workspace, project: ProjectInfo, model: Any, now: datetime, *, learnt: bool = True) -> int:
    """Register a model as a race would; by default it has learnt from everything stored so far."""
    assert project.schema is not None
    batches = [b.id for b in stored_batches.list_batches(ws, project.id)[0]] if learnt else []
    return registry.register_version(
        ws,
        project,
        registry.NewVersion(
            model=model,
            family="logistic",
            schema=project.schema,
            X_learnt=rows()[["a", "b"]].head(),
            n_rows=200,
            batch_ids=batches,
            first_at=now if learnt else None,
            last_at=now if learnt else None,
        ),
        Change(by="test", now=now),
    ).version


def test_two_versions_meet_on_rows_that_neither_has_learnt_from(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    frame = rows()
    poor = register(ws, project, DummyClassifier().fit(frame[["a", "b"]], frame["y"]), now)
    good = register(ws, project, fitted(), now)
    nothing = comparing.compare(ws, project, poor, good)
    assert nothing.n == 0 and nothing.difference is None and nothing.challenger.value is None
    fresh = rows(150, seed=9)
    ingest.ingest_frame(ws, project, fresh, origin="new.csv", by="test", now=now + timedelta(hours=1))
    found = comparing.compare(ws, project, poor, good)
    assert found.n == 150 and "150 labelled rows that neither was trained on" in found.rows_from
    right = float(np.mean(fitted().predict(fresh[["a", "b"]]) == fresh["y"]))
    assert found.challenger.value == pytest.approx(right)
    assert found.difference is not None and found.difference.low is not None and found.difference.low > 0
    assert found.p is not None and found.p < 0.001 and found.wins > found.losses
    with pytest.raises(NotFound):
        comparing.compare(ws, project, poor, 9)


def test_promoting_and_going_back_by_hand(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    with pytest.raises(Conflict, match="no earlier champion"):
        lifecycle.rollback(ws, project, reason="worse", by="ann", now=now)
    for _ in range(2):
        register(ws, project, fitted(), now)
    lifecycle.promote(ws, project, 1, reason="first", by="ann", now=now)
    lifecycle.promote(ws, project, 2, reason="better", by="ann", now=now)
    with pytest.raises(Conflict, match="already the champion"):
        lifecycle.promote(ws, project, 2, reason="again", by="ann", now=now)
    with pytest.raises(BadInput, match="reason"):
        lifecycle.promote(ws, project, 1, reason=" ", by="ann", now=now)
    with pytest.raises(NotFound):
        lifecycle.promote(ws, project, 7, reason="which?", by="ann", now=now)
    assert lifecycle.rollback(ws, project, reason="worse at night", by="ann", now=now) == 1
    with ws.database.read() as session:
        spans = registry.serving_spans(session, project.id)
    assert [(s[0], s[3], s[4]) for s in spans] == [
        (1, "promoted", "first"),
        (2, "promoted", "better"),
        (1, "rolled_back", "worse at night"),
    ]


def test_a_damaged_version_cannot_be_made_champion(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    version = register(ws, project, fitted(), now)
    registry.artefact_path(ws, project.id, version).write_bytes(b"damaged")
    registry._loaded.clear()
    with pytest.raises(StorageError):
        lifecycle.promote(ws, project, version, reason="let's see", by="ann", now=now)
    assert projects.project_by_id(ws, project.id).champion is None
