"""A project and its versions: a committee of four families, and a line that is quick to fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.learning.models import Committee, fit_family
from core.records import (
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
from core.storage import registry
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
