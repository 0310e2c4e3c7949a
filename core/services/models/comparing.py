"""Two versions on the newest labelled rows that neither was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from core.records import Comparison, FeatureSchema, ProjectInfo, Score, because
from core.services.serving import champion_cache, predicting
from core.storage import history, registry
from core.storage.tables import ModelRow
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    from core.performance.paired import ModelOutput
from core.services.models.conditions import schema_of

COMPARE_ROWS = 2_000


def compare(ws: Workspace, project: ProjectInfo, a: int, b: int) -> Comparison:
    """Version b (as challenger) against version a on the newest labelled rows that neither was trained on.

    Raises:
        NotFound, StorageError: no such version, or a damaged one.
    """
    import numpy as np

    from core.performance.paired import paired

    schema = schema_of(project)
    metric = project.policy.metric
    X, y, description = _unseen_rows(ws, project, schema, (a, b))
    if not len(y):
        nothing = Score(metric=metric, value=None, n=0, reason=because("no_row_new_to_both"))
        return Comparison(
            n=0, metric=metric, champion=nothing, challenger=nothing, difference=None, rows_from=description
        )
    scores, row_scores, outputs = [], [], []
    for version in (a, b):
        served = champion_cache.served_by(project.id, version, registry.load_model(ws, project.id, version), schema)
        score, row_score, answers = _evaluated(served, X, y, metric)
        scores.append(score)
        row_scores.append(row_score)
        outputs.append(answers)
    wins, losses = int(np.sum(row_scores[1] > row_scores[0])), int(np.sum(row_scores[0] > row_scores[1]))
    test = paired(schema.task, metric, y, outputs[1], outputs[0])
    return Comparison(
        n=len(y),
        metric=metric,
        champion=scores[0],
        challenger=scores[1],
        difference=test.difference,
        wins=wins,
        losses=losses,
        p=test.p,
        test=test.test,
        rows_from=description,
    )


def _evaluated(served: champion_cache.Served, X: Any, y: Any, metric: str) -> tuple[Score, Any, ModelOutput]:
    """The metric, each row's score (1 if correct, or minus the error), and the predictions."""
    import numpy as np

    from core.performance.paired import ModelOutput
    from core.performance.realised import measure

    predicted = predicting.predict(served, X)
    if served.schema.task == "regression":
        values = np.array(predicted.labels)
        return (
            measure("regression", y, values, metrics=[metric]).score(metric),
            -np.abs(y - values),
            ModelOutput(answers=values),
        )
    labels = np.empty(len(y), dtype=object)
    labels[:] = predicted.labels
    report = measure(served.schema.task, y, labels, predicted.probabilities, predicted.classes, metrics=[metric])
    answers = ModelOutput(answers=labels, proba=predicted.probabilities, classes=predicted.classes or ())
    return report.score(metric), (labels == y).astype(float), answers


def _unseen_rows(
    ws: Workspace, project: ProjectInfo, schema: FeatureSchema, versions: tuple[int, int]
) -> tuple[Any, Any, str]:
    """Features and labels of rows newer than the training rows of both versions, and a description of these rows."""
    import numpy as np
    import pandas as pd

    with ws.database.read() as session:
        for version in versions:
            registry.get_version(session, project.id, version)
        made = session.execute(
            select(ModelRow.version, ModelRow.batch_ids, ModelRow.source).where(
                ModelRow.project_id == project.id, ModelRow.version.in_(versions)
            )
        ).all()
    learnt = {batch_id for row in made for batch_id in row.batch_ids or ()}
    newest = max(learnt, default=0)
    reader = history.History(ws, project.id, schema)
    frames: list[Any] = []
    labels: list[Any] = []
    n_rows = 0
    for batch in reader.measured:
        if n_rows >= COMPARE_ROWS:
            break
        if batch.id <= newest or batch.id in learnt:
            continue
        frame, y = reader.frame(batch)
        mask = history.is_labelled(y, schema.task)
        at = np.flatnonzero(mask)[-(COMPARE_ROWS - n_rows) :]
        frames.insert(0, frame.iloc[at][list(schema.names)])
        labels.insert(0, y[at])
        n_rows += len(at)
    description = f"the newest {n_rows:,} labelled rows that neither was trained on"
    imported = [f"v{row.version}" for row in made if row.source == "import"]
    if imported:
        description += f"; the training rows of {' and '.join(imported)} before the import are not known"
    if not n_rows:
        return pd.DataFrame(columns=list(schema.names)), np.empty(0), description
    return pd.concat(frames, ignore_index=True), np.concatenate(labels), description
