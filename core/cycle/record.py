"""What is written of a cycle: its audit row, the challenger's files, and the one transaction by which it counts.

Cycles that failed or were overtaken are written by `core.cycle.failing`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from core.cycle.decide import next_look
from core.cycle.measure import Measured
from core.cycle.records import Asked, Found, Turn, Window
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


def open_cycle(ws: Workspace, project: ProjectInfo, found: Found | None, asked: Asked) -> int:
    """The id of a new audit row, of a cycle that runs; `found` is None where reading what is new failed."""
    from core.learning.policy import policy_to_document

    ids = list(dict.fromkeys([*(b.id for b in found.batches), *(g.batch.id for g in found.groups)])) if found else []
    with ws.database.write() as session:
        row = Cycle(
            project_id=project.id,
            cause=asked.cause,
            by=asked.by,
            status="running",
            started_at=asked.now,
            seed=0,
            batch_ids=ids,
            policy=policy_to_document(project.policy),
            champion_before=found.serves if found else project.champion,
        )
        session.add(row)
        session.flush()
        row.seed = zlib.crc32(f"{project.slug}:{row.id}".encode()) & 0x7FFFFFFF
        return row.id


def export_champion(ws: Workspace, project: ProjectInfo) -> None:
    """A champion of a version of this program that knew no scorers gets one."""
    schema = project.schema
    if project.champion is not None and schema is not None:

        def rows() -> pd.DataFrame:
            newest = history.History(ws, project.id, schema).newest(1000, labelled=False, measured=True)
            return newest[0][list(schema.names)]

        registry.ensure_scorer(ws, project.id, project.champion, rows)


def register_challenger(turn: Turn, step: Step, window: Window, batch_ids: list[int]) -> None:
    """Store the challenger with what it learnt from; it serves only when the cycle's transaction says so."""
    ws, project, asked = turn.ws, turn.project, turn.asked
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
        Change(by=asked.by or "loop", now=asked.now, cycle_id=turn.cycle_id),
    )


def family_of(members: Sequence[CommitteeMember]) -> str:
    """A model in a word: its family, or "committee of ..." by falling weight."""
    shares: dict[str, float] = {}
    for member in members:
        shares[member.family] = shares.get(member.family, 0.0) + (member.weight or 0.0)
    names = sorted(shares, key=lambda name: -shares[name])
    return names[0] if len(members) == 1 else "committee of " + ", ".join(names)


def close_cycle(
    turn: Turn,
    step: Step,
    measured: Measured,
    shadow: ShadowRecord | None,
    *,
    learner_path: str,
    seconds: float,
) -> CycleReport:
    """Audit row, measurements, promotion, watermarks and notices: all or nothing.

    Raises:
        Overtaken: something of what the cycle began with has changed.
    """
    with turn.ws.database.write() as session:
        row = session.get_one(Cycle, turn.cycle_id)
        _refuse_overtaken(session, turn.project, row, turn.lease)
        _fill_row(row, turn, step, shadow, seconds)
        _add_measured(session, turn, measured)
        _add_serving_event(session, turn, step)
        shadows = _move_on(session, turn, learner_path, shadow.version if shadow else None)
        attempts.works_again(session, turn.project.id)
        session.flush()
        session.refresh(row)  # as it is stored: records became documents
        report = documents.cycle_from(row)
        notify.enqueue(turn.ws, session, report, turn.asked.now, shadow=shadows)
        if turn.asked.watcher.on_close is not None:
            turn.asked.watcher.on_close(session, report)
        return report


def _fill_row(row: Cycle, turn: Turn, step: Step, shadow: ShadowRecord | None, seconds: float) -> None:
    """The audit row: the evidence, what was decided of it and why, and what came of that."""
    found = turn.found
    row.status, row.finished_at, row.seconds = "done", turn.asked.now + timedelta(seconds=seconds), seconds
    row.evidence = dataclasses.asdict(dataclasses.replace(step.evidence, set_aside=found.left_out()))
    row.decision, row.reason = step.decision.action, _with_notes(step.decision.reason, found.notes)
    row.firings = list(step.decision.firings)
    row.candidates = list(step.candidates)
    row.comparison = to_document(step.comparison)
    row.verdict = to_document(step.verdict)
    row.outcome, row.challenger, row.champion_after = step.outcome, step.challenger_version, step.champion_version
    row.memory = dataclasses.asdict(step.memory) if step.memory else None
    row.shadow, row.label_watermark = to_document(shadow), found.label_watermark


def _with_notes(reason: Reason, notes: Sequence[str]) -> Reason:
    """The reason of a decision, and what was lost before it was made."""
    return because("together", parts=[reason, *map(as_written, notes)]) if notes else reason


def _add_measured(session: Session, turn: Turn, measured: Measured) -> None:
    """Realised scores, estimates and the drift report, as of this cycle."""
    now, drift = turn.asked.now, measured.drift
    runs: list[PerformanceRun | EstimateRun] = [*measured.performance, *measured.estimated]
    for run in runs:
        run.cycle_id, run.created_at = turn.cycle_id, now
        session.add(run)
    if drift is None:
        return
    session.add(
        DriftRun(
            project_id=turn.project.id,
            cycle_id=turn.cycle_id,
            batch_id=max(b.id for b in turn.found.batches),
            created_at=now,
            at=drift.current.last_at or now,
            share_drifted=drift.share_drifted,
            report=dataclasses.asdict(drift),
        )
    )


def _add_serving_event(session: Session, turn: Turn, step: Step) -> None:
    """Where the step ends with another champion: from this transaction on, it serves."""
    if step.outcome not in SERVING or step.champion_version is None:
        return
    registry.record_event(
        session,
        turn.project.id,
        step.champion_version,
        step.outcome,
        step.verdict.reason if step.verdict else step.decision.reason,
        Change(by=turn.asked.by or "loop", now=turn.asked.now, cycle_id=turn.cycle_id),
    )


def _move_on(session: Session, turn: Turn, learner_path: str, kept: int | None) -> tuple[int | None, int | None]:
    """Watermarks, learner, shadow and the next look of the project's row; the shadow before and after are returned."""
    project, found, now = turn.project, turn.found, turn.asked.now
    owner = queries.project_row(session, project.id)
    owner.batch_watermark, owner.label_watermark = found.batch_watermark, found.label_watermark
    owner.learner_path = learner_path
    owner.checked_news, owner.checked_at, owner.labels_checked = found.news, now, found.label_watermark
    _mark_read(session, found)
    serves = registry.serving_version(session, project.id)  # a person may have promoted the shadow meanwhile
    stood = owner.shadow_version
    owner.shadow_version = None if serves is not None and serves[0] == kept else kept
    owner.next_race_at = next_look(project, now)
    return stood, owner.shadow_version


def _refuse_overtaken(session: Session, project: ProjectInfo, row: Cycle, lease: str) -> None:
    """A cycle counts only if it still holds its lease, and champion and policy are those that it began with."""
    if leases.owner_until_commit(session, project.id) != lease or row.status != "running":
        raise Overtaken("lease", "This check stood still for so long that another one began. Nothing of it was kept.")
    serves = registry.serving_version(session, project.id)
    if (serves[0] if serves is not None else None) != row.champion_before:
        raise Overtaken("champion", "Somebody changed the champion while this check ran. It begins anew.")
    if policy_from_document(queries.project_row(session, project.id).policy) != project.policy:
        raise Overtaken("policy", "Somebody changed the policy while this check ran. It begins anew.")


def mark_checked(ws: Workspace, project_id: int, now: datetime, found: Found | None) -> None:
    """Nothing new: remember what was looked at, so that the next check costs one query."""
    with ws.database.write() as session:
        row = queries.project_row(session, project_id)
        row.checked_at = now
        if found is not None:
            row.checked_news = found.news
            row.batch_watermark, row.label_watermark = found.batch_watermark, found.label_watermark
            row.labels_checked = found.label_watermark
            _mark_read(session, found)
        attempts.works_again(session, project_id)


def _mark_read(session: Session, found: Found) -> None:
    """Batches below the watermark that waited for a cycle have had theirs."""
    waited = [b.id for b in found.batches if b.pending]
    if waited:
        session.execute(update(Batch).where(Batch.id.in_(waited)).values(pending=False))
