"""Records of learning: the policy, the evidence and the decision from it, a race and its verdict, versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from core.records.outcomes import Kind
from core.records.performance import Score
from core.records.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When to retrain, which candidates race and when a challenger is promoted. Data, not code; stored with the project."""

    name: str
    metric: str = "accuracy"  # accuracy | kappa | macro_f1 ... | r2
    threshold: float = 0.8  # the original rule: retrain when the measured score is below it
    # Any of these starts a race; "drift_share+new_labels" is one that fires when both do.
    triggers: tuple[str, ...] = ("below_threshold", "drift_share", "new_labels", "by_hand")
    drift_share: float = 0.3  # share of tested features that drifted, at or above which drift_share fires
    new_labels: int = 500  # labelled rows since the last race at which new_labels fires
    min_rows: int = 100  # labelled rows that a measurement needs before a score trigger may fire
    families: tuple[str, ...] = ()  # keys of MODEL_FAMILIES; () = the task's default set
    windows: tuple[str, ...] = ()  # "change", "all" or a number of rows; () = each family's own
    min_new_share: float = 0.25  # share of its window that a candidate must not have seen before it is fitted again
    max_fits: float = 4.0  # fits per 500 arriving rows; unused ones are saved up to 4 x this
    max_train_rows: int = 50_000  # a window never holds more than the newest of these
    gate: str = "held_back"  # key of GATES: none | held_back | superior
    hold_out: str = "random"  # which of the newest rows the gate tests on: random | newest
    fit_timeout_s: float = 120.0  # fault guard on one fit
    archive: int = 2  # models of earlier regimes that are kept and keep predicting; 0 = none
    # Accuracy (regression: error in spreads) that a challenger may lose on frozen rows of past regimes; 0 = no limit.
    max_forgetting: float = 0.0
    max_predict_ms: float = 0.0  # maximum time of a challenger for 1,000 rows, in milliseconds; 0 = no limit
    shadow_rows: int = 0  # labelled rows that a challenger predicts in shadow mode before it may serve; 0 = none
    cooldown_s: float = 0.0  # minimum time between two races, by the evidence's clock
    races_per_day: int = 0  # maximum races in 24 hours, excluding manual ones; 0 = no limit
    schedule: str = ""  # crontab line in UTC at which the trigger schedule fires: "0 3 * * *"
    max_age_s: float = 0.0  # age of the last race at which the trigger age fires; 0 = never
    drift_gate: float = 0.02  # effect size from which a feature's change matters (KS distance, total variation)
    drift_alpha: float = 0.004  # probability of any false alarm in one drift check
    false_alarms_per_month: float = 1.0  # expected from the reference's own variation; raises gates; 0 = no budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A trigger that fired, with the numbers that made it fire."""

    trigger: str  # key in TRIGGERS
    observed: float
    threshold: float
    reason: Reason

    @property
    def facts(self) -> tuple[str, float, float]:
        """What fired and by which numbers: what a replay is compared with."""
        return self.trigger, self.observed, self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedVersion:
    """How the version that was replaced last would have performed since, compared with the champion."""

    version: int
    rows: int  # labelled rows since it was replaced
    for_better: float  # evidence that it is better, "x : 1"
    for_worse: float  # evidence that it is worse


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSetAside:
    """A batch that a cycle skipped."""

    code: str  # batch_not_scored | batch_damaged | scores_damaged
    batch: int  # its number
    cause: str  # a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a decision is based on. Stored with the cycle; a replay gives the same decision."""

    n_rows: int  # rows new since the last cycle
    n_labelled: int  # rows newly labelled since the last cycle
    metric: str
    score: float | None  # measured prequentially on the newly labelled rows
    score_low: float | None
    score_high: float | None
    score_n: int
    recent_mean: float | None  # of the same metric over the last batches since the last change
    share_drifted: float | None
    recent_rows: int | None = None  # rows of the recent mean; None = stored before they were recorded
    score_rows: int | None = None  # equivalent number of uniformly sampled rows, for selected labels; None = score_n
    recent_inflation: float = 1.0  # how many of those rows are worth one independent row
    drifted: tuple[str, ...] = ()
    labels_since_race: int = 0
    change_found: bool = False  # the error stream changed inside these rows
    rise: float | None = None  # evidence that errors have risen since the last change; None = nothing to compare with
    forced: bool = False  # manual
    has_champion: bool = True
    seconds_since_race: float | None = None
    estimated: float | None = None  # estimate of the metric on the newest rows, without labels
    estimated_low: float | None = None
    estimated_high: float | None = None
    estimate_trusted: bool | None = None  # False: labels contradicted it; None: not graded yet
    error_alarms: tuple[Reason, ...] = ()  # of the online detectors inside the new rows
    races_last_day: int = 0  # in the preceding 24 hours
    watched: WatchedVersion | None = None  # the version that was replaced last
    in_shadow: bool = False  # a challenger is in shadow mode and has not finished
    schedule_due: bool = False  # an instant of the policy's schedule has passed since the last race
    set_aside: tuple[BatchSetAside, ...] = ()  # new batches that the cycle skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy decides on the evidence."""

    action: Literal["nothing", "alert", "retrain"]
    reason: Reason
    firings: tuple[Firing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One entrant of a race: family x training window, scored on rows it was not trained on."""

    name: str  # "boosting, last 1,000 rows"
    family: str  # key of MODEL_FAMILIES
    window: str  # "last 1000" | "all" | "since change"
    n_rows: int
    score: Score
    loss: float | None  # log-loss, or scaled absolute error, on the same rows
    weight: float | None  # in the committee; None when it is not a member
    fitted: bool  # refitted in this race
    seconds: float | None = None
    error: str | None = None  # why it dropped out


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One clause of a verdict."""

    name: str
    passed: bool
    reason: Reason
    observed: float | None = None
    required: float | None = None
    decides: bool = True  # False: informational, the policy's gate does not require it


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstSlice:
    """The slice of the shared rows on which the challenger's losses are least likely due to chance."""

    rule: str  # "site = east"
    n: int  # rows in it
    wins: int  # of them, that only the challenger predicts right (regression: closer)
    losses: int
    p: float  # two-sided: probability of a split this uneven if both were equal
    tried: int  # number of slices tested


@dataclass(frozen=True, slots=True, kw_only=True)
class PastComparison:
    """Both on the frozen rows of past regimes; scores are shares of correct rows, or minus the mean error in spreads."""

    n: int  # rows
    regimes: int
    challenger: float
    champion: float
    difference: float  # challenger minus champion; below 0 it is worse on the past
    answers_change: bool = False  # the challenger responds to a detected change: earlier regimes may be forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationGap:
    """Mean confidence minus accuracy; for regression the signed mean error, in spreads of the target."""

    challenger: float
    champion: float | None = None  # None when there is no champion yet
    error: float  # standard error of the challenger's value


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Challenger against champion on the same rows, on which neither was trained."""

    n: int
    metric: str
    champion: Score | None  # None when there is no champion yet
    challenger: Score
    difference: Score | None  # paired; above 0 the challenger is better
    wins: int = 0  # rows that only the challenger predicts right (regression: closer)
    losses: int = 0
    p: float | None = None  # two-sided: probability of a split this uneven if both were equal
    test: str = "exact McNemar"  # test that gave p
    rows_from: str = ""  # for display: which rows
    worst_slice: WorstSlice | None = None  # None = no slice has enough rows
    past: PastComparison | None = None  # None = there are no frozen rows of past regimes
    calibration: CalibrationGap | None = None
    seconds: dict[str, float] | None = None  # measured for 1,000 rows: {champion, challenger}; None = not timed
    problem: str = ""  # why the challenger's predictions do not fit the schema


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenRegime:
    """A regime, and the number of its rows excluded from training."""

    number: int  # 1 is the first
    row: int  # stream position of its first row
    n: int  # rows in its frozen set


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the champion still knows of past regimes, on rows of each that no model ever trains on."""

    metric: str  # "accuracy", or "mae" in units of the target's spread
    regimes: tuple[FrozenRegime, ...]  # the current one last
    matrix: tuple[
        tuple[float | None, ...], ...
    ]  # one line per regime's end, the last one for now; None = not reached yet
    bwt: float | None  # backward transfer: mean of now minus then over past regimes; below 0 = forgetting


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the challenger is promoted, clause by clause."""

    promote: bool
    kind: Kind
    reason: Reason
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitteeMember:
    """A model that votes in a version's committee."""

    key: str = ""  # its estimator's name in the learner's storage
    name: str = ""  # for display: "gradient boosting, last 1,000 rows"
    family: str = ""  # key of MODEL_FAMILIES
    window: str = ""  # "change", "all" or a number of rows
    n_rows: int | None = None  # training rows
    weight: float | None = None  # weight of its vote, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One registered model of a project."""

    version: int
    family: str
    created_at: datetime
    aliases: tuple[str, ...] = ()  # champion | challenger | previous
    promoted_at: datetime | None = None
    source: str = "race"  # race | import
    run_id: str | None = None
    path: str | None = None  # artefact, relative to the model folder
    sha256: str | None = None
    n_rows: int | None = None
    members: tuple[CommitteeMember, ...] = ()
    metrics: dict[str, float | None] = field(default_factory=dict)
    data_digest: str | None = None
    first_at: datetime | None = None  # first and last instant of its training rows
    last_at: datetime | None = None
    cycle_id: int | None = None
    removed_at: datetime | None = None  # when its artefact was deleted to save disk space
