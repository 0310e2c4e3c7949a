"""Records of prediction quality: measured with labels, or estimated without."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.records.data import Task
from core.records.reasons import NO_REASON, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric over one set of rows with its interval. `value` None = unknown, `reason` says why."""

    metric: str  # key of core.records.metrics.METRICS
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    method: str = ""  # how the interval was made: "Wilson 95 %", "Dirichlet 95 %"
    reason: Reason = NO_REASON
    n_effective: float | None = None  # equivalent number of independent rows; None = assumed independent


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateGrade:
    """Whether later labels confirmed the estimates of a metric."""

    trusted: bool | None = None  # None = no labels yet
    z: float | None = None  # mean of (realised - estimated) / its sd over the newest graded chunks
    n_chunks: int = 0  # number of graded chunks
    reason: Reason = NO_REASON
    width: float = 1.0  # factor by which bands are widened to cover the realised scores


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatePoint:
    """The estimated scores of the serving model on one batch, without its labels; never realised scores."""

    at: datetime
    rows_seen: int
    n: int
    batch_id: int | None
    cycle_id: int | None
    model_version: int | None
    estimates: dict[str, Score]  # metric -> value with its 95 % band; None = unknown, with the reason
    realised: dict[str, float]  # scores by later labels, as far as they have arrived
    trust: dict[str, EstimateGrade]  # metric -> as known at that batch


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
