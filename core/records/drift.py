"""Records of drift: a test of one column, a feature, and all of them, reference against current."""

from __future__ import annotations

from dataclasses import dataclass

from core.records.data import Window
from core.records.reasons import NO_REASON, Reason


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
    reason: Reason = NO_REASON  # what was measured, or why it was not judged
    judged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainClassification:
    """How well a classifier tells the rows of the windows apart."""

    drifted: bool
    auc: float  # in [0, 1]; 0.5 = not at all
    low: float  # 95 % interval of it
    high: float
    features: dict[str, float]  # that it goes by, largest first -> AUC that is lost when they are shuffled


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """Whether the structure of the reference still fits the rows: error of rebuilding them from its principal components.

    Errors are in standard deviations of a feature; every number is None where nothing could be judged.
    """

    drifted: bool = False
    error_reference: float | None = None  # mean, of reference rows that the components were not learnt on
    error_current: float | None = None  # mean
    low: float | None = None  # where the mean of so many current rows lies by chance
    high: float | None = None
    components: int | None = None  # that were kept
    reason: Reason = NO_REASON  # what was found, or why it was not judged


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSegment:
    """The rows that hold most of the change, since when they do, and what it costs."""

    rule: str  # "temperature > 31", "site = east and wind is missing"
    conditions: tuple[tuple[str, str, float | str | None], ...] = ()  # feature, comparison, value; all must hold
    part: float | None = None  # share of the change, in (0, 1]
    before: float  # share of reference rows in it
    after: float  # share of current rows
    since: str | None = None  # instant of the first batch that has more of them, ISO; None = cannot be told
    n: int = 0  # newest judged rows that are inside
    inside: float | None = None  # the metric on those
    outside: float | None = None  # and on the other judged rows
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceChange:
    """What a feature is worth to the champion's answers in either window: loss when its values are shuffled."""

    name: str
    before: float | None = None
    after: float | None = None
    difference: float | None = None  # after minus before
    z: float | None = None  # difference in standard errors; None = shuffling it changed nothing in either window
    drifted: bool = False
    reason: Reason = NO_REASON


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionDrift:
    """Whether the champion leans on other features than before."""

    drifted: bool = False
    scores: tuple[ImportanceChange, ...] = ()  # the drifted ones first, then by |z|
    rank_correlation: float | None = None  # Spearman's, of the features above chance; None = too few of them
    finding: Reason = NO_REASON
    weighed: int | None = None  # features that were shuffled; None = stored before it was counted
    features: int | None = None  # of the project
    version: int | None = None  # whose answers; None = stored before it was


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """Drift of every feature, reference against current."""

    reference: Window
    current: Window
    scores: tuple[DriftScore, ...]
    prediction: DriftScore | None = None
    label: DriftScore | None = None
    residual: DriftScore | None = None  # regression: label minus what was predicted before it was known
    multivariate: DomainClassification | None = None
    reconstruction: Reconstruction | None = None
    explanation: Reason | None = None  # what most of the change is, since when, what it costs
    segment: ChangedSegment | None = None
    importance: dict[str, float] | None = None  # of each feature to the champion: loss when it is shuffled
    attribution: AttributionDrift | None = None  # importance then and now

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
