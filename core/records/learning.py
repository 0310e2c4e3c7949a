"""Records of learning: the policy, the evidence and what is decided from it, a race and its verdict, versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from core.records.outcomes import Kind
from core.records.performance import Score
from core.records.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When to retrain, what races and how a verdict promotes. Data, not code; stored with the project."""

    name: str
    metric: str = "accuracy"  # accuracy | kappa | macro_f1 ... | r2
    threshold: float = 0.8  # the original rule: retrain when the measured score is below it
    # Any one of these starts a race; "drift_share+new_labels" is one that fires when both do.
    triggers: tuple[str, ...] = ("below_threshold", "drift_share", "new_labels", "by_hand")
    drift_share: float = 0.3  # share of judged features that drifted, at or above which drift_share fires
    new_labels: int = 500  # labelled rows since the last race at which new_labels fires
    min_rows: int = 100  # labelled rows that a measurement needs before a score trigger may fire
    families: tuple[str, ...] = ()  # keys of MODEL_FAMILIES; () = the task's default set
    windows: tuple[str, ...] = ()  # "change", "all" or a number of rows; () = each family's own
    min_new_share: float = 0.25  # share of its window that a candidate must not have seen before it is fitted again
    max_fits: float = 4.0  # fits for every 500 rows that come (token bucket); unused ones are saved up to 4 x
    max_train_rows: int = 50_000  # a window never holds more than the newest of these
    gate: str = "held_back"  # key of GATES: none | held_back | superior
    hold_out: str = "random"  # which of the newest rows the gate tests on: random | newest
    fit_timeout_s: float = 120.0  # fault guard on one fit
    archive: int = 2  # models of earlier regimes that are kept and asked again; 0 = none
    # Accuracy (regression: error in spreads) that a challenger may lose on frozen rows of past regimes; 0 = no limit.
    max_forgetting: float = 0.0
    max_predict_ms: float = 0.0  # a challenger's time for 1,000 rows, in milliseconds; 0 = no limit
    shadow_rows: int = 0  # labelled rows that a challenger answers unseen by anybody before it may serve; 0 = none
    cooldown_s: float = 0.0  # between two races, by the evidence's clock
    races_per_day: int = 0  # races in 24 hours, those by hand aside; 0 = no limit
    schedule: str = ""  # crontab line in UTC at which the trigger schedule fires: "0 3 * * *"
    max_age_s: float = 0.0  # age of the last race at which the trigger age fires; 0 = never
    drift_gate: float = 0.02  # effect size from which a feature's change matters (KS distance, total variation)
    drift_alpha: float = 0.004  # chance of any false alarm in one drift check
    false_alarms_per_month: float = 1.0  # by the ups and downs of the reference itself; raises gates; 0 = no budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A trigger that fired, with the numbers that made it fire."""

    trigger: str  # key in TRIGGERS
    observed: float
    threshold: float
    reason: Reason

    @property
    def facts(self) -> tuple[str, float, float]:
        """What fired and by which numbers: all that a replay is held against."""
        return self.trigger, self.observed, self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedVersion:
    """How the version that was replaced last would have done since, beside the champion."""

    version: int
    rows: int  # labelled, since it was replaced
    for_better: float  # evidence that it is the better one, "x : 1"
    for_worse: float  # that it is the worse one


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSetAside:
    """A batch that a cycle did without."""

    code: str  # batch_not_scored | batch_damaged | scores_damaged
    batch: int  # its number
    cause: str  # a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a decision rests on. Stored with the cycle; replayed, it gives the same decision."""

    n_rows: int  # rows new since the last cycle
    n_labelled: int  # rows newly labelled since the last cycle
    metric: str
    score: float | None  # measured prequentially on the newly labelled rows
    score_low: float | None
    score_high: float | None
    score_n: int
    recent_mean: float | None  # of the same metric over the last batches since the last change
    share_drifted: float | None
    recent_rows: int | None = None  # that the recent mean is over; None = stored before it was told
    score_rows: int | None = None  # rows drawn alike that tell as much as chosen ones do; None = score_n of them
    recent_inflation: float = 1.0  # how many of those rows tell as much as one independent row
    drifted: tuple[str, ...] = ()
    labels_since_race: int = 0
    change_found: bool = False  # the error stream changed inside these rows
    rise: float | None = None  # evidence that errors have risen since the last change; None = nothing to compare with
    forced: bool = False  # by hand
    has_champion: bool = True
    seconds_since_race: float | None = None
    estimated: float | None = None  # of the metric on the newest rows, without labels
    estimated_low: float | None = None
    estimated_high: float | None = None
    estimate_trusted: bool | None = None  # False: labels contradicted it; None: not graded yet
    error_alarms: tuple[Reason, ...] = ()  # of the online detectors inside the new rows
    races_last_day: int = 0  # in the 24 hours before
    watched: WatchedVersion | None = None  # the version that was replaced last
    in_shadow: bool = False  # a challenger is being tried in the champion's shadow, and not at its end
    schedule_due: bool = False  # an instant of the policy's schedule has passed since the last race
    set_aside: tuple[BatchSetAside, ...] = ()  # new batches that the cycle did without


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy makes of the evidence."""

    action: Literal["nothing", "alert", "retrain"]
    reason: Reason
    firings: tuple[Firing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One entrant of a race: family x training window, scored on rows that it has not seen."""

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
    decides: bool = True  # False: told, but the policy's gate does not ask for it


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstSlice:
    """The slice of the shared rows on which the challenger's losses are least likely to be chance."""

    rule: str  # "site = east"
    n: int  # rows in it
    wins: int  # of them, that only the challenger has right (regression: is nearer)
    losses: int
    p: float  # two-sided: so uneven by chance if both were equal
    tried: int  # slices that were looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class PastComparison:
    """Both on the frozen rows of past regimes; scores are shares that are right, or minus the mean error in spreads."""

    n: int  # rows
    regimes: int
    challenger: float
    champion: float
    difference: float  # challenger minus champion; below 0 it knows less of the past
    answers_change: bool = False  # the challenger answers a detected change: what was before may be forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationGap:
    """Mean confidence minus accuracy; for regression the mean error with its sign, in spreads of the target."""

    challenger: float
    champion: float | None = None  # None when there is no champion yet
    error: float  # standard error of the challenger's


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Challenger against champion on the same rows that neither has seen."""

    n: int
    metric: str
    champion: Score | None  # None when there is no champion yet
    challenger: Score
    difference: Score | None  # how much better the challenger is by the metric, paired; above 0 it is
    wins: int = 0  # rows that only the challenger has right (regression: is nearer)
    losses: int = 0
    p: float | None = None  # two-sided: so uneven by chance if both were equal
    test: str = "exact McNemar"  # that gave p
    rows_from: str = ""  # in words: which rows
    worst_slice: WorstSlice | None = None  # None = no slice has enough rows
    past: PastComparison | None = None  # None = there are no frozen rows of past regimes
    calibration: CalibrationGap | None = None
    seconds: dict[str, float] | None = None  # measured for 1,000 rows: {champion, challenger}; None = not timed
    problem: str = ""  # why the challenger's answers do not fit the schema


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenRegime:
    """A regime, and how many of its rows nothing learns from."""

    number: int  # 1 is the first
    row: int  # stream position of its first row
    n: int  # rows in its frozen set


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the champion still knows of past regimes, on rows of each that nothing ever learns from."""

    metric: str  # "accuracy", or "mae" in units of the target's spread
    regimes: tuple[FrozenRegime, ...]  # the present one last
    matrix: tuple[
        tuple[float | None, ...], ...
    ]  # a line for the end of each regime, the last one for now; None = not met yet
    bwt: float | None  # backward transfer: mean of now minus then over past regimes; below 0 = forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the challenger is let in, clause by clause."""

    promote: bool
    kind: Kind
    reason: Reason
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitteeMember:
    """A model that votes in a version."""

    key: str = ""  # its estimator's name in the learner's store
    name: str = ""  # in words: "gradient boosting, last 1,000 rows"
    family: str = ""  # key of MODEL_FAMILIES
    window: str = ""  # "change", "all" or a number of rows
    n_rows: int | None = None  # it learnt from
    weight: float | None = None  # of its vote, in [0, 1]


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
    first_at: datetime | None = None  # instants of the rows it learnt from
    last_at: datetime | None = None
    cycle_id: int | None = None
    removed_at: datetime | None = None  # when its artefact was removed, to save disk
