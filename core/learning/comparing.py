"""Challenger against champion on the same rows, in numbers: the input of a verdict's clauses.

The learner chooses the rows (neither of the two was trained on them). Out of scope: judging the numbers (`policy.verdict`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pandas import DataFrame

from core.learning.candidates import Answers
from core.learning.models import Committee
from core.learning.step import Clock, no_clock
from core.performance.head_to_head import mcnemar_exact
from core.performance.paired import ModelOutput, paired
from core.performance.realised import Intervals, measure
from core.records import CalibrationGap, Comparison, FeatureSchema, PastComparison, Score, WorstSlice, because

SLICE_ROWS = 15  # minimum of the shared rows in a slice
MAX_CATEGORIES = 8  # of a feature that become slices


def row_scores(answers: Answers, y: np.ndarray, model: Any) -> np.ndarray:
    """Score of each row, higher is better: 1 right and 0 wrong, or minus the absolute error."""
    predicted = answers.predict(model)
    if answers.task == "regression":
        return -np.abs(predicted - y.astype(np.float64))
    return (predicted == y).astype(np.float64)


def wins_and_losses(new: np.ndarray, old: np.ndarray) -> tuple[int, int]:
    """Rows on which only the first is right (regression: is nearer), and only the second."""
    return int((new > old).sum()), int((old > new).sum())


def outputs(answers: Answers, model: Any) -> ModelOutput:
    """A model's predictions for the rows, as input of the paired tests."""
    if answers.task == "regression":
        return ModelOutput(answers=answers.predict(model))
    return ModelOutput(answers=answers.predict(model), proba=answers.of(model), classes=list(model.classes_))


def scored(answers: Answers, y: np.ndarray, model: Any, metric: str, *, seed: int) -> Score:
    """The metric of one model over the rows, with its interval."""
    regression = answers.task == "regression"
    proba = None if regression else answers.of(model)
    classes = None if regression else list(model.classes_)
    task: Any = answers.task
    return measure(
        task, y, answers.predict(model), proba, classes, metrics=[metric], intervals=Intervals(seed=seed)
    ).score(metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Labelled rows on which models are compared."""

    answers: Answers
    y: np.ndarray
    weights: np.ndarray | None = (
        None  # rows that each represents, where some were sampled for labelling; None = equal weights
    )
    origin: str = ""  # description of the rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Frozen rows of past regimes."""

    answers: Answers
    y: np.ndarray
    regimes: int  # of how many
    forgettable: bool  # the challenger responds to a detected change: earlier regimes may be forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """How models are compared: by which metric, in which units."""

    metric: str
    schema: FeatureSchema
    seed: int
    scale: float = 1.0  # spread of the target (regression): the unit of past errors and biases
    clock: Clock = no_clock  # by which predictions are timed


def compare(
    shared: Shared,
    challenger: Committee,
    rival: Committee | None,
    settings: CompareSettings,
    *,
    past: Past | None = None,
) -> Comparison:
    """All numbers that the clauses check.

    Args:
        shared: rows that neither was trained on; may be none.
        rival: None when there is no champion yet.
    """
    answers, y, metric, seed = shared.answers, shared.y, settings.metric, settings.seed
    if len(y) == 0:
        nothing = Score(metric=metric, value=None, n=0, reason=because("no_row_unseen_by_both"))
        return Comparison(
            n=0, metric=metric, champion=None, challenger=nothing, difference=None, rows_from=shared.origin
        )
    alone = Comparison(
        n=len(y),
        metric=metric,
        champion=None,
        challenger=scored(answers, y, challenger, metric, seed=seed),
        difference=None,
        rows_from=shared.origin,
        problem=_problem(answers, challenger, settings.schema),
        calibration=_calibration(answers, y, challenger, rival, settings.scale),
        seconds=_seconds(answers.X, challenger, rival, settings.clock),
    )
    if rival is None:
        return alone
    new, old = row_scores(answers, y, challenger), row_scores(answers, y, rival)
    wins, losses = wins_and_losses(new, old)
    sides = outputs(answers, challenger), outputs(answers, rival)
    test = paired(settings.schema.task, metric, y, *sides, weights=shared.weights, seed=seed)
    return replace(
        alone,
        champion=scored(answers, y, rival, metric, seed=seed),
        difference=test.difference,
        wins=wins,
        losses=losses,
        p=test.p,
        test=test.test,
        worst_slice=_worst_slice(answers.X, new, old, settings.schema),
        past=_on_the_past(past, challenger, rival, settings.scale) if past is not None else None,
    )


def _problem(answers: Answers, model: Committee, schema: FeatureSchema) -> str:
    """Why a model's predictions cannot be served; empty when they can."""
    output = answers.of(model)
    if len(output) != len(answers.X) or not np.isfinite(output).all():
        return f"Its answers to {len(answers.X):,} rows are {len(output):,}, or not all of them finite numbers."
    if schema.task == "regression" or not schema.classes:
        return ""
    unknown = sorted(set(map(str, model.classes_.tolist())) - set(map(str, schema.classes)))
    if unknown:
        return f"It answers with {', '.join(unknown[:3])}, expected one of the project's classes."
    return ""


def _calibration(
    answers: Answers, y: np.ndarray, challenger: Committee, rival: Committee | None, scale: float
) -> CalibrationGap:
    """Mean confidence minus accuracy, or the mean error with its sign in units of the spread; and its standard error."""

    def gaps(model: Committee) -> np.ndarray:
        output = answers.of(model)
        if answers.task == "regression":
            return (output - y.astype(np.float64)) / scale
        return output.max(axis=1) - (model.classes_[output.argmax(axis=1)] == y)

    new = gaps(challenger)
    return CalibrationGap(
        challenger=float(new.mean()),
        champion=None if rival is None else float(gaps(rival).mean()),
        error=float(new.std() / math.sqrt(len(new))),
    )


def _seconds(X: DataFrame, challenger: Committee, rival: Committee | None, clock: Clock) -> dict[str, float] | None:
    """Prediction time of each in seconds per 1,000 rows; None without a clock."""
    sides = {"challenger": challenger} | ({} if rival is None else {"champion": rival})
    spent = {}
    for name, model in sides.items():
        began = clock()
        if began is None:
            return None
        model.predict(X)
        spent[name] = ((clock() or began) - began) * 1_000 / len(X)
    return spent


def _worst_slice(X: DataFrame, new: np.ndarray, old: np.ndarray, schema: FeatureSchema) -> WorstSlice | None:
    """The slice on which the challenger's losses are least likely due to chance; None when no slice has enough rows.

    Ties, and slices on which it does not lose, are ranked by net losses per row.
    """
    worst: WorstSlice | None = None
    least = (math.inf, math.inf)
    tried = 0
    for rule, inside in _slices(X, schema):
        n = int(inside.sum())
        if n < SLICE_ROWS or n > len(new) - SLICE_ROWS:
            continue
        tried += 1
        wins, losses = wins_and_losses(new[inside], old[inside])
        p = mcnemar_exact(wins, losses)
        rank = (p if losses > wins else 1.0, (wins - losses) / n)
        if rank < least:
            least, worst = rank, WorstSlice(rule=rule, n=n, wins=wins, losses=losses, p=p, tried=tried)
    return None if worst is None else replace(worst, tried=tried)


def _slices(X: DataFrame, schema: FeatureSchema) -> Iterator[tuple[str, np.ndarray]]:
    """Conditions on one feature: it is missing, each half of a number's range by rows, each of the commonest categories."""
    for feature in schema.features:
        column = X[feature.name]
        missing = column.isna().to_numpy()
        if missing.any():
            yield f"{feature.name} is missing", missing
        if missing.all():
            continue
        if feature.kind == "numeric":
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            known = values[np.isfinite(values)]
            if not len(known):
                continue
            middle = float(np.median(known))
            yield f"{feature.name} at most {middle:.4g}", values <= middle
            yield f"{feature.name} above {middle:.4g}", values > middle
        else:
            # Compared as text; a missing cell equals no category.
            text = np.array(
                [None if gone else str(v) for v, gone in zip(column.tolist(), missing, strict=True)], dtype=object
            )
            names, counts = np.unique(text[~missing], return_counts=True)
            for name in names[np.argsort(-counts, kind="stable")][:MAX_CATEGORIES].tolist():
                yield f"{feature.name} = {name}", text == name


def _on_the_past(past: Past, challenger: Committee, rival: Committee, scale: float) -> PastComparison | None:
    if len(past.y) == 0:
        return None
    unit = scale if past.answers.task == "regression" else 1.0
    new, old = (float(row_scores(past.answers, past.y, model).mean()) / unit for model in (challenger, rival))
    return PastComparison(
        n=len(past.y),
        regimes=past.regimes,
        challenger=new,
        champion=old,
        difference=new - old,
        answers_change=past.forgettable,
    )
