"""Versions: stored whole or not at all, exact after storing, named by the events which of them served when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import limit

from core.errors import Conflict, NotFound, StorageError
from core.learning.models import Committee
from core.records import (
    NO_REASON,
    Change,
    ModelVersion,
    ProjectInfo,
)
from core.storage import artefacts, registry
from core.storage.workspace import Workspace
from tests.storage.conftest import rows, serve


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


def test_importing_registry_and_services_imports_neither_mlflow_nor_sklearn(tmp_path: Path) -> None:

    modules = "('mlflow', 'sklearn', 'scipy')"
    code = f"import sys, core.storage.registry, core.services.serving.champion_cache, core.services.serving.predicting; print([m for m in {modules} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=limit(60))
    assert found.stdout.strip() == "[]"
