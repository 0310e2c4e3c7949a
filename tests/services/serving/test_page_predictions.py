"""What a person asks the champion: answered and logged, and refused to who may not."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import func, select

from core.cycle import run_cycle
from core.errors import BadInput, ContinualError
from core.learning.policy import policy_named
from core.records import ProjectInfo
from core.services.access import accounts
from core.services.access.actors import Actor
from core.services.ingestion import ingest
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import champion_cache, guarding, page_predictions
from core.services.serving.guards import Guards
from core.storage.tables import Prediction
from core.storage.workspace import Workspace


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def trained(ws: Workspace, now: datetime, task: Literal["binary", "regression"] = "binary") -> ProjectInfo:
    """A project with a champion of 200 rows."""
    policy = policy_named("balanced", families=("ridge" if task == "regression" else "logistic",))
    made = projects.create_project(ws, "Asked", Origin(source="file", task=task), by="test", now=now, policy=policy)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
    value = frame["a"] + frame["b"]
    frame["y"] = value if task == "regression" else np.where(value > 0, "up", "down")
    ingest.ingest_frame(ws, made, frame, origin="first", by="test", now=now, target="y", task=task)
    run_cycle(ws, made.id, cause="cli", now=now)
    return projects.project_by_id(ws, made.id)


def logged(ws: Workspace) -> int:
    with ws.database.read() as session:
        return session.scalar(select(func.count()).select_from(Prediction)) or 0


def test_a_row_is_answered_logged_and_explained(ws: Workspace, now: datetime) -> None:
    project = trained(ws, now)
    served = champion_cache.champion(ws, project)
    reported = page_predictions.predict_row(ws, served, {"a": 2.0, "b": 1.0}, by="test", now=now)
    assert (reported.label, reported.target, reported.version, reported.project_id) == (
        "up",
        "y",
        project.champion,
        project.id,
    )
    assert reported.chance == max(reported.chances) and sum(reported.chances) == pytest.approx(1.0)
    assert reported.why.of == "up" and {name for name, _, _ in reported.why.contributions} == {"a", "b"}
    assert (reported.guarded, reported.withheld, logged(ws)) == (None, False, 1)


def test_a_number_has_no_chances(ws: Workspace, now: datetime) -> None:
    served = champion_cache.champion(ws, trained(ws, now, "regression"))
    reported = page_predictions.predict_row(ws, served, {"a": 1.0, "b": 1.0}, by="test", now=now)
    assert reported.label == pytest.approx(2.0, abs=0.2)
    assert (reported.chances, reported.chance) == ((), None)


@pytest.mark.parametrize(("action", "withheld"), [("warn", False), ("abstain", True)])
def test_what_guards_say_goes_with_the_answer(
    ws: Workspace, now: datetime, action: Literal["warn", "abstain"], withheld: bool
) -> None:
    project = trained(ws, now)
    guarding.set_guards(ws, project, Guards(out_of_range=action), by="test", now=now)
    reported = page_predictions.predict_row(
        ws, champion_cache.champion(ws, project), {"a": 900.0, "b": 0.0}, by="test", now=now
    )
    assert reported.guarded is not None and reported.withheld == withheld
    assert reported.label == "up", "the model's own word"


def test_a_file_is_answered_and_logged(ws: Workspace, now: datetime) -> None:
    project = trained(ws, now)
    found = page_predictions.predict_file(
        ws, project, pd.DataFrame({"a": [1.0, -1.0], "b": [1.0, -1.0]}), by="test", now=now
    )
    assert found["prediction"].tolist() == ["up", "down"] and logged(ws) == 2


def test_who_may_not_and_what_cannot_be_taken_leave_no_trace(ws: Workspace, now: datetime) -> None:
    project = trained(ws, now)
    served = champion_cache.champion(ws, project)
    vera = accounts.create_user(ws, "vera", "a long enough one", "viewer", by="test", now=now)
    viewer = Actor(vera.name, vera.uid, vera.epoch)
    with pytest.raises(ContinualError, match="viewer"):
        page_predictions.predict_row(ws, served, {"a": 1.0, "b": 1.0}, by=viewer, now=now)
    with pytest.raises(ContinualError, match="viewer"):
        page_predictions.predict_file(ws, project, pd.DataFrame({"a": [1.0], "b": [1.0]}), by=viewer, now=now)
    with pytest.raises(BadInput, match="a"):
        page_predictions.predict_row(ws, served, {"a": "far", "b": 1.0}, by="test", now=now)
    assert logged(ws) == 0
