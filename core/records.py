"""Frozen records that cross layers: what the pure functions take and return.

ORM rows never leave storage and the services; these do. `to_document` turns any of them into plain
JSON values (absent = None, never NaN).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

Task = Literal["binary", "multiclass", "regression"]
FeatureKind = Literal["numeric", "categorical", "boolean"]
Label = str | int | float | bool
Outcome = Literal["none", "promoted", "refreshed", "rejected", "shadowed", "rolled_back", "failed"]

# Columns of ours inside stored batches; a user's column may not have these names.
ROW_ID = "_id"
ROW_TIME = "_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How the numbers of a column are written in texts."""

    decimal: str = "."  # or ","
    unit: str = ""  # that stands with them: "%" with all of them, a currency with any


PLAINLY = Written()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What was taken otherwise than it came, or assumed, of the rows of a file; `core.data.problems` has the sentences."""

    code: str
    column: str | None = None
    count: int = 0  # of rows or cells
    example: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input column of a project."""

    name: str
    kind: FeatureKind
    categories: tuple[str, ...] = ()  # seen when the schema was made, as text; empty for numeric
    low: float | None = None  # smallest and largest finite value seen then; numeric only
    high: float | None = None
    written: Written = PLAINLY  # numeric only


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchema:
    """What the rows of a project look like: the contract that every batch and request is held to."""

    task: Task
    target: str
    features: tuple[Feature, ...]
    classes: tuple[Label, ...] = ()  # as in the data, sorted; empty for regression; may grow
    id_column: str | None = None
    time_column: str | None = None
    excluded: tuple[
        str, ...
    ] = ()  # columns of the first batch that are no features: kept with its rows, never asked for
    target_written: Written = PLAINLY  # regression only
    day_first: bool | None = None  # 03/04/2026 in the time column is the third of April; None = not written so

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in the order in which models take them."""
        return tuple(f.name for f in self.features)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A set of consecutive rows, named by what it is for."""

    name: str  # e.g. "reference" or "current"
    n_rows: int
    first_at: datetime | None = None
    last_at: datetime | None = None
    description: str = ""  # in words: "the 1,000 rows v3 learnt from"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPart:
    """One test of one column: of its values, their location or spread, its missing cells, its categories."""

    of: str  # values | location | spread | tails | missing | new | vanished
    test: str
    statistic: float
    p_value: float  # before the correction over all tests
    effect: float
    gate: float  # that the effect must exceed
    passed: bool  # significant after the correction, and above the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftScore:
    """How far one feature moved between reference and current."""

    name: str
    kind: str  # numeric | categorical | boolean | prediction | label
    drifted: bool
    statistic: float | None  # of the values: KS distance, or total variation for categories
    p_value: float | None  # of the part that decided
    effect: float | None  # the size that is compared with the gate
    gate: float | None = None
    test: str = ""  # "Kolmogorov-Smirnov" | "chi-square" ...
    miss_rate_reference: float | None = None
    miss_rate_current: float | None = None
    new_share: float | None = None  # of current rows, in categories that the reference does not have
    vanished_share: float | None = None  # of reference rows, in categories that are gone
    parts: tuple[DriftPart, ...] = ()
    reason: str = ""  # in words, with numbers; also why it was not judged
    judged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """Drift of every feature, reference against current."""

    reference: Window
    current: Window
    scores: tuple[DriftScore, ...]
    prediction: DriftScore | None = None
    label: DriftScore | None = None
    residual: DriftScore | None = None  # regression: label minus what was predicted before it was known
    multivariate: dict[str, Any] | None = None  # {drifted, auc, low, high, features}
    reconstruction: dict[str, Any] | None = (
        None  # {drifted, error_reference, error_current, low, high, components, reason}
    )
    explanation: str | None = None  # the sentence: what most of the change is, since when, what it costs
    segment: dict[str, Any] | None = None  # {rule, part, before, after, since, n, inside, outside, metric}
    importance: dict[str, float] | None = None  # of each feature to the champion: loss when it is shuffled
    attribution: dict[str, Any] | None = None  # {drifted, finding, rank_correlation, scores}: importance then and now

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features that drifted."""
        return tuple(s.name for s in self.scores if s.drifted)

    @property
    def share_drifted(self) -> float | None:
        """Drifted features over judged features; None when none could be judged."""
        judged = [s for s in self.scores if s.judged]
        return sum(s.drifted for s in judged) / len(judged) if judged else None

    @property
    def ranked(self) -> tuple[DriftScore, ...]:
        """Features by what matters: drifted ones first, then by effect times importance, or by effect alone."""
        weight = {} if self.importance is None else {k: max(0.0, v) for k, v in self.importance.items()}
        top = max(weight.values(), default=0.0)

        def key(s: DriftScore) -> tuple[bool, bool, float, float, str]:
            effect = s.effect or 0.0
            matters = effect * (weight.get(s.name, 0.0) / top) if top > 0 else effect
            return (not s.drifted, not s.judged, -matters, -effect, s.name)

        return tuple(sorted(self.scores, key=key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric over one set of rows with its interval. `value` None = cannot tell, `reason` says why."""

    metric: str  # key of core.performance.realised.METRICS
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    method: str = ""  # how the interval was made: "Wilson 95 %", "Dirichlet 95 %"
    reason: str = ""
    n_effective: float | None = None  # independent rows that tell as much as these n; None = taken as independent


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatePoint:
    """What the serving model's scores on one batch were estimated to be, without its labels; never a realised score."""

    at: datetime
    rows_seen: int
    n: int
    batch_id: int | None
    cycle_id: int | None
    model_version: int | None
    estimates: dict[str, Score]  # metric -> value with its 95 % band; None = cannot tell, with the reason
    realised: dict[str, float]  # what the labels said later, as far as they came
    trust: dict[str, dict[str, Any]]  # metric -> {trusted: bool | None, z, n_chunks, reason}, as known at that batch


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceReport:
    """Every metric of the task over the same labelled rows."""

    task: Task
    n: int
    scores: dict[str, Score]
    model_version: int | None = None

    def score(self, metric: str) -> Score:
        """The score of one metric; KeyError when the task has no such metric."""
        return self.scores[metric]


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
    reason: str  # in words with the numbers


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
    recent_inflation: float = 1.0  # how many of those rows tell as much as one independent row
    drifted: tuple[str, ...] = ()
    labels_since_race: int = 0
    change_found: bool = False  # the error stream changed inside these rows
    forced: bool = False  # by hand
    has_champion: bool = True
    seconds_since_race: float | None = None
    estimated: float | None = None  # of the metric on the newest rows, without labels
    estimated_low: float | None = None
    estimated_high: float | None = None
    estimate_trusted: bool | None = None  # False: labels contradicted it; None: not graded yet
    error_alarms: tuple[str, ...] = ()  # of the online detectors inside the new rows, in words
    races_last_day: int = 0  # in the 24 hours before
    watched: dict[str, Any] | None = None  # {version, rows, for_better, for_worse}: the version replaced last, "x : 1"
    in_shadow: bool = False  # a challenger is being tried in the champion's shadow, and not at its end
    schedule_due: bool = False  # an instant of the policy's schedule has passed since the last race
    set_aside: tuple[dict[str, Any], ...] = ()  # {code, batch, cause}: new batches that the champion could not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy makes of the evidence."""

    action: Literal["nothing", "alert", "retrain"]
    reason: str
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
    reason: str  # in words, with numbers
    observed: float | None = None
    required: float | None = None
    decides: bool = True  # False: told, but the policy's gate does not ask for it


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
    worst_slice: dict[str, Any] | None = None  # {rule, n, wins, losses, p, tried}: where the challenger loses most
    past: dict[str, Any] | None = None  # frozen sets of past regimes: {n, regimes, champion, challenger, difference}
    calibration: dict[str, Any] | None = (
        None  # confidence minus accuracy (regression: bias): {champion, challenger, error}
    )
    seconds: dict[str, float] | None = None  # measured for 1,000 rows: {champion, challenger}; None = not timed
    problem: str = ""  # why the challenger's answers do not fit the schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the champion still knows of past regimes, on rows of each that nothing ever learns from."""

    metric: str  # "accuracy", or "mae" in units of the target's spread
    regimes: tuple[dict[str, Any], ...]  # {number, row, n}: stream position of its first row, rows in its frozen set
    matrix: tuple[
        tuple[float | None, ...], ...
    ]  # a line for the end of each regime, the last one for now; None = not met yet
    bwt: float | None  # backward transfer: mean of now minus then over past regimes; below 0 = forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the challenger is let in, clause by clause."""

    promote: bool
    kind: Literal["promotion", "refresh", "rollback", "none"]
    reason: str
    clauses: tuple[Clause, ...] = ()


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
    members: tuple[dict[str, Any], ...] = ()  # {name, family, window, n_rows, weight}
    metrics: dict[str, float | None] = field(default_factory=dict)
    data_digest: str | None = None
    first_at: datetime | None = None  # instants of the rows it learnt from
    last_at: datetime | None = None
    cycle_id: int | None = None
    removed_at: datetime | None = None  # when its artefact was removed, to save disk


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectInfo:
    """A project as pages, API and command line see it."""

    id: int
    slug: str
    name: str
    source: str  # sample | file | generator | api
    task: Task | None  # None until the first data, unless it was said before
    schema: FeatureSchema | None
    policy: Policy
    created_at: datetime
    paused: bool
    rows: int
    labelled: int
    champion: int | None
    clock_at: datetime | None  # newest row's instant, backfill aside
    checked_at: datetime | None  # when a check last looked at it
    generator: dict[str, Any] | None = None
    shadow: int | None = None  # version that answers beside the champion without serving


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInfo:
    """One stored batch's manifest."""

    id: int
    number: int
    origin: str
    rows: int
    labelled: int
    first_at: datetime
    last_at: datetime
    created_at: datetime
    sha256: str
    backfill: bool
    undone: bool
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A label that would take the place of another."""

    place: int  # among the labels of the call, from 0
    row_id: str
    before: Label
    after: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClass:
    """A class that labels would add."""

    label: Label
    count: int  # labels that hold it
    place: int  # of the first of them
    row_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPlan:
    """What would become of labels if they were stored: how many of each status, and what they would change."""

    stored: int
    unchanged: int
    replaced: int
    waiting: int
    new_classes: tuple[NewClass, ...]
    replacements: tuple[Replacement, ...]  # the first 20
    needs_consent: bool  # labels would be replaced, or classes added that the champion does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """One turn of the loop, as its audit row tells it."""

    id: int
    project_id: int
    cause: str  # schedule | button | api | cli | live
    status: Literal["running", "done", "failed"]
    started_at: datetime
    finished_at: datetime | None
    decision: str  # nothing | alert | retrain
    reason: str
    outcome: str
    seconds: float | None = None
    by: str | None = None
    evidence: Evidence | None = None
    firings: tuple[Firing, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    comparison: Comparison | None = None
    verdict: Verdict | None = None
    champion_before: int | None = None
    champion_after: int | None = None
    challenger: int | None = None
    error: str | None = None
    batch_ids: tuple[int, ...] = ()
    seed: int = 0
    memory: Memory | None = None
    shadow: dict[str, Any] | None = None  # {version, rows, wins, losses, answered, agreed, wanted}: after this cycle


def to_document(value: Any) -> Any:
    """Plain JSON values of a record, frame scalar or container: NaN and inf become None, instants ISO text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_document(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): to_document(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_document(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        return to_document(value.tolist())
    return value
