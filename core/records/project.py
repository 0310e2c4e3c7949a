"""Records of a project as displayed: its state, and its cycles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.records.data import FeatureSchema, Task
from core.records.documents import JsonObject
from core.records.learning import Candidate, Comparison, Evidence, Firing, Memory, Policy, Verdict
from core.records.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changes something, and when."""

    by: str
    now: datetime
    cycle_id: int | None = None  # None = outside a cycle


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectInfo:
    """A project as pages, API and command line see it."""

    id: int
    slug: str
    name: str
    source: str  # sample | file | generator | api
    task: Task | None  # None until the first data, unless specified earlier
    schema: FeatureSchema | None
    policy: Policy
    created_at: datetime
    paused: bool
    rows: int
    labelled: int
    champion: int | None
    clock_at: datetime | None  # newest row's instant, without backfill
    checked_at: datetime | None  # when it was last checked
    generator: JsonObject | None = None  # the stream or recipe that generates its rows
    shadow: int | None = None  # version in shadow mode next to the champion


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRecord:
    """The record of the version in shadow mode against the champion so far."""

    version: int
    rows: int = 0  # labelled rows that both predicted
    wins: int = 0  # of them, that only the shadow version predicts right (regression: closer)
    losses: int = 0
    for_better: float | None = None  # evidence that it is better, "x : 1"; None = stored before there was any
    for_worse: float | None = None
    answered: int = 0  # rows predicted, labelled or not
    agreed: int = 0  # of them, with the same prediction from both
    wanted: int | None = None  # labelled rows after which it is decided; None = decided manually


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """One cycle, as recorded in its audit row."""

    id: int
    project_id: int
    cause: str  # schedule | button | api | cli | live
    status: Literal["running", "done", "failed"]
    started_at: datetime
    finished_at: datetime | None
    decision: str  # nothing | alert | retrain
    reason: Reason
    outcome: str  # of Outcome; "" while it runs
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
    shadow: ShadowRecord | None = None  # after this cycle
