"""Decision and learning: whether a check is due by time, and the learner's step over the new evidence.

The decisions themselves are made by `core.learning.learner.advance`, the same function as in a replay.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from core.cycle.learner_state import fresh_rows
from core.cycle.measure import Measurements
from core.cycle.records import CycleRun, Window
from core.records import ProjectInfo
from core.services.automation import due_work
from core.storage import queries, registry
from core.storage.tables import Cycle, Project
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    from core.learning.state import LearnerState
    from core.learning.step import Step

DAY = timedelta(days=1)


def is_clock_due(ws: Workspace, project_id: int, now: datetime) -> bool:
    """Whether the policy's age or schedule makes a check due now, with or without new evidence."""
    with ws.database.read() as session:
        due = bool(session.scalar(select(due_work.clock_asks(now)).where(Project.id == project_id)))
        at = queries.project_row(session, project_id).next_race_at
    if due and at is not None and at > now:  # set by a clock that was ahead; due until a check succeeds
        with ws.database.write() as session:
            queries.project_row(session, project_id).next_race_at = now
    return due


def next_check(project: ProjectInfo, now: datetime) -> datetime | None:
    """When the next check is due by time; anything due earlier was handled in this cycle."""
    from core.learning.policy import AND, next_scheduled

    policy = project.policy
    named = {name for entry in policy.triggers for name in entry.split(AND)}
    instants = [next_scheduled(policy.schedule, now)] if "schedule" in named else []
    if "age" in named and policy.max_age_s > 0:
        instants.append(now + timedelta(seconds=policy.max_age_s))
    return min((at for at in instants if at is not None), default=None)


def advance_learner(
    cycle: CycleRun, state: LearnerState, window: Window, measured: Measurements, rows_before: int
) -> Step:
    """The learner's step on the newly labelled rows: its decision, and after a race the candidates and the challenger."""
    from core.cycle.fitting import in_time
    from core.learning.learner import advance
    from core.learning.policy import next_scheduled
    from core.learning.step import Run, Situation

    project, now = cycle.project, cycle.request.now
    assert project.schema is not None
    with cycle.ws.database.read() as session:
        next_version = registry.next_version(session, project.id)
        seed = session.get_one(Cycle, cycle.cycle_id).seed
        # Races in the future were recorded by a clock that was ahead: they must not delay the next one.
        raced = [race for race in queries.races(session, project.id) if race[0] <= now + queries.LONGEST_PAUSE]
    last_race = max(at for at, _ in raced) if raced else None
    since = last_race or (project.created_at if project.created_at <= now + queries.LONGEST_PAUSE else now - DAY)
    due = next_scheduled(project.policy.schedule, since)
    cycle.progress(0.15, "Asking the policy")
    situation = Situation(
        drift=measured.drift,
        forced=cycle.request.force,
        n_rows=sum(b.rows for b in cycle.evidence.batches),
        estimate=measured.estimate,
        estimate_trusted=measured.trusted,
        seconds_since_race=max((now - last_race).total_seconds(), 0.0) if last_race else None,
        races_last_day=sum(now - at < DAY and not by_hand for at, by_hand in raced),
        schedule_due=due is not None and due <= now,
    )
    run = Run(
        schema=project.schema,
        policy=project.policy,
        seed=seed,
        next_version=next_version,
        clock=time.perf_counter,
        fit_within=in_time,
        progress=lambda share, text: cycle.progress(0.15 + 0.7 * share, text),
    )
    fresh = fresh_rows(project.schema, cycle.evidence.labelled, rows_before, state)
    return advance(state, fresh, window, situation, run)
