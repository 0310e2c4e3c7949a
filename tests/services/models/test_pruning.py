"""Former champions and rejected challengers: the newest keep their artefact, the others their row."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from core import cli
from core.data.inferring import first_schema
from core.errors import NotFound
from core.learning.models import fit_family
from core.records import Change, ModelVersion, ProjectInfo, as_written
from core.services.models import lifecycle, pruning
from core.services.operations import backup, doctor, tidying
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import registry
from core.storage.tables import AuditEntry, ModelRow, Project
from core.storage.workspace import Workspace


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    return projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)


@pytest.fixture
def register(ws: Workspace, project: ProjectInfo, now: datetime) -> Callable[..., ModelVersion]:
    """Registers a model, another one each time."""
    made = [0]

    def _register(**changes: Any) -> ModelVersion:
        made[0] += 1
        rng = np.random.default_rng(changes.pop("seed", made[0]))
        frame = pd.DataFrame(rng.normal(size=(80, 2)), columns=["a", "b"])
        frame["y"] = np.where(frame.a > 0, "hi", "lo")
        schema, _ = first_schema(
            frame, target="y", id_column=None, time_column=None, task=None, kinds=None, categorical=(), exclude=()
        )
        X, y = frame[["a", "b"]], frame["y"].to_numpy(dtype=object)
        values = {"family": "logistic", "schema": schema, "X_learnt": X, "n_rows": 80, "first_at": now, "last_at": now}
        at = changes.pop("now", now)
        new = registry.NewVersion(model=fit_family("logistic", schema, X, y, seed=0), **{**values, **changes})
        return registry.register_version(ws, project, new, Change(by="test", now=at))

    return _register


def serve(ws: Workspace, project: ProjectInfo, version: int, now: datetime) -> None:
    with ws.database.write() as session:
        registry.record_event(
            session, project.id, version, "promoted", as_written("better"), Change(by="test", now=now)
        )


def with_files(ws: Workspace) -> list[int]:
    """Versions whose artefact and scorer are there."""
    with ws.database.read() as session:
        rows = session.scalars(select(ModelRow).order_by(ModelRow.version)).all()
    there = [(ws.models_path / r.path).is_file() and (ws.models_path / str(r.scorer_path)).is_file() for r in rows]
    gone = [
        not (ws.models_path / r.path).is_file() and not (ws.models_path / str(r.scorer_path)).is_file() for r in rows
    ]
    assert there == [not g for g in gone]
    return [r.version for r, t in zip(rows, there, strict=True) if t]


def test_what_served_waits_or_was_imported_keeps_its_artefact(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime
) -> None:
    for source in ("race", "race", "race", "import", "race", "race", "race", "race", "race"):
        register(source=source)
    for version in (1, 2):
        serve(ws, project, version, now)
    with ws.database.write() as session:
        session.get_one(Project, project.id).shadow_version = 3
    pruned = pruning.prune(ws, project.id, now, by="test", keep_rejected=1)
    assert pruned.versions == (5, 6, 7)  # 8 is the one that is kept, 9 the challenger
    assert pruned.bytes > 0
    assert with_files(ws) == [1, 2, 3, 4, 8, 9]
    assert pruning.prune(ws, project.id, now, by="test", keep_rejected=1).versions == ()
    with ws.database.read() as session:
        versions = registry.list_versions(session, project.id)
        assert session.scalar(select(AuditEntry.after).where(AuditEntry.what == "artefacts removed")) == {
            "versions": [5, 6, 7]
        }
    assert [v.version for v in versions if v.removed_at is not None] == [7, 6, 5]


def test_a_version_without_artefact_says_so_and_cannot_serve(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime
) -> None:
    for _ in range(3):
        register()
    serve(ws, project, 1, now)
    assert pruning.prune(ws, project.id, now, by="test", keep_rejected=0).versions == (2,)
    registry._loaded.clear()
    for ask in (registry.load_model, registry.artefact_path):
        with pytest.raises(NotFound, match="artefact of v2 was removed"):
            ask(ws, project.id, 2)
    with pytest.raises(NotFound, match="artefact of v2 was removed"):
        lifecycle.promote(ws, projects.project_by_id(ws, project.id), 2, by="test", reason="why not", now=now)
    with pytest.raises(NotFound, match="artefact of v2 was removed"):
        serve(ws, project, 2, now)


def test_two_versions_of_the_same_content_share_their_file(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime
) -> None:
    first = register()
    register()
    register()
    with ws.database.write() as session:  # files are named by their content
        session.scalars(select(ModelRow).where(ModelRow.version == 2)).one().path = str(first.path)
    serve(ws, project, 1, now)
    pruning.prune(ws, project.id, now, by="test", keep_rejected=0)
    assert registry.artefact_path(ws, project.id, 1).is_file()


def test_doctor_and_backup_miss_nothing_of_it(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime
) -> None:
    for _ in range(4):
        register()
    serve(ws, project, 1, now)
    pruning.prune(ws, project.id, now, by="test", keep_rejected=0)
    assert next(c for c in doctor.examine(ws, now=now, deep=True) if c.name == "models").ok
    assert backup.backup(ws, ws.settings.home_path.parent / "b.zip", now=now).path.is_file()


def test_former_champions_beyond_those_that_served_last_lose_theirs(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime
) -> None:
    for source in ("race",) * 6 + ("import", "race", "race"):
        register(source=source)
    for version in (1, 2, 3, 4, 7, 5, 3, 6, 8):
        serve(ws, project, version, now)
    # 8 serves, 6 came before it, 1 was the first, 7 was imported, 9 is the challenger; of 3, 5, 4 and 2 two stay
    assert pruning.prune(ws, project.id, now, by="test", keep_former=2).versions == (2, 4)
    assert with_files(ws) == [1, 3, 5, 6, 7, 8, 9]
    assert pruning.prune(ws, project.id, now, by="test", keep_former=0).versions == (3, 5)
    registry._loaded.clear()
    assert lifecycle.rollback(ws, projects.project_by_id(ws, project.id), reason="try", by="test", now=now) == 6
    with pytest.raises(NotFound, match="artefact of v3 was removed"):
        lifecycle.promote(ws, projects.project_by_id(ws, project.id), 3, by="test", reason="why not", now=now)


def test_a_file_whose_process_died_before_it_moved_is_tidied(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime
) -> None:
    for _ in range(3):
        register()
    serve(ws, project, 1, now)
    with ws.database.write() as session:
        (row,) = registry.mark_removed(session, project.id, keep_former=0, keep_rejected=0, now=now)
        names = {row.path, str(row.scorer_path)}
    later = datetime.now(now.tzinfo) + timedelta(days=1)
    assert set(tidying.orphans(ws, later)) == {name.split("/")[1] for name in names}


def test_prune_takes_mlflows_copy_and_shows_the_bytes(
    ws: Workspace, project: ProjectInfo, register: Callable[..., ModelVersion], now: datetime,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for _ in range(4):
        register()
    serve(ws, project, 1, now)
    link = ws.settings.home_path / "mlartifacts/demo/0123/artifacts/model/model.skops"
    link.parent.mkdir(parents=True)
    with ws.database.write() as session:
        row = session.scalars(select(ModelRow).where(ModelRow.version == 2)).one()
        row.run_id = "0123"
    link.hardlink_to(ws.models_path / row.path)
    size = sum((ws.models_path / p).stat().st_size for p in (row.path, str(row.scorer_path)))
    assert pruning.prune(ws, project.id, now, by="test", keep_rejected=2).versions == ()
    assert link.exists()
    assert cli.main(["models", "prune", "--project", "demo", "--keep", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["versions"], printed["bytes"]) == ([2], size)
    assert not link.exists()
    assert cli.main(["models", "list", "--project", "demo"]) == 0
    assert "artefact removed" in capsys.readouterr().out
