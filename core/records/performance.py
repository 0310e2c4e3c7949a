"""Records of how good answers are: measured with labels, or estimated without."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.records.data import Task
from core.records.reasons import NO_REASON, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric over one set of rows with its interval. `value` None = cannot tell, `reason` says why."""

    metric: str  # key of core.records.metrics.METRICS
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    method: str = ""  # how the interval was made: "Wilson 95 %", "Dirichlet 95 %"
    reason: Reason = NO_REASON
    n_effective: float | None = None  # independent rows that tell as much as these n; None = taken as independent


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateGrade:
    """Whether labels that came later bore the estimates of a metric out."""

    trusted: bool | None = None  # None = no labels came yet
    z: float | None = None  # mean of (realised - estimated) / its sd over the newest graded chunks
    n_chunks: int = 0  # that were graded
    reason: Reason = NO_REASON
    width: float = 1.0  # by which bands are widened, so that they hold what the labels said


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
