"""A cycle from the lease to the last notice, step by step; each step is implemented in its own module."""

from __future__ import annotations

import time
from datetime import datetime

from loguru import logger

from core.cycle import learner_state
from core.cycle.decide import advance_learner, is_clock_due
from core.cycle.evidence import collect_evidence
from core.cycle.failing import close_interrupted, end_if_deleted, end_overtaken, fail_cycle
from core.cycle.lease import hold_lease
from core.cycle.measure import measure_rows
from core.cycle.record import close_cycle, export_champion, open_cycle, record_no_change, register_challenger
from core.cycle.records import CycleRequest, CycleRun, StepProgress, Watcher
from core.cycle.shadow import shadow_record
from core.errors import Busy, Overtaken
from core.records import CycleReport
from core.services.ingestion import sealing
from core.services.models import pruning
from core.storage import learners, mlflow_copy, queries
from core.storage.workspace import Workspace
from core.text.reasons import sentence

ATTEMPTS = 3  # at a cycle that is overtaken by a manual change


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
    """Run one cycle of a project's loop.

    Args:
        cause: schedule | button | api | cli | live.
        now: the cycle's instant; every row that it writes carries it.
        force: retrain regardless of the policy.

    Returns:
        The audit row, or None when there was nothing new and nothing forced (no row is written then).

    Raises:
        Busy: another process is running a cycle of this project.
    """
    request = CycleRequest(cause=cause, now=now, by=by, force=force, watcher=watcher or Watcher())
    with hold_lease(ws, project_id) as lease:
        close_interrupted(ws, project_id, now)
        for attempt in range(ATTEMPTS):
            try:
                return _attempt(ws, project_id, lease, request)
            except Overtaken as error:
                if error.by == "lease":
                    raise Busy(str(error)) from error
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")


def _attempt(ws: Workspace, project_id: int, lease: str, request: CycleRequest) -> CycleReport | None:
    """One attempt at `run_cycle`, under the lease.

    Raises:
        Overtaken: a person promoted a model or changed the policy meanwhile; nothing was stored, and the next attempt starts
            from the current state. Or the lease was lost.
    """
    now = request.now
    with ws.database.read() as session:
        project = queries.project_info(session, queries.project_row(session, project_id))
    step = "Sealing the log"
    try:
        sealing.seal_log(ws, project, now=now, force=request.cause != "schedule")
        step = "Reading the new rows"
        project, evidence = collect_evidence(ws, project_id)
        export_champion(ws, project)
    except Exception as error:  # nothing was read: there is no evidence, but there is an audit row
        end_if_deleted(ws, project_id, error)
        cycle_id = open_cycle(ws, project, None, request)
        fail_cycle(ws, project, cycle_id, error, step=step, now=now, seconds=0.0)
        raise
    wanted = (
        is_clock_due(ws, project_id, now)
        or request.force
        or (evidence is not None and project.champion != evidence.serves)
    )
    if evidence is None or not (wanted or evidence.batches or evidence.labelled or evidence.set_aside):
        record_no_change(ws, project_id, now, evidence)
        return None
    cycle_id = open_cycle(ws, project, evidence, request)
    if request.watcher.on_start is not None:
        request.watcher.on_start(cycle_id)
    with logger.contextualize(project=project.slug, cycle=cycle_id):
        report = _run_recorded(
            CycleRun(
                ws=ws, project=project, evidence=evidence, cycle_id=cycle_id, lease=lease, request=request,
                progress=StepProgress(request.watcher.progress), started=time.perf_counter(),
            )
        )  # fmt: skip
    mlflow_copy.sync(ws, project_id)
    return report


def _run_recorded(cycle: CycleRun) -> CycleReport:
    """Run the steps, and close the audit row if they fail."""
    ws, project, now = cycle.ws, cycle.project, cycle.request.now
    try:
        report = _run_steps(cycle)
    except Overtaken as error:
        end_if_deleted(ws, project.id, error)
        logger.warning("the cycle was overtaken: {error}", error=str(error))
        end_overtaken(ws, cycle.cycle_id, error, now=now)
        raise
    except Exception as error:
        end_if_deleted(ws, project.id, error)
        spent = time.perf_counter() - cycle.started
        fail_cycle(ws, project, cycle.cycle_id, error, step=cycle.progress.step, now=now, seconds=spent)
        raise
    logger.info(
        "{decision}: {outcome}. {reason}",
        decision=report.decision,
        outcome=report.outcome,
        reason=sentence(report.reason),
    )
    return report


def _run_steps(cycle: CycleRun) -> CycleReport:
    """Measure the new evidence, apply the policy, race if it says so, and commit."""
    ws, project, evidence = cycle.ws, cycle.project, cycle.evidence
    cycle.progress(0.05, "Measuring the new rows")
    rows_before = project.labelled - sum(len(g.y) for g in evidence.labelled)
    state = learner_state.load_learner(ws, project, rows_before, evidence.notes)
    measured = measure_rows(cycle, rows_before)
    window, used = learner_state.window_reader(ws, project, evidence)
    step = advance_learner(cycle, state, window, measured, rows_before)
    cycle.progress(0.9, "Writing the audit row")
    if step.challenger is not None and step.challenger_version is not None:
        register_challenger(cycle, step, window, used())
    shadow = shadow_record(ws, project, evidence, state, step)
    path = learners.save(ws, project.id, cycle.cycle_id, step.state)
    seconds = time.perf_counter() - cycle.started
    report = close_cycle(cycle, step, measured, shadow, learner_path=path, seconds=seconds)
    learner_state.drop_old(ws, project.id, keep=path)
    pruning.prune_quietly(ws, project.id, cycle.request.now)
    learner_state.remember(ws, project.id, path, step)
    cycle.progress(1.0, "Done")
    return report
