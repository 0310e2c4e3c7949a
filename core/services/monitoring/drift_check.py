"""One drift check of a project: every feature, all of them together, and what the change is, since when and at what cost.

Like is compared with like: a model predicts its training rows differently from new ones, even without drift. So
predictions (and residuals) are those of **one version**, to rows that are newer than all that it learnt from, in both windows. It is
the champion once it has served long enough; where each batch brings a new champion, it is the newest former one that has.
Comparing what was served at the time would take a better model for drift; rows held back from a race are too few.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.drift.encode import one_thread
from core.drift.rules import DriftRules, Targets
from core.errors import BadInput, Damaged, NotEnoughRows
from core.records import (
    ROW_TIME,
    AttributionDrift,
    ChangedSegment,
    DriftReport,
    DriftScore,
    FeatureSchema,
    ProjectInfo,
    Reason,
    Task,
    because,
    row_metric,
)
from core.services.monitoring import monitoring, windows
from core.services.monitoring.windows import Rows
from core.storage import history
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from core.drift.attribution import Importance
    from core.drift.explain import Segment
    from core.services.serving.predicting import Predicted

BATCHES_BACK = 40  # batches in which the start of a change is searched
JUDGED_ROWS = 2_000  # newest labelled rows on which the cost of a change is measured
TOGETHER_ROWS = 2_000  # rows of the reference with which the new rows are compared
IMPORTANCE_ROWS = 500  # newest rows of each window in which features are shuffled
IMPORTANCE_FEATURES = 50  # that are shuffled, those of the largest effect; each costs a prediction of all those rows
REPEATS = 2
SEED = 0

Answer = Callable[["pd.DataFrame"], "Predicted"]
AnswerOf = Callable[[int, "pd.DataFrame"], "Predicted"]  # of a version


@one_thread()
def check(
    ws: Workspace, project: ProjectInfo, reader: history.History, current_ids: set[int], answer_of: AnswerOf
) -> DriftReport | None:
    """Drift of the given batches against the champion's training rows; None without a champion or without rows.

    Args:
        answer_of: a version's predictions for rows with the schema's features.

    What is costly (the domain classifier, the segment, the importance of features) is left out of small windows, and the
    last two where nothing drifted.
    """
    from core.drift.univariate import measure_drift

    schema, champion = project.schema, project.champion
    if schema is None or champion is None:
        return None
    sides = windows.reference_and_current(ws, project, current_ids=current_ids, reader=reader)
    if sides is None:
        return None
    reference, current = sides
    compared = _compared_predictions(ws, project, reader, current, current_ids, answer_of)
    gates = windows.gates_of(ws, project, reference, len(current.frame))
    report = measure_drift(
        reference.frame,
        current.frame,
        schema,
        rules=DriftRules(alpha=project.policy.drift_alpha, gate=project.policy.drift_gate, gates=gates),
        targets=_targets(reference, current, compared, project.task),
        windows=(reference.window, current.window),
    )
    report = _with_compared_predictions(report, compared, project.task)
    report = _with_all_together(report, reference, current, schema)
    drifted = report.drifted or any(d is not None and d.drifted for d in (report.multivariate, report.reconstruction))
    if not drifted:
        return report
    importance, attribution = None, None
    with contextlib.suppress(NotEnoughRows):  # a window too small for shuffling still has its drift report
        shuffled = _most_drifted(report)
        importances = _importances(current, schema, lambda frame: answer_of(champion, frame), shuffled)
        importance = {name: value.mean for name, value in importances.items()}
        if compared is not None:
            attribution = _attribution(
                compared, importances if compared.version == champion else None, schema, answer_of, shuffled
            )
    explanation, segment = _explained(reader, reference, current)
    return dataclasses.replace(
        report, importance=importance, attribution=attribution, explanation=explanation, segment=segment
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _ComparedPredictions:
    """One version's predictions for rows that it was not trained on: earlier ones, and the new ones."""

    version: int
    earlier: Rows
    current: Rows
    before: Any
    now: Any


def _targets(reference: Rows, current: Rows, compared: _ComparedPredictions | None, task: Task | None) -> Targets:
    """Labels and predictions of both windows; for regression also the residuals."""
    import numpy as np

    labels = (reference.y, current.y)
    if compared is None:
        return Targets(labels=labels)
    residuals: tuple[Any, ...] = (None, None)
    if task == "regression":
        pairs = ((compared.earlier, compared.before), (compared.current, compared.now))
        residuals = tuple(
            np.asarray(rows.y, dtype=np.float64) - np.asarray(given, dtype=np.float64) for rows, given in pairs
        )
    return Targets(labels=labels, predictions=(compared.before, compared.now), residuals=(residuals[0], residuals[1]))


def _compared_predictions(
    ws: Workspace,
    project: ProjectInfo,
    reader: history.History,
    current: Rows,
    current_ids: set[int],
    answer_of: AnswerOf,
) -> _ComparedPredictions | None:
    """Of the newest version that can be asked and has enough rows; None where there is none yet."""
    for version, earlier in windows.unseen_rows_by_version(ws, project, current_ids, reader):
        try:
            before, now = answer_of(version, earlier.frame).labels, answer_of(version, current.frame).labels
        except (BadInput, Damaged):  # a former champion that is damaged, or has other columns
            continue
        return _ComparedPredictions(version, earlier, current, before, now)
    return None


def _with_compared_predictions(
    report: DriftReport, compared: _ComparedPredictions | None, task: Task | None
) -> DriftReport:
    """The report with the version and rows whose predictions were compared, or why none could be."""
    names = ("prediction", "residual") if task == "regression" else ("prediction",)
    scores: dict[str, Any] = {}
    for name in names:
        score: DriftScore | None = getattr(report, name)
        if compared is None:
            scores[name] = DriftScore(
                name=name, kind=name, drifted=False, statistic=None, p_value=None, effect=None, judged=False,
                reason=because("not_judged", why=because("too_few_answers", needed=windows.MIN_PREDICTIONS)),
            )  # fmt: skip
        elif score is not None:
            rows = len(compared.earlier.frame)
            reason = because("answers_compared", found=score.reason, version=compared.version, rows=rows)
            scores[name] = dataclasses.replace(score, reason=reason)
    return dataclasses.replace(report, **scores)


def _with_all_together(report: DriftReport, reference: Rows, current: Rows, schema: FeatureSchema) -> DriftReport:
    """The report with all features at once: are the windows distinguishable, and does the old structure still fit?"""
    from core.drift.multivariate import domain_classifier, pca_reconstruction

    before = reference.frame
    if len(before) > TOGETHER_ROWS:
        before = before.sample(TOGETHER_ROWS, random_state=SEED).sort_index()
    structure = pca_reconstruction(reference.frame, current.frame, schema, seed=SEED)
    classifier = None
    with contextlib.suppress(NotEnoughRows):
        classifier = domain_classifier(before, current.frame, schema, seed=SEED)
    return dataclasses.replace(report, multivariate=classifier, reconstruction=structure)


def _most_drifted(report: DriftReport) -> list[str]:
    """The features that are shuffled: those that drifted furthest, where there are many."""
    order = sorted(report.scores, key=lambda s: (not s.drifted, -(s.effect or 0.0)))
    return [s.name for s in order[:IMPORTANCE_FEATURES]]


def _importances(rows: Rows, schema: FeatureSchema, answer: Answer, shuffled: Sequence[str]) -> dict[str, Importance]:
    """The importance of each of these features for a version's predictions on the newest rows of a window."""
    from core.drift.attribution import Shuffles, permutation_importance

    X = rows.frame[list(schema.names)].tail(IMPORTANCE_ROWS).reset_index(drop=True)
    predicted = answer(X)
    chances = (lambda frame: answer(frame).probabilities) if predicted.probabilities is not None else None
    known = dataclasses.replace(schema, classes=tuple(predicted.classes or ()) or schema.classes)
    shuffling = Shuffles(seed=SEED, repeats=REPEATS, only=shuffled)
    return permutation_importance(
        lambda frame: answer(frame).labels, X, predicted.labels, known, shuffling, predict_proba=chances
    )


def _attribution(
    compared: _ComparedPredictions,
    now: dict[str, Importance] | None,
    schema: FeatureSchema,
    answer_of: AnswerOf,
    shuffled: Sequence[str],
) -> AttributionDrift:
    """The importance of each feature for one version's predictions then and now, on rows that it was not trained on.

    Measured against its own predictions, so that rows without labels count too.
    """
    from core.drift.attribution import attribution_drift

    def answer(frame: pd.DataFrame) -> Predicted:
        return answer_of(compared.version, frame)

    before = _importances(compared.earlier, schema, answer, shuffled)
    drift = attribution_drift(before, now or _importances(compared.current, schema, answer, shuffled))
    n_shuffled, features = len(shuffled), len(schema.names)
    finding = Reason(drift.finding.code, {**drift.finding.numbers, "weighed": n_shuffled, "features": features})
    return dataclasses.replace(drift, finding=finding, version=compared.version, weighed=n_shuffled, features=features)


def _explained(reader: history.History, reference: Rows, current: Rows) -> tuple[Reason | None, ChangedSegment | None]:
    """The sentence and its figures; None when no segment holds most of the change."""
    from core.drift.explain import find_segment, located

    segment = find_segment(reference.frame, current.frame, reader.schema, seed=SEED)
    if segment is None:
        return None, None
    start = _segment_start(reader, segment)
    inside, outside, n = _segment_cost(reader, segment)
    metric = row_metric(reader.schema.task)
    explanation = located(segment, since=start, score_inside=inside, score_outside=outside, n_inside=n, metric=metric)
    return explanation, ChangedSegment(
        rule=segment.rule,
        conditions=segment.conditions,
        part=segment.part,
        before=segment.before,
        after=segment.after,
        since=start.isoformat() if start is not None else None,
        n=n,
        inside=inside,
        outside=outside,
        metric=metric,
    )


def _segment_start(reader: history.History, segment: Segment) -> datetime | None:
    """When the first of the batches arrived from which on the segment holds more rows than in the reference."""
    from core.drift.explain import in_segment, since

    features = list(dict.fromkeys(condition[0] for condition in segment.conditions))
    shares = []
    for batch in reader.measured[:BATCHES_BACK][::-1]:
        read = reader.frame_or_none(batch, features=features, last=windows.WINDOW_ROWS)
        if read is None:
            continue
        frame = read[0]
        inside = in_segment(frame, segment)
        shares.append((frame[ROW_TIME].min().to_pydatetime(), float(inside.mean()) if len(frame) else 0.0, len(frame)))
    first = since(shares, reference=segment.before)
    # If it is present in all examined batches, its start is unknown.
    return None if first is None or (first == 0 and len(reader.measured) > BATCHES_BACK) else shares[first][0]


def _segment_cost(reader: history.History, segment: Segment) -> tuple[float | None, float | None, int]:
    """Accuracy (or mean absolute error) inside and outside the segment on the newest judged rows, and how many are inside."""
    import numpy as np

    from core.drift.explain import in_segment

    judged = monitoring.labelled_rows(reader, n=JUDGED_ROWS)
    if judged is None:
        return None, None, 0
    inside = in_segment(judged.X, segment)
    if reader.schema.task == "regression":
        merit = np.abs(judged.y_true.astype(float) - judged.y_pred)
    else:
        merit = (judged.y_true == judged.y_pred).astype(float)
    n = int(inside.sum())
    if n == 0 or n == len(merit):
        return None, None, n
    return float(merit[inside].mean()), float(merit[~inside].mean()), n
