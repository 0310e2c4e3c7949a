"""Models of users: rows, pipelines, files, registered versions."""

from __future__ import annotations

import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.records import Change, ProjectInfo
from core.services.ingestion import stored_batches
from core.storage import artefacts, registry
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


def save(path: Path, model: Any) -> Path:
    path.write_bytes(artefacts.dumps(model))
    return path


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name.replace("_", "."), content)
    return path


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
