"""Records of a project as it is shown: what it is, and a turn of its loop."""

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
    cycle_id: int | None = None  # in which cycle; None = outside of one


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
    generator: JsonObject | None = None  # the stream or the recipe that its rows come from
    shadow: int | None = None  # version that answers beside the champion without serving


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRecord:
    """How the version in the champion's shadow has done beside it so far."""

    version: int
    rows: int = 0  # labelled, that both answered
    wins: int = 0  # of them, that only the version in the shadow has right (regression: is nearer)
    losses: int = 0
    for_better: float | None = None  # evidence that it is the better one, "x : 1"; None = stored before there was any
    for_worse: float | None = None
    answered: int = 0  # rows, labelled or not
    agreed: int = 0  # of them, to which both gave the same answer
    wanted: int | None = None  # labelled rows after which it is decided; None = a person decides


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
