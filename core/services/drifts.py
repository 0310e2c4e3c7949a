"""One drift check of a project: every feature, all of them together, and what the change is, since when and at what cost."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.drift.encode import one_thread
from core.errors import NotEnoughRows
from core.records import ROW_TIME, DriftReport, FeatureSchema, ProjectInfo
from core.services import monitoring, windows
from core.services.windows import Rows
from core.storage import history
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from core.drift.explain import Segment
    from core.services.serving import Predicted

LOOKED_BACK = 40  # batches in which the beginning of a change is looked for
JUDGED_ROWS = 2_000  # newest labelled rows on which the cost of a change is measured
TOGETHER_ROWS = 2_000  # of the reference, that the new rows are told from
IMPORTANCE_ROWS = 500  # newest rows of each window in which features are shuffled
IMPORTANCE_FEATURES = 50  # that are shuffled, those of the largest effect; each costs a prediction of all those rows
REPEATS = 2
SEED = 0

Answer = Callable[["pd.DataFrame"], "Predicted"]


@one_thread()
def check(ws: Workspace, project: ProjectInfo, current_ids: set[int], answer: Answer) -> DriftReport | None:
    """Drift of the given batches against what the champion learnt from; None without a champion or without rows.

    Args:
        answer: the champion's predictions for rows with the schema's features.

    What is costly (telling the windows apart, the segment, the importance of features) is left out of small windows, and the
    last two where nothing drifted.
    """
    from core.drift.univariate import measure_drift

    schema = project.schema
    if schema is None:
        return None
    reader = history.History(ws, project.id, schema)
    sides = windows.reference_and_current(ws, project, current_ids=current_ids, reader=reader)
    if sides is None:
        return None
    reference, current = sides
    before, answered = answer(reference.frame).labels, answer(current.frame).labels
    residuals = _residuals(ws, project, current, answered, frozenset(current_ids))
    report = measure_drift(
        reference.frame,
        current.frame,
        schema,
        alpha=project.policy.drift_alpha,
        gate=project.policy.drift_gate,
        gates=windows.gates_of(ws, project, reference, len(current.frame)),
        reference_window=reference.window,
        current_window=current.window,
        pred_reference=before,
        pred_current=answered,
        y_reference=reference.y,
        y_current=current.y,
        residual_reference=residuals[0],
        residual_current=residuals[1],
    )
    report = dataclasses.replace(report, **_together(reference, current, schema))
    moved = report.drifted or any(d and d["drifted"] for d in (report.multivariate, report.reconstruction))
    if not moved:
        return report
    importance, attribution = None, None
    with contextlib.suppress(NotEnoughRows):  # a window too small for shuffling still has its drift report
        importance, attribution = _attribution(reference, current, schema, answer, report)
    sentence, segment = _explained(ws, project, reader, reference, current)
    return dataclasses.replace(
        report, importance=importance, attribution=attribution, explanation=sentence, segment=segment
    )


def _residuals(
    ws: Workspace, project: ProjectInfo, current: Rows, answered: Any, current_ids: frozenset[int]
) -> tuple[Any, Any]:
    """Label minus what was predicted before it was known: of earlier rows, and of the new ones; nothing for classes.

    The reference's own rows would not do: the champion has learnt from them, and leaves little over there.
    """
    import numpy as np

    if project.task != "regression":
        return None, None
    earlier = monitoring.labelled_with_predictions(ws, project, n=JUDGED_ROWS, but=current_ids)
    if earlier is None:
        return None, None
    now = np.asarray(current.y, dtype=np.float64) - np.asarray(answered, dtype=np.float64)
    return earlier.y_true.astype(np.float64) - np.asarray(earlier.y_pred, dtype=np.float64), now


def _together(reference: Rows, current: Rows, schema: FeatureSchema) -> dict[str, Any]:
    """All features at once: can the windows be told apart, and does the old structure still fit?"""
    from core.drift.multivariate import domain_classifier, pca_reconstruction

    before = reference.frame
    if len(before) > TOGETHER_ROWS:
        before = before.sample(TOGETHER_ROWS, random_state=SEED).sort_index()
    found: dict[str, Any] = {"reconstruction": pca_reconstruction(reference.frame, current.frame, schema, seed=SEED)}
    try:
        found["multivariate"] = domain_classifier(before, current.frame, schema, seed=SEED)
    except NotEnoughRows:
        found["multivariate"] = None
    return found


def _attribution(
    reference: Rows, current: Rows, schema: FeatureSchema, answer: Answer, report: DriftReport
) -> tuple[dict[str, float], dict[str, Any]]:
    """What each feature is worth to the champion's answers in both windows; of many, those that drifted furthest.

    Held against its own answers, not against labels: it learnt from the reference, whose labels it would flatter.
    """
    from core.drift.attribution import attribution_drift, permutation_importance

    names = list(schema.names)
    furthest = sorted(report.scores, key=lambda s: (not s.drifted, -(s.effect or 0.0)))
    weighed = [s.name for s in furthest[:IMPORTANCE_FEATURES]]
    found = []
    for side in (reference, current):
        rows = side.frame[names].tail(IMPORTANCE_ROWS).reset_index(drop=True)
        given = answer(rows)
        classes = tuple(given.classes or ())
        chances = (lambda X: answer(X).probabilities) if given.probabilities is not None else None
        found.append(
            permutation_importance(
                lambda X: answer(X).labels,
                rows,
                given.labels,
                dataclasses.replace(schema, classes=classes or schema.classes),
                predict_proba=chances,
                repeats=REPEATS,
                only=weighed,
                seed=SEED,
            )
        )
    told = dataclasses.asdict(attribution_drift(*found)) | {"weighed": len(weighed), "features": len(names)}
    if len(weighed) < len(names):
        told["finding"] += (
            f" (of the {len(weighed)} features that drifted furthest; the other {len(names) - len(weighed):,} are not weighed)"
        )
    return {name: value.mean for name, value in found[1].items()}, told


def _explained(
    ws: Workspace, project: ProjectInfo, reader: history.History, reference: Rows, current: Rows
) -> tuple[str | None, dict[str, Any] | None]:
    """The sentence and its figures; None when no segment holds most of the change."""
    from core.drift.explain import find_segment, tell

    assert project.schema is not None
    segment = find_segment(reference.frame, current.frame, project.schema, seed=SEED)
    if segment is None:
        return None, None
    began = _since(reader, segment)
    inside, outside, n = _cost(ws, project, segment)
    metric = "mae" if project.schema.task == "regression" else "accuracy"
    sentence = tell(
        segment, since=_day(began) if began is not None else None, score_inside=inside, score_outside=outside,
        n_inside=n, metric=metric,
    )  # fmt: skip
    return sentence, {
        **dataclasses.asdict(segment),
        "since": began.isoformat() if began is not None else None,
        "n": n,
        "inside": inside,
        "outside": outside,
        "metric": metric,
    }


def _since(reader: history.History, segment: Segment) -> datetime | None:
    """When the first of the batches arrived from which on the segment holds more rows than in the reference."""
    from core.drift.explain import in_segment, since

    features = list(dict.fromkeys(condition[0] for condition in segment.conditions))
    shares = []
    for batch in reader.measured[:LOOKED_BACK][::-1]:
        read = reader.frame_or_none(batch, features=features, last=windows.WINDOW_ROWS)
        if read is None:
            continue
        frame = read[0]
        inside = in_segment(frame, segment)
        shares.append((frame[ROW_TIME].min().to_pydatetime(), float(inside.mean()) if len(frame) else 0.0, len(frame)))
    first = since(shares, reference=segment.before)
    # Where it is as old as what was looked at, when it began cannot be told.
    return None if first is None or (first == 0 and len(reader.measured) > LOOKED_BACK) else shares[first][0]


def _cost(ws: Workspace, project: ProjectInfo, segment: Segment) -> tuple[float | None, float | None, int]:
    """Accuracy (or mean absolute error) inside and outside the segment on the newest judged rows, and how many are inside."""
    import numpy as np

    from core.drift.explain import in_segment

    judged = monitoring.labelled_with_predictions(ws, project, n=JUDGED_ROWS)
    if judged is None or project.schema is None:
        return None, None, 0
    inside = in_segment(judged.X, segment)
    if project.schema.task == "regression":
        merit = np.abs(judged.y_true.astype(float) - judged.y_pred)
    else:
        merit = (judged.y_true == judged.y_pred).astype(float)
    n = int(inside.sum())
    if n == 0 or n == len(merit):
        return None, None, n
    return float(merit[inside].mean()), float(merit[~inside].mean()), n


def _day(at: datetime) -> str:
    """`3 May, 14:05 UTC`."""
    return f"{at.day} {at:%b, %H:%M} UTC"
