"""Predictions of a version for stored rows; the champion predicts a new batch before anything is learnt from it.

The predictions of a batch are stored next to its rows. Out of scope: how good they were (`core.cycle.measure`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger
from sqlalchemy import update

from core.records import FeatureSchema, ProjectInfo
from core.services.serving import champion_cache, predicting
from core.storage import history, registry
from core.storage.tables import Batch
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def score_batch(ws: Workspace, project: ProjectInfo, reader: history.History, batch: Batch) -> Exception | None:
    """Stores the champion's predictions for a new batch next to its rows, before anything is learnt from it.

    A batch that it cannot predict is set aside, and the error is returned. The error alone does not show whether the model
    can predict at all: it is given a row without any value first, and an error on that one is raised.
    """
    assert project.schema is not None and project.champion is not None
    frame, _ = reader.frame(batch)
    try:
        predicted = predict(ws, project, project.champion, frame)
    except Exception as error:
        predict(ws, project, project.champion, _blank_row(project.schema))
        logger.opt(exception=error).warning("batch {number} could not be scored", number=batch.number)
        with ws.database.write() as session:
            marked = update(Batch).where(Batch.id == batch.id, Batch.scores_path.is_(None))
            session.execute(marked.values(scored_by=project.champion))
        batch.scored_by = project.champion
        return error
    name = batch.path.removesuffix(".parquet") + "-scores.parquet"
    sha256 = history.write_scores(
        ws, name, predicted.labels, predicted.probabilities, predicted.classes, [project.champion] * len(frame)
    )
    with ws.database.write() as session:
        session.execute(
            update(Batch)
            .where(Batch.id == batch.id, Batch.scores_path.is_(None))
            .values(scores_path=name, scores_sha256=sha256, scored_by=project.champion)
        )
    batch.scores_path, batch.scores_sha256, batch.scored_by = name, sha256, project.champion
    return None


def _blank_row(schema: FeatureSchema) -> pd.DataFrame:
    """One row with every feature missing."""
    import pandas as pd

    missing = {
        f.name: pd.Series([None], dtype="float64" if f.kind == "numeric" else "str") for f in schema.features
    }  # fmt: skip
    return pd.DataFrame(missing)


def predict(ws: Workspace, project: ProjectInfo, version: int, frame: pd.DataFrame) -> predicting.Predicted:
    """A version's predictions for stored rows."""
    assert project.schema is not None
    model = registry.load_model(ws, project.id, version)
    served = champion_cache.served_by(project.id, version, model, project.schema)
    return predicting.predict(served, frame[list(project.schema.names)])


def typed(y: np.ndarray) -> np.ndarray:
    """Known labels in an array of their natural dtype, as estimators need them; stored ones are objects."""
    import numpy as np

    return np.array(y.tolist()) if y.dtype == object and len(y) else y
