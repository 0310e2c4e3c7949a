"""Comparing, promoting, going back."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from model_files import fitted, register, rows
from sklearn.dummy import DummyClassifier

from core.errors import BadInput, Conflict, NotFound, StorageError
from core.records import ProjectInfo, as_written
from core.services.ingestion import ingest
from core.services.models import comparing, lifecycle
from core.services.projects import projects
from core.storage import registry
from core.storage.workspace import Workspace

pytestmark = pytest.mark.usefixtures("mlflow_calls")


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
        (1, "promoted", as_written("first")),
        (2, "promoted", as_written("better")),
        (1, "rolled_back", as_written("worse at night")),
    ]


def test_a_damaged_version_cannot_be_made_champion(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    version = register(ws, project, fitted(), now)
    registry.artefact_path(ws, project.id, version).write_bytes(b"damaged")
    registry._loaded.clear()
    with pytest.raises(StorageError):
        lifecycle.promote(ws, project, version, reason="let's see", by="ann", now=now)
    assert projects.project_by_id(ws, project.id).champion is None
