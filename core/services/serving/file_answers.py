"""Predictions for the rows of a file."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.records import ProjectInfo
from core.services.serving.prediction_log import store
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
from core.services.serving.answer_records import PredictionContext, ids_of, records
from core.services.serving.champion_cache import champion
from core.services.serving.predicting import guarded, predict_columns


def predict_file(
    ws: Workspace, project: ProjectInfo, frame: pd.DataFrame, *, now: datetime, log: bool = True
) -> pd.DataFrame:
    """A file's rows with the champion's predictions in front: row_id, prediction, probability, model_version.

    If guards were triggered, a column `guards` lists them, and the prediction is their result.

    Args:
        log: commit the predictions to the prediction log first.

    Raises:
        NoChampion, StorageError, BadInput: no champion, a damaged one, rows that are not valid.
    """
    import pandas as pd

    from core.data.cells import AHEAD
    from core.data.conforming import table_of

    served = champion(ws, project)
    table, _, _ = table_of(frame, served.schema, latest=now + AHEAD)
    predicted = predict_columns(served, table.columns, table.n)
    guard_results = guarded(served, table.columns, predicted)
    rows = records(
        served,
        predicted,
        table.columns,
        PredictionContext(now),
        ids=table.ids,
        times=table.times,
        guarded=guard_results,
    )
    if log:
        store(ws, rows)
    labels = [guard_results[i]["answer"] if i in guard_results else label for i, label in enumerate(predicted.labels)]
    answers: dict[str, Any] = {
        "row_id": ids_of(rows, table.n)[1],
        "prediction": labels,
    }
    if predicted.probabilities is not None:
        withheld = {i for i, result in guard_results.items() if result["action"] != "warn"}
        answers["probability"] = [None if i in withheld else predicted.probability(i) for i in range(len(labels))]
        for k, label in enumerate(predicted.classes):
            own = predicted.probabilities[:, k].tolist()
            answers[f"probability {label}"] = [None if i in withheld else p for i, p in enumerate(own)]
    answers["model_version"] = served.version
    if guard_results:
        answers["guards"] = [
            ", ".join(dict.fromkeys(h["guard"] for h in guard_results[i]["hits"])) if i in guard_results else ""
            for i in range(len(labels))
        ]
    given = frame.reset_index(drop=True).rename(columns={name: f"{name} (given)" for name in answers})
    return pd.concat([pd.DataFrame(answers), given], axis=1)
