"""The story of a cycle, from the lease to the last notice; each step is told in its own module."""

from __future__ import annotations

import time
from datetime import datetime

from loguru import logger

from core.cycle import learner_state
from core.cycle.decide import advance_learner, clock_asks
from core.cycle.failing import close_interrupted, end_if_deleted, end_overtaken, fail_cycle
from core.cycle.gather import gather
from core.cycle.lease import hold_lease
from core.cycle.measure import measure_rows
from core.cycle.record import close_cycle, export_champion, mark_checked, open_cycle, register_challenger
from core.cycle.records import Asked, Told, Turn, Watcher
from core.cycle.shadow import shadow_record
from core.errors import Busy, Overtaken
from core.records import CycleReport
from core.services.ingestion import sealing
from core.services.models import pruning
from core.storage import learners, mlflow_copy, queries
from core.storage.workspace import Workspace
from core.text.reasons import sentence

ATTEMPTS = 3  # at a cycle that a person's change overtakes


def run_cycle(
    ws: Workspace,
    project_id: int,
    *,
    cause: str,
    now: datetime,
    by: str | None = None,
    force: bool = False,
    watcher: Watcher | None = None,
) -> CycleReport | None:
    """Turn the loop of one project once.

    Args:
        cause: schedule | button | api | cli | live.
        now: the cycle's instant; every row that it writes carries it.
        force: race whatever the policy says.

    Returns:
        The audit row, or None when there was nothing new and nothing forced (no row is written then).

    Raises:
        Busy: another process turns this project's loop.
    """
    asked = Asked(cause=cause, now=now, by=by, force=force, watcher=watcher or Watcher())
    with hold_lease(ws, project_id) as lease:
        close_interrupted(ws, project_id, now)
        for attempt in range(ATTEMPTS):
            try:
                return _attempt(ws, project_id, lease, asked)
            except Overtaken as error:
                if error.by == "lease":
                    raise Busy(str(error)) from error
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")


def _attempt(ws: Workspace, project_id: int, lease: str, asked: Asked) -> CycleReport | None:
    """One attempt at `run_cycle`, under the lease.

    Raises:
        Overtaken: a person promoted a model or changed the policy meanwhile; nothing was kept, and the next attempt begins with
            what stands now. Or the lease was lost.
    """
    now = asked.now
    with ws.database.read() as session:
        project = queries.project_info(session, queries.project_row(session, project_id))
    step = "Sealing the log"
    try:
        sealing.seal_log(ws, project, now=now, force=asked.cause != "schedule")
        step = "Reading the new rows"
        project, found = gather(ws, project_id)
        export_champion(ws, project)
    except Exception as error:  # nothing was read: there is no evidence, but there is an audit row
        end_if_deleted(ws, project_id, error)
        cycle_id = open_cycle(ws, project, None, asked)
        fail_cycle(ws, project, cycle_id, error, step=step, now=now, seconds=0.0)
        raise
    wanted = clock_asks(ws, project_id, now) or asked.force or (found is not None and project.champion != found.serves)
    if found is None or not (wanted or found.batches or found.groups or found.set_aside):
        mark_checked(ws, project_id, now, found)
        return None
    cycle_id = open_cycle(ws, project, found, asked)
    if asked.watcher.on_start is not None:
        asked.watcher.on_start(cycle_id)
    with logger.contextualize(project=project.slug, cycle=cycle_id):
        report = _watched(
            Turn(
                ws=ws, project=project, found=found, cycle_id=cycle_id, lease=lease, asked=asked,
                progress=Told(asked.watcher.progress), started=time.perf_counter(),
            )
        )  # fmt: skip
    mlflow_copy.sync(ws, project_id)
    return report


def _watched(turn: Turn) -> CycleReport:
    """The turn, and the end of its audit row if it does not come to its own."""
    ws, project, now = turn.ws, turn.project, turn.asked.now
    try:
        report = _turn(turn)
    except Overtaken as error:
        end_if_deleted(ws, project.id, error)
        logger.warning("the cycle was overtaken: {error}", error=str(error))
        end_overtaken(ws, turn.cycle_id, error, now=now)
        raise
    except Exception as error:
        end_if_deleted(ws, project.id, error)
        spent = time.perf_counter() - turn.started
        fail_cycle(ws, project, turn.cycle_id, error, step=turn.progress.step, now=now, seconds=spent)
        raise
    logger.info(
        "{decision}: {outcome}. {reason}",
        decision=report.decision,
        outcome=report.outcome,
        reason=sentence(report.reason),
    )
    return report


def _turn(turn: Turn) -> CycleReport:
    """Measure what is new, ask the policy, race if it says so, and let the cycle count."""
    ws, project, found = turn.ws, turn.project, turn.found
    assert project.schema is not None
    turn.progress(0.05, "Measuring the new rows")
    rows_before = project.labelled - sum(len(g.y) for g in found.groups)
    state = learner_state.load_learner(ws, project, rows_before, found.notes)
    measured = measure_rows(turn, rows_before)
    fresh = learner_state.fresh_rows(project.schema, found.groups, rows_before, state)
    window, used = learner_state.window_reader(ws, project, found)
    step = advance_learner(turn, state, fresh, window, measured)
    turn.progress(0.9, "Writing the audit row")
    if step.challenger is not None and step.challenger_version is not None:
        register_challenger(turn, step, window, used())
    shadow = shadow_record(ws, project, found, state, step)
    path = learners.save(ws, project.id, turn.cycle_id, step.state)
    seconds = time.perf_counter() - turn.started
    report = close_cycle(turn, step, measured, shadow, learner_path=path, seconds=seconds)
    learner_state.drop_old(ws, project.id, keep=path)
    pruning.prune_quietly(ws, project.id, turn.asked.now)
    learner_state.remember(ws, project.id, path, step)
    turn.progress(1.0, "Done")
    return report
