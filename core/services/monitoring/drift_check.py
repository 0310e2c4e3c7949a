"""One drift check of a project: every feature, all of them together, and what the change is, since when and at what cost.

Answers are compared like with like: a model answers rows that it learnt from otherwise than new ones, though nothing moved. So
predictions (and residuals) are those of **one version**, to rows that came after all that it learnt from, in both windows. It is
the champion once it has served long enough; where each batch brings a new champion, it is the newest former one that has.
Comparing what was served at the time would take a better model for drift; rows held back from a race are too few.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.drift.encode import one_thread
from core.errors import BadInput, Damaged, NotEnoughRows
from core.records import (
    ROW_TIME,
    AttributionDrift,
    ChangedSegment,
    DriftReport,
    DriftScore,
    FeatureSchema,
    ImportanceChange,
    ProjectInfo,
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

    from core.drift.explain import Segment
    from core.services.serving.predicting import Predicted

LOOKED_BACK = 40  # batches in which the beginning of a change is looked for
JUDGED_ROWS = 2_000  # newest labelled rows on which the cost of a change is measured
TOGETHER_ROWS = 2_000  # of the reference, that the new rows are told from
IMPORTANCE_ROWS = 500  # newest rows of each window in which features are shuffled
IMPORTANCE_FEATURES = 50  # that are shuffled, those of the largest effect; each costs a prediction of all those rows
REPEATS = 2
SEED = 0

Answer = Callable[["pd.DataFrame"], "Predicted"]
AnswerOf = Callable[[int, "pd.DataFrame"], "Predicted"]  # of a version


@one_thread()
def check(ws: Workspace, project: ProjectInfo, current_ids: set[int], answer_of: AnswerOf) -> DriftReport | None:
    """Drift of the given batches against what the champion learnt from; None without a champion or without rows.

    Args:
        answer_of: a version's predictions for rows with the schema's features.

    What is costly (telling the windows apart, the segment, the importance of features) is left out of small windows, and the
    last two where nothing drifted.
    """
    from core.drift.univariate import measure_drift

    schema, champion = project.schema, project.champion
    if schema is None or champion is None:
        return None
    reader = history.History(ws, project.id, schema)
    sides = windows.reference_and_current(ws, project, current_ids=current_ids, reader=reader)
    if sides is None:
        return None
    reference, current = sides
    answers = _answers(ws, project, reader, current, current_ids, answer_of)
    report = measure_drift(
        reference.frame,
        current.frame,
        schema,
        alpha=project.policy.drift_alpha,
        gate=project.policy.drift_gate,
        gates=windows.gates_of(ws, project, reference, len(current.frame)),
        reference_window=reference.window,
        current_window=current.window,
        y_reference=reference.y,
        y_current=current.y,
        **({} if answers is None else answers.compared(project.task)),
    )
    report = _with_answers_told(report, answers, project.task)
    report = _with_all_together(report, reference, current, schema)
    moved = report.drifted or any(d is not None and d.drifted for d in (report.multivariate, report.reconstruction))
    if not moved:
        return report
    importance, attribution = None, None
    with contextlib.suppress(NotEnoughRows):  # a window too small for shuffling still has its drift report
        importance, attribution = _attribution(
            reference, current, schema, lambda frame: answer_of(champion, frame), report
        )
    sentence, segment = _explained(ws, project, reader, reference, current)
    return dataclasses.replace(
        report, importance=importance, attribution=attribution, explanation=sentence, segment=segment
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Answers:
    """One version's answers to rows that it has not learnt from: earlier ones, and the new ones."""

    version: int
    earlier: Rows
    current: Rows
    before: Any
    now: Any

    def compared(self, task: Task | None) -> dict[str, Any]:
        """What `measure_drift` takes of them; of numbers also label minus answer."""
        import numpy as np

        given = {"pred_reference": self.before, "pred_current": self.now}
        if task == "regression":
            pairs = (("reference", self.earlier, self.before), ("current", self.current, self.now))
            given |= {
                f"residual_{name}": np.asarray(rows.y, dtype=np.float64) - np.asarray(answers, dtype=np.float64)
                for name, rows, answers in pairs
            }
        return given


def _answers(
    ws: Workspace,
    project: ProjectInfo,
    reader: history.History,
    current: Rows,
    current_ids: set[int],
    answer_of: AnswerOf,
) -> _Answers | None:
    """Of the newest version that can be asked and has enough rows; None where there is none yet."""
    for version, earlier in windows.not_learnt_by_versions(ws, project, current_ids, reader):
        try:
            before, now = answer_of(version, earlier.frame).labels, answer_of(version, current.frame).labels
        except (BadInput, Damaged):  # a former champion that is damaged, or knows other columns
            continue
        return _Answers(version, earlier, current, before, now)
    return None


def _with_answers_told(report: DriftReport, answers: _Answers | None, task: Task | None) -> DriftReport:
    """The report with whose answers to which rows were compared, or why none could be."""
    names = ("prediction", "residual") if task == "regression" else ("prediction",)
    told: dict[str, Any] = {}
    for name in names:
        score: DriftScore | None = getattr(report, name)
        if answers is None:
            told[name] = DriftScore(
                name=name, kind=name, drifted=False, statistic=None, p_value=None, effect=None, judged=False,
                reason=because("not_judged", why=because("too_few_answers", needed=windows.LEAST_ANSWERS)),
            )  # fmt: skip
        elif score is not None:
            rows = len(answers.earlier.frame)
            whose = because("answers_compared", found=score.reason, version=answers.version, rows=rows)
            told[name] = dataclasses.replace(score, reason=whose)
    return dataclasses.replace(report, **told)


def _with_all_together(report: DriftReport, reference: Rows, current: Rows, schema: FeatureSchema) -> DriftReport:
    """The report with all features at once: can the windows be told apart, and does the old structure still fit?"""
    from core.drift.multivariate import domain_classifier, pca_reconstruction

    before = reference.frame
    if len(before) > TOGETHER_ROWS:
        before = before.sample(TOGETHER_ROWS, random_state=SEED).sort_index()
    structure = pca_reconstruction(reference.frame, current.frame, schema, seed=SEED)
    apart = None
    with contextlib.suppress(NotEnoughRows):
        apart = domain_classifier(before, current.frame, schema, seed=SEED)
    return dataclasses.replace(report, multivariate=apart, reconstruction=structure)


def _attribution(
    reference: Rows, current: Rows, schema: FeatureSchema, answer: Answer, report: DriftReport
) -> tuple[dict[str, float], AttributionDrift]:
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
    moved = attribution_drift(*found)
    finding = moved.finding
    if len(weighed) < len(names):
        finding += f" (of the {len(weighed)} features that drifted furthest; the other {len(names) - len(weighed):,} are not weighed)"
    told = AttributionDrift(
        drifted=moved.drifted,
        scores=tuple(
            ImportanceChange(
                name=s.name,
                before=s.before,
                after=s.after,
                difference=s.difference,
                z=s.z,
                drifted=s.drifted,
                reason=s.reason,
            )
            for s in moved.scores
        ),
        rank_correlation=moved.rank_correlation,
        finding=finding,
        weighed=len(weighed),
        features=len(names),
    )
    return {name: value.mean for name, value in found[1].items()}, told


def _explained(
    ws: Workspace, project: ProjectInfo, reader: history.History, reference: Rows, current: Rows
) -> tuple[str | None, ChangedSegment | None]:
    """The sentence and its figures; None when no segment holds most of the change."""
    from core.drift.explain import find_segment, tell

    assert project.schema is not None
    segment = find_segment(reference.frame, current.frame, project.schema, seed=SEED)
    if segment is None:
        return None, None
    began = _since(reader, segment)
    inside, outside, n = _cost(ws, project, segment)
    metric = row_metric(project.schema.task)
    sentence = tell(
        segment, since=_day(began) if began is not None else None, score_inside=inside, score_outside=outside,
        n_inside=n, metric=metric,
    )  # fmt: skip
    return sentence, ChangedSegment(
        rule=segment.rule,
        conditions=segment.conditions,
        part=segment.part,
        before=segment.before,
        after=segment.after,
        since=began.isoformat() if began is not None else None,
        n=n,
        inside=inside,
        outside=outside,
        metric=metric,
    )


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
