"""The input and the result of one step of the learning loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame

from core.learning.candidates import Answers
from core.learning.models import Committee
from core.learning.state import LearnerState, Member
from core.records import (
    Candidate,
    Comparison,
    Decision,
    DriftReport,
    Evidence,
    FeatureSchema,
    Kind,
    Memory,
    Outcome,
    Policy,
    Score,
    Verdict,
)

# The newest n labelled rows (None = all that may be used), the fresh ones included at the end, with the same keys.
Window = Callable[[int | None], tuple[DataFrame, np.ndarray]]
Progress = Callable[[float, str], None]
Clock = Callable[[], float | None]  # seconds since any origin; None = nothing is timed
FitWithin = Callable[
    [Callable[[], Member], float], Member
]  # runs a fit within that many seconds (0 = no limit), or raises FitTimeout


def no_clock() -> None:
    """Nothing is timed."""


def at_any_length(fit: Callable[[], Member], _seconds: float) -> Member:
    """The fit, however long it takes."""
    return fit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Rows whose labels became known, in stream order."""

    X: DataFrame  # features in schema order; its index holds each row's key, a whole number that stays with the row
    y: np.ndarray
    first_row: int  # stream position of the first of them
    y_pred: np.ndarray | None = None  # predictions made before the labels were known; None = the champion predicts now
    answered: np.ndarray | None = (
        None  # True where y_pred was stored; the other rows are trained on and not scored. None = all of them
    )
    y_proba: np.ndarray | None = None  # probabilities beside it, one column a class of the champion
    weights: np.ndarray | None = (
        None  # rows that each represents, where rows were sampled for labelling; None = equal weights
    )
    answers: Answers | None = None  # over X, where the caller has some predictions already: saves computing them twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known besides the labelled rows when the loop takes a step."""

    drift: DriftReport | None = (
        None  # of the features, champion's reference against the current rows, where it was measured
    )
    forced: bool = False  # a person requested a race
    n_rows: int | None = None  # rows that arrived, labelled or not; None = the labelled ones
    estimate: Score | None = None  # of the policy's metric on the newest rows, made without labels, where it could be
    estimate_trusted: bool | None = None  # whether later labels confirmed such estimates; None = not known yet
    seconds_since_race: float | None = None  # by the caller's clock
    races_last_day: int = 0  # in the 24 hours before
    schedule_due: bool = False  # a scheduled instant of the policy has passed since the last race


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The settings of a step. The same rows, situation and run give the same step, bit for bit, unless timed.

    A live cycle passes a clock and a time limit on fits; a replay uses neither.
    """

    schema: FeatureSchema
    policy: Policy
    seed: int
    next_version: int  # number of the model that is made, if one is
    clock: Clock = no_clock  # by which fits and predictions are timed
    fit_within: FitWithin = at_any_length
    progress: Progress | None = None  # called with the completed share and the current activity


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The result of one call of `advance`."""

    evidence: Evidence
    decision: Decision
    candidates: tuple[Candidate, ...]
    comparison: Comparison | None
    verdict: Verdict | None
    outcome: Outcome
    kind: Kind
    champion: Committee | None  # serves from now on
    champion_version: int | None
    challenger: Committee | None  # the model from this race, promoted or not
    challenger_version: int | None
    state: LearnerState
    fits: int  # estimators trained
    change_at: int | None  # stream position at which a change was found in this step
    scores: dict[str, Score]  # the policy's metric over the fresh rows
    memory: Memory | None = None  # the champion's scores on past regimes, where they were measured
    unfinished: bool = False  # a fit timed out and may still be running in this process
