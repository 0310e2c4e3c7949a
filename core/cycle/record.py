"""The writes of a cycle: its audit row, the challenger's files, and the closing transaction that makes it effective.

Failed and overtaken cycles are written by `core.cycle.failing`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from core.cycle.decide import next_check
from core.cycle.measure import Measurements
from core.cycle.records import CycleRequest, CycleRun, NewEvidence, Window
from core.errors import Overtaken
from core.learning.policy import policy_from_document
from core.records import (
    SERVING,
    Change,
    CommitteeMember,
    CycleReport,
    ProjectInfo,
    Reason,
    ShadowRecord,
    as_written,
    because,
    from_document,
    to_document,
)
from core.services.automation import attempts
from core.services.incidents import notify
from core.storage import documents, history, leases, queries, registry
from core.storage.tables import Batch, Cycle, DriftRun, EstimateRun, PerformanceRun
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.orm import Session

    from core.learning.step import Step


def open_cycle(ws: Workspace, project: ProjectInfo, evidence: NewEvidence | None, request: CycleRequest) -> int:
    """The id of a new audit row of a running cycle; `evidence` is None if collecting it failed."""
    from core.learning.policy import policy_to_document

    ids = (
        list(dict.fromkeys([*(b.id for b in evidence.batches), *(g.batch.id for g in evidence.labelled)]))
        if evidence
        else []
    )
    with ws.database.write() as session:
        row = Cycle(
            project_id=project.id,
            cause=request.cause,
            by=request.by,
            status="running",
            started_at=request.now,
            seed=0,
            batch_ids=ids,
            policy=policy_to_document(project.policy),
            champion_before=evidence.serves if evidence else project.champion,
        )
        session.add(row)
        session.flush()
        row.seed = zlib.crc32(f"{project.slug}:{row.id}".encode()) & 0x7FFFFFFF
        return row.id


def export_champion(ws: Workspace, project: ProjectInfo) -> None:
    """Export a scorer for a champion that was stored before there were scorers."""
    schema = project.schema
    if project.champion is not None and schema is not None:

        def rows() -> pd.DataFrame:
            newest = history.History(ws, project.id, schema).newest(1000, labelled=False, measured=True)
            return newest[0][list(schema.names)]

        registry.ensure_scorer(ws, project.id, project.champion, rows)


def register_challenger(cycle: CycleRun, step: Step, window: Window, batch_ids: list[int]) -> None:
    """Store the challenger with its training data's identity; it serves only once the closing transaction says so."""
    ws, project, request = cycle.ws, cycle.project, cycle.request
    assert project.schema is not None
    challenger = step.challenger
    assert challenger is not None
    members = [
        from_document(CommitteeMember, {**known, "weight": weight})
        for known, weight in zip(challenger.info, challenger.weights, strict=True)
    ]
    score = step.comparison.challenger if step.comparison else None
    n_rows = max((m.n_rows or 0 for m in members), default=0)
    with ws.database.read() as session:
        spans = session.execute(
            select(Batch.first_at, Batch.last_at, Batch.sha256).where(Batch.id.in_(batch_ids)).order_by(Batch.id)
        ).all()
    digest = hashlib.sha256("".join(s[2] for s in spans).encode()).hexdigest()
    registry.register_version(
        ws,
        project,
        registry.NewVersion(
            model=challenger,
            version=step.challenger_version,
            family=family_of(members),
            members=members,
            metrics={score.metric: score.value} if score is not None else {},
            schema=project.schema,
            X_learnt=window(n_rows or 5)[0],
            n_rows=n_rows,
            data_digest=digest,
            batch_ids=batch_ids,
            first_at=min((s[0] for s in spans), default=None),
            last_at=max((s[1] for s in spans), default=None),
            candidates=step.candidates,
        ),
        Change(by=request.by or "loop", now=request.now, cycle_id=cycle.cycle_id),
    )


def family_of(members: Sequence[CommitteeMember]) -> str:
    """A short name of a model: its family, or "committee of ..." by descending weight."""
    shares: dict[str, float] = {}
    for member in members:
        shares[member.family] = shares.get(member.family, 0.0) + (member.weight or 0.0)
    names = sorted(shares, key=lambda name: -shares[name])
    return names[0] if len(members) == 1 else "committee of " + ", ".join(names)


def close_cycle(
    cycle: CycleRun,
    step: Step,
    measured: Measurements,
    shadow: ShadowRecord | None,
    *,
    learner_path: str,
    seconds: float,
) -> CycleReport:
    """Audit row, measurements, promotion, watermarks and notices: all or nothing.

    Raises:
        Overtaken: the lease, champion or policy at the start of the cycle has changed.
    """
    with cycle.ws.database.write() as session:
        row = session.get_one(Cycle, cycle.cycle_id)
        _raise_if_overtaken(session, cycle.project, row, cycle.lease)
        _fill_row(row, cycle, step, shadow, seconds)
        _add_measured(session, cycle, measured)
        _add_serving_event(session, cycle, step)
        shadows = _advance_project(session, cycle, learner_path, shadow.version if shadow else None)
        attempts.reset_attempts(session, cycle.project.id)
        session.flush()
        session.refresh(row)  # as stored: records are documents now
        report = documents.cycle_from(row)
        notify.enqueue(cycle.ws, session, report, cycle.request.now, shadow=shadows)
        if cycle.request.watcher.on_close is not None:
            cycle.request.watcher.on_close(session, report)
        return report


def _fill_row(row: Cycle, cycle: CycleRun, step: Step, shadow: ShadowRecord | None, seconds: float) -> None:
    """Fill the audit row: evidence, decision and its reason, outcome."""
    evidence = cycle.evidence
    row.status, row.finished_at, row.seconds = "done", cycle.request.now + timedelta(seconds=seconds), seconds
    row.evidence = dataclasses.asdict(dataclasses.replace(step.evidence, set_aside=evidence.left_out()))
    row.decision, row.reason = step.decision.action, _with_notes(step.decision.reason, evidence.notes)
    row.firings = list(step.decision.firings)
    row.candidates = list(step.candidates)
    row.comparison = to_document(step.comparison)
    row.verdict = to_document(step.verdict)
    row.outcome, row.challenger, row.champion_after = step.outcome, step.challenger_version, step.champion_version
    row.memory = dataclasses.asdict(step.memory) if step.memory else None
    row.shadow, row.label_watermark = to_document(shadow), evidence.label_watermark


def _with_notes(reason: Reason, notes: Sequence[str]) -> Reason:
    """The reason of a decision, followed by the notes on what was lost."""
    return because("together", parts=[reason, *map(as_written, notes)]) if notes else reason


def _add_measured(session: Session, cycle: CycleRun, measured: Measurements) -> None:
    """Add realised scores, estimates and the drift report of this cycle."""
    now, drift = cycle.request.now, measured.drift
    runs: list[PerformanceRun | EstimateRun] = [*measured.performance, *measured.estimated]
    for run in runs:
        run.cycle_id, run.created_at = cycle.cycle_id, now
        session.add(run)
    if drift is None:
        return
    session.add(
        DriftRun(
            project_id=cycle.project.id,
            cycle_id=cycle.cycle_id,
            batch_id=max(b.id for b in cycle.evidence.batches),
            created_at=now,
            at=drift.current.last_at or now,
            share_drifted=drift.share_drifted,
            report=dataclasses.asdict(drift),
        )
    )


def _add_serving_event(session: Session, cycle: CycleRun, step: Step) -> None:
    """Record a new champion, if there is one: it serves from this transaction on."""
    if step.outcome not in SERVING or step.champion_version is None:
        return
    registry.record_event(
        session,
        cycle.project.id,
        step.champion_version,
        step.outcome,
        step.verdict.reason if step.verdict else step.decision.reason,
        Change(by=cycle.request.by or "loop", now=cycle.request.now, cycle_id=cycle.cycle_id),
    )


def _advance_project(
    session: Session, cycle: CycleRun, learner_path: str, shadow: int | None
) -> tuple[int | None, int | None]:
    """Update watermarks, learner, shadow and next check in the project's row; returns the shadow before and after."""
    project, evidence, now = cycle.project, cycle.evidence, cycle.request.now
    owner = queries.project_row(session, project.id)
    owner.batch_watermark, owner.label_watermark = evidence.batch_watermark, evidence.label_watermark
    owner.learner_path = learner_path
    owner.checked_news, owner.checked_at, owner.labels_checked = evidence.news, now, evidence.label_watermark
    _clear_pending(session, evidence)
    serves = registry.serving_version(session, project.id)  # a person may have promoted the shadow meanwhile
    before = owner.shadow_version
    owner.shadow_version = None if serves is not None and serves[0] == shadow else shadow
    owner.next_race_at = next_check(project, now)
    return before, owner.shadow_version


def _raise_if_overtaken(session: Session, project: ProjectInfo, row: Cycle, lease: str) -> None:
    """Raise Overtaken unless the cycle still holds its lease, and champion and policy are those at its start."""
    if leases.owner_until_commit(session, project.id) != lease or row.status != "running":
        raise Overtaken("lease", "This check stood still for so long that another one began. Nothing of it was kept.")
    serves = registry.serving_version(session, project.id)
    if (serves[0] if serves is not None else None) != row.champion_before:
        raise Overtaken("champion", "Somebody changed the champion while this check ran. It starts again.")
    if policy_from_document(queries.project_row(session, project.id).policy) != project.policy:
        raise Overtaken("policy", "Somebody changed the policy while this check ran. It starts again.")


def record_no_change(ws: Workspace, project_id: int, now: datetime, evidence: NewEvidence | None) -> None:
    """Nothing new: store what was checked, so that the next check costs one query."""
    with ws.database.write() as session:
        row = queries.project_row(session, project_id)
        row.checked_at = now
        if evidence is not None:
            row.checked_news = evidence.news
            row.batch_watermark, row.label_watermark = evidence.batch_watermark, evidence.label_watermark
            row.labels_checked = evidence.label_watermark
            _clear_pending(session, evidence)
        attempts.reset_attempts(session, project_id)


def _clear_pending(session: Session, evidence: NewEvidence) -> None:
    """Clear the pending mark of batches that this cycle has read."""
    pending = [b.id for b in evidence.batches if b.pending]
    if pending:
        session.execute(update(Batch).where(Batch.id.in_(pending)).values(pending=False))
