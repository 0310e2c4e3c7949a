"""Requested work. The table is the single source of truth; processes only read and update it.

A job is claimed for a limited time and the claim renewed while it runs: if its process dies, another one takes over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.learning.policy import policy_to_document
from core.records import JsonObject, Policy
from core.services.access.actors import require
from core.services.incidents import notify
from core.storage import audit, queries
from core.storage.tables import Job
from core.storage.workspace import Workspace

CLAIM = timedelta(seconds=60)


MAX_ATTEMPTS = 3


Also = Callable[[Session, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A job as shown to clients."""

    id: str
    kind: str
    project_id: int | None
    status: str  # queued | running | done | failed
    payload: JsonObject
    result: JsonObject | None
    error: str | None
    cycle_id: int | None
    attempts: int
    requested_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    stage: str | None = None  # the current step as text, while it runs
    share: float | None = None  # completed share


def _info(row: Job) -> JobInfo:
    return JobInfo(
        id=row.id,
        kind=row.kind,
        project_id=row.project_id,
        status=row.status,
        payload=row.payload,
        result=row.result,
        error=row.error,
        cycle_id=row.cycle_id,
        attempts=row.attempts,
        requested_by=row.requested_by,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        stage=row.stage,
        share=row.share,
    )


def request_cycle(
    ws: Workspace, project_id: int, *, cause: str, force: bool, by: str, now: datetime, also: Also | None = None
) -> str:
    """Request a cycle; returns the job's id. An equal queued request is reused, not duplicated.

    Args:
        also: further writes in the same transaction, called with the id.
    """
    require(ws, by, "operator")
    with ws.database.write() as session:
        waiting = session.scalars(
            select(Job).where(Job.project_id == project_id, Job.kind == "cycle", Job.status == "queued")
        )
        for row in waiting:
            if row.payload.get("force") == force:
                job = row.id
                break
        else:
            job = _add(session, "cycle", project_id, {"cause": cause, "force": force}, by, now)
        if also is not None:
            also(session, job)
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A file queued for a worker."""

    path: Path
    kind: Literal["ingest", "score"]
    options: JsonObject  # options of the job


def request_file(
    ws: Workspace, project_id: int, file: Spooled, *, by: str, now: datetime, also: Also | None = None
) -> str:
    """Request that a worker stores a spooled file, or predicts its rows; returns the job's id.

    The file is removed when the job ends; the predictions are then in `Workspace.results_path`.
    """
    require(ws, by, "operator")
    with ws.database.write() as session:
        job = _add(session, file.kind, project_id, {"path": str(file.path), **file.options}, by, now)
        if also is not None:
            also(session, job)
        return job


def request_backtest(
    ws: Workspace, project_id: int, policies: Sequence[Policy], *, since: datetime | None, by: str, now: datetime
) -> str:
    """Request a backtest of policies on the stored history; returns the job's id."""
    require(ws, by, "operator")
    payload = {
        "policies": [policy_to_document(policy) for policy in policies],
        "since": since.isoformat() if since is not None else None,
    }
    with ws.database.write() as session:
        return _add(session, "backtest", project_id, payload, by, now)


def newest_backtest(ws: Workspace, project_id: int) -> JobInfo | None:
    """The last completed backtest of a project."""
    with ws.database.read() as session:
        row = session.scalar(
            select(Job)
            .where(Job.project_id == project_id, Job.kind == "backtest", Job.status == "done")
            .order_by(Job.finished_at.desc())
            .limit(1)
        )
        return None if row is None else _info(row)


def running_cycle(ws: Workspace, project_id: int) -> JobInfo | None:
    """A requested cycle that is queued or running."""
    with ws.database.read() as session:
        row = session.scalar(
            select(Job)
            .where(Job.project_id == project_id, Job.kind == "cycle", Job.status.in_(("queued", "running")))
            .order_by(Job.created_at)
            .limit(1)
        )
        return None if row is None else _info(row)


def report_progress(ws: Workspace, job_id: str, share: float, stage: str) -> None:
    """The current step of a running job."""
    with ws.database.write() as session:
        row = session.get(Job, job_id)
        if row is not None and row.status == "running":
            row.stage, row.share = stage, share


def _add(session: Session, kind: str, project_id: int, payload: JsonObject, by: str, now: datetime) -> str:
    row = Job(
        id=secrets.token_hex(8),
        kind=kind,
        project_id=project_id,
        status="queued",
        payload=payload,
        requested_by=by,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def get_job(ws: Workspace, job_id: str) -> JobInfo:
    """A job by id; NotFound if it does not exist."""
    with ws.database.read() as session:
        row = session.get(Job, job_id)
        if row is None:
            raise NotFound(f"There is no job '{job_id[:60]}'.")
        return _info(row)


def is_free(now: datetime) -> ColumnElement[bool]:
    """Jobs that are queued, or whose worker is gone."""
    return or_(Job.status == "queued", and_(Job.status == "running", queries.is_due(Job.lease_until, now)))


def claim_next(ws: Workspace, owner: str, now: datetime) -> JobInfo | None:
    """Claim the oldest job that is queued, or whose worker is gone; None if there is none."""
    free = is_free(now)
    with ws.database.read() as session:
        if session.scalar(select(Job.id).where(free).limit(1)) is None:
            return None
    with ws.database.write() as session:
        row = session.scalar(select(Job).where(free).order_by(Job.created_at).limit(1))
        if row is None:
            return None
        if row.attempts >= MAX_ATTEMPTS:
            reason = f"given up after {row.attempts} attempts that ended their process"
            row.status, row.error, row.finished_at = "failed", reason, now
            after = {"job": row.id, "kind": row.kind, "why": reason}
            audit.record(session, who="worker", what="job given up", project_id=row.project_id, after=after, now=now)
            if row.project_id is not None:
                text, headline = f"{row.kind} {row.id}: {reason}.", "a job was given up"
                notify.enqueue_event(ws, session, "attention", row.project_id, text, now, headline=headline)
            return None
        row.status, row.owner, row.lease_until = "running", owner, now + CLAIM
        row.started_at = row.started_at or now
        row.attempts += 1
        session.flush()
        return _info(row)


def renew(ws: Workspace, job_id: str, owner: str, now: datetime) -> None:
    """Renew a claim."""
    with ws.database.write() as session:
        row = session.get(Job, job_id)
        if row is not None and row.owner == owner and row.status == "running":
            row.lease_until = now + CLAIM


def release(ws: Workspace, job_id: str, owner: str) -> None:
    """Release a claim and uncount the attempt: the worker was stopped, which says nothing about the job."""
    with ws.database.write() as session:
        row = session.get(Job, job_id)
        if row is not None and row.owner == owner and row.status == "running":
            row.status, row.lease_until, row.attempts = "queued", None, max(row.attempts - 1, 0)


def note_cycle(ws: Workspace, job_id: str, cycle_id: int) -> None:
    """Store which cycle a job started, as soon as it has an id."""
    with ws.database.write() as session:
        row = session.get(Job, job_id)
        if row is not None:
            row.cycle_id = cycle_id


def finish(ws: Workspace, job_id: str, result: Mapping[str, Any], now: datetime) -> None:
    """Mark the job as done."""
    with ws.database.write() as session:
        end(session, job_id, result, now)


def end(session: Session, job_id: str, result: Mapping[str, Any], now: datetime) -> None:
    """The same in the transaction that stores the job's result."""
    row = session.get(Job, job_id)
    if row is None:  # it was deleted with its project
        return
    row.status, row.result, row.finished_at, row.lease_until = "done", dict(result), now, None
    row.cycle_id = result.get("cycle") or row.cycle_id


def fail(ws: Workspace, job_id: str, error: str, now: datetime) -> None:
    """Mark the job as failed; `error` is for people. A job that is done stays done, whatever fails afterwards."""
    with ws.database.write() as session:
        row = session.get(Job, job_id)
        if row is not None and row.status != "done":
            row.status, row.error, row.finished_at, row.lease_until = "failed", error, now, None
