"""Records of drift: a test of one column, a feature, and all of them, reference against current."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
