"""Records of drift: one test of a column, one feature, and all of them; reference against current."""

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
    gate: float  # threshold that the effect must exceed
    passed: bool  # significant after the correction, and above the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftScore:
    """How much one feature changed between reference and current."""

    name: str
    kind: str  # numeric | categorical | boolean | prediction | label
    drifted: bool
    statistic: float | None  # of the values: KS distance, or total variation for categories
    p_value: float | None  # of the test that decided
    effect: float | None  # the size that is compared with the gate
    gate: float | None = None
    test: str = ""  # "Kolmogorov-Smirnov" | "chi-square" ...
    miss_rate_reference: float | None = None
    miss_rate_current: float | None = None
    new_share: float | None = None  # share of current rows in categories that the reference does not have
    vanished_share: float | None = None  # share of reference rows in categories that have vanished
    parts: tuple[DriftPart, ...] = ()
    reason: Reason = NO_REASON  # what was measured, or why it was not tested
    judged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainClassification:
    """How well a classifier separates the rows of the windows."""

    drifted: bool
    auc: float  # in [0, 1]; 0.5 = not at all
    low: float  # 95 % interval of it
    high: float
    features: dict[str, float]  # features it relies on, largest first -> AUC lost when shuffled


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """Whether the structure of the reference still fits the rows: error of reconstructing them from its principal components.

    Errors are in standard deviations of a feature; every number is None when nothing could be tested.
    """

    drifted: bool = False
    error_reference: float | None = None  # mean over reference rows that the components were not fitted on
    error_current: float | None = None  # mean
    low: float | None = None  # range of the mean of as many current rows by chance
    high: float | None = None
    components: int | None = None  # number of components kept
    reason: Reason = NO_REASON  # the finding, or why it was not tested


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSegment:
    """The rows that hold most of the change, since when, and at what cost."""

    rule: str  # "temperature > 31", "site = east and wind is missing"
    conditions: tuple[tuple[str, str, float | str | None], ...] = ()  # feature, comparison, value; all must hold
    part: float | None = None  # share of the change, in (0, 1]
    before: float  # share of reference rows in it
    after: float  # share of current rows
    since: str | None = None  # instant of the first batch with more of them, ISO; None = unknown
    n: int = 0  # newest labelled rows inside
    inside: float | None = None  # the metric on those
    outside: float | None = None  # and on the other labelled rows
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceChange:
    """A feature's importance to the champion in either window: loss when its values are shuffled."""

    name: str
    before: float | None = None
    after: float | None = None
    difference: float | None = None  # after minus before
    z: float | None = None  # difference in standard errors; None = shuffling it changed nothing in either window
    drifted: bool = False
    reason: Reason = NO_REASON


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionDrift:
    """Whether the champion relies on other features than before."""

    drifted: bool = False
    scores: tuple[ImportanceChange, ...] = ()  # the drifted ones first, then by |z|
    rank_correlation: float | None = None  # Spearman's, over the features above chance; None = too few of them
    finding: Reason = NO_REASON
    weighed: int | None = None  # features that were shuffled; None = stored before it was counted
    features: int | None = None  # of the project
    version: int | None = None  # model version; None = stored before it was recorded


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
    explanation: Reason | None = None  # what most of the change is, since when, at what cost
    segment: ChangedSegment | None = None
    importance: dict[str, float] | None = None  # of each feature to the champion: loss when shuffled
    attribution: AttributionDrift | None = None  # importance then and now

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features that drifted."""
        return tuple(s.name for s in self.scores if s.drifted)

    @property
    def share_drifted(self) -> float | None:
        """Drifted features over tested features; None when none could be tested."""
        judged = [s for s in self.scores if s.judged]
        return sum(s.drifted for s in judged) / len(judged) if judged else None

    @property
    def ranked(self) -> tuple[DriftScore, ...]:
        """Features by relevance: drifted ones first, then by effect times importance, or by effect alone."""
        weight = {} if self.importance is None else {k: max(0.0, v) for k, v in self.importance.items()}
        top = max(weight.values(), default=0.0)

        def key(s: DriftScore) -> tuple[bool, bool, float, float, str]:
            effect = s.effect or 0.0
            matters = effect * (weight.get(s.name, 0.0) / top) if top > 0 else effect
            return (not s.drifted, not s.judged, -matters, -effect, s.name)

        return tuple(sorted(self.scores, key=key))
