"""Estimated scores of the serving model on rows without labels, later compared with the labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.records import ROW_TIME, EstimateGrade, FeatureSchema, ProjectInfo, Score, Task, estimated_metrics
from core.services.monitoring import monitoring
from core.storage import history
from core.storage.tables import Batch, EstimateRun
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

REFERENCE_ROWS = 2_000  # newest labelled rows that the estimator is fitted on
LEAST_ROWS = 100  # minimum labelled rows for an estimate
CHUNK_ROWS = 5_000  # newest rows of a batch that are looked at


def estimate_batches(
    ws: Workspace, project: ProjectInfo, reader: history.History, batches: Sequence[Batch], *, now: datetime, seed: int
) -> list[EstimateRun]:
    """Estimated scores of each new batch, from its predictions and the labelled rows of every other batch.

    The labels of the batches themselves are not used, so the estimate can be graded by
    them. Rows of the result are not stored yet. Nothing is estimated below LEAST_ROWS labelled rows.
    """
    schema = project.schema
    scored = [b for b in batches if b.scores_path is not None]
    if schema is None or not scored:
        return []
    known = monitoring.labelled_rows(reader, n=REFERENCE_ROWS, but=frozenset(b.id for b in batches))
    if known is None or len(known.y_true) < LEAST_ROWS:
        return []
    import numpy as np

    from core.performance.estimated import fit_estimator

    loaded = [(b, reader.scores(b, last=CHUNK_ROWS)) for b in scored]
    classes = _classes(known, [s for _, s in loaded if s is not None], schema)
    task = _task(schema, classes)
    probabilities = known.y_proba
    if probabilities is not None and classes != known.classes:  # a class that no model knew then has no chance
        probabilities = np.column_stack(
            [
                probabilities[:, known.classes.index(c)] if c in known.classes else np.zeros(len(known.y_true))
                for c in classes
            ]
        )
    table = _table(known.X, known.y_pred, probabilities, classes, schema)
    table["y_true"] = _codes(known.y_true, classes, schema)
    estimator = fit_estimator(table, task=task, seed=seed)
    runs = []
    seen = project.rows - sum(b.rows for b in batches)
    answers = {b.id: s for b, s in loaded if s is not None and all(v is not None for v in s.labels)}
    for batch in batches:
        seen += batch.rows
        scores = answers.get(batch.id)
        if scores is None:
            continue
        read = reader.frame_or_none(batch, last=CHUNK_ROWS)
        if read is None:
            continue
        frame = read[0]
        proba = monitoring.align(scores, classes) if scores.probabilities is not None else None
        chunk = _table(frame[list(schema.names)], scores.labels, proba, classes, schema)
        versions = set(scores.versions.tolist())
        runs.append(
            EstimateRun(
                project_id=project.id,
                batch_id=batch.id,
                model_version=versions.pop() if len(versions) == 1 else None,
                n=len(chunk),
                rows_seen=seen,
                at=frame[ROW_TIME].max().to_pydatetime(),
                created_at=now,
                scores={
                    metric: _score(metric, estimator.estimate(chunk, metric), len(chunk))
                    for metric in estimated_metrics(task)
                },
            )
        )
    return runs


def newest_estimate(
    ws: Workspace, project: ProjectInfo, runs: Sequence[EstimateRun], metric: str
) -> tuple[Score | None, bool | None]:
    """The estimate of a metric on the newest batch, and whether earlier estimates were confirmed.

    Its band is as wide as the graded ones show it should be.
    """
    from core.performance.estimated import widened

    if not runs:
        return None, None
    estimate = runs[-1].scores.get(metric)
    if estimate is None or estimate.value is None:
        return None, None
    past = monitoring.estimates(ws, project.id, limit=50)
    grade = past[-1].trust.get(metric, EstimateGrade()) if past else EstimateGrade()
    return widened(estimate, grade.width), grade.trusted


def _score(metric: str, estimate: Any, n: int) -> Score:
    return Score(
        metric=metric, value=estimate.value, low=estimate.low, high=estimate.high, n=n, method="estimated, 95 % band",
        reason=estimate.reason,
    )  # fmt: skip


def _task(schema: FeatureSchema, classes: Sequence[Any]) -> Task:
    if schema.task == "regression":
        return "regression"
    return "binary" if len(classes) == 2 else "multiclass"


def _classes(
    known: monitoring.PredictedLabels, scores: Sequence[history.Scores], schema: FeatureSchema
) -> tuple[Any, ...]:
    """Every class that a label, a prediction or a model names; empty in regression."""
    if schema.task == "regression":
        return ()
    classes = {*known.classes, *known.y_true.tolist(), *known.y_pred.tolist()}
    for s in scores:
        classes.update([*s.classes, *(v for v in s.labels.tolist() if v is not None)])
    return tuple(sorted(classes, key=lambda c: (str(type(c)), c)))


def _table(
    X: pd.DataFrame, y_pred: Any, proba: np.ndarray | None, classes: Sequence[Any], schema: FeatureSchema
) -> pd.DataFrame:
    """Rows in the estimator's form: features, the predicted class by its number, a probability a class."""
    table = X.rename(columns={name: f"x:{name}" for name in X.columns}).reset_index(drop=True)
    table["y_pred"] = _codes(y_pred, classes, schema)
    if proba is not None and len(classes) == 2:
        table["p"] = proba[:, 1]
    elif proba is not None and schema.task != "regression":
        table[[f"p_{k}" for k in range(len(classes))]] = proba
    return table


def _codes(values: Any, classes: Sequence[Any], schema: FeatureSchema) -> np.ndarray:
    import numpy as np

    if schema.task == "regression":
        return np.asarray(values, dtype=np.float64)
    place = {c: k for k, c in enumerate(classes)}
    return np.array([place[v] for v in np.asarray(values, dtype=object).tolist()])
