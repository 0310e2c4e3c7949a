"""Live runs: the rest of a project's stream played batch by batch through the real loop.

A run is a stored row that a worker advances (`core.cycle.advance_live`); pages only show it and change its status.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import BadInput, Busy, Conflict, NotFound
from core.records import ProjectInfo
from core.services.access.actors import require
from core.services.incidents import notify
from core.services.ingestion import ingest
from core.services.projects import streams
from core.storage import audit, queries
from core.storage.tables import Batch, LiveRun
from core.storage.workspace import Workspace

LiveStatus = Literal["playing", "paused", "stopped", "done", "failed"]
MAX_ATTEMPTS = 3  # consecutive steps that end their worker
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0  # pauses before a retry after a transient error
ENDED_WORKER = (
    "It has ended its worker {n} times in a row without an error message: most likely it ran out of memory, or a check took longer than "
    "CONTINUAL_CYCLE_TIMEOUT_SECONDS. Press Play to continue."
)
SPEEDS = {"slow": 5.0, "normal": 2.0, "fast": 0.0}  # seconds between two batches, computing time included


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveInfo:
    """A live run, for display."""

    id: int
    project_id: int
    status: LiveStatus
    sample: str
    position: int  # rows of the sample that are stored
    total: int
    batch_rows: int
    seconds_per_batch: float
    created_at: datetime
    advanced_at: datetime | None
    error: str | None

    @property
    def ended(self) -> bool:
        """Whether it has ended, in any way."""
        return self.status in ("stopped", "done", "failed")

    @property
    def batches(self) -> int:
        """Batches played after the warm-up."""
        return _batches(self.position, self.batch_rows)

    @property
    def total_batches(self) -> int:
        """Total number of batches after the warm-up."""
        return _batches(self.total, self.batch_rows)

    @property
    def share(self) -> float:
        """Share of the rows that are stored."""
        return min(self.position / self.total, 1.0)


def _batches(rows: int, batch_rows: int) -> int:
    return math.ceil(max(rows - streams.WARM_UP_ROWS, 0) / batch_rows)


def _info(row: LiveRun) -> LiveInfo:
    return LiveInfo(
        id=row.id,
        project_id=row.project_id,
        status=row.status,  # type: ignore[arg-type]
        sample=row.sample,
        position=row.position,
        total=row.total,
        batch_rows=row.batch_rows,
        seconds_per_batch=row.seconds_per_batch,
        created_at=row.created_at,
        advanced_at=row.advanced_at,
        error=row.error,
    )


def latest_live(ws: Workspace, project_id: int) -> LiveInfo | None:
    """The newest run of a project."""
    with ws.database.read() as session:
        row = session.scalar(
            select(LiveRun).where(LiveRun.project_id == project_id).order_by(LiveRun.id.desc()).limit(1)
        )
        return None if row is None else _info(row)


def start_live(
    ws: Workspace,
    project: ProjectInfo,
    *,
    by: str,
    now: datetime,
    seconds_per_batch: float = SPEEDS["normal"],
    batch_rows: int | None = None,
    by_clock: bool = True,
) -> LiveInfo:
    """Start playing the rows of the project's sample that are not stored yet.

    Args:
        by_clock: False: no batch ever becomes due, so that no worker plays any; the caller advances the run itself.

    Raises:
        BadInput: the project was not made from a sample, or every row of it is stored.
        Conflict: a run is in progress.
    """
    require(ws, by, "operator")
    stream = streams.stream_of(project.generator)
    sample, total = str((project.generator or {})["sample"]), len(stream.frame)
    if project.rows >= total:
        raise BadInput(
            f"All {total:,} rows of the sample are already stored in '{project.slug}'. Create another sample project to play it again."
        )
    with ws.database.write() as session:
        _refuse_second(session, project.id)
        row = LiveRun(
            project_id=project.id,
            status="playing",
            sample=sample,
            position=_stored_rows(session, project.id),
            total=total,
            batch_rows=batch_rows or stream.batch_rows,
            seconds_per_batch=seconds_per_batch,
            created_at=now,
            next_at=now if by_clock else None,
            created_by=by,
        )
        session.add(row)
        audit.record(session, who=by, what="live run started", project_id=project.id, after={"sample": sample}, now=now)
        session.flush()
        return _info(row)


def _refuse_second(session: Session, project_id: int) -> None:
    running = select(LiveRun.id).where(LiveRun.project_id == project_id, LiveRun.status.in_(("playing", "paused")))
    if session.scalar(running) is not None:
        raise Conflict("A live run of this project is already in progress. Stop it first.")


def _stored_rows(session: Session, project_id: int) -> int:
    """Rows ever stored from the sample, including undone ones, which are not played again."""
    return sum(
        session.scalars(select(Batch.rows).where(Batch.project_id == project_id, Batch.ids_from_user.is_(False)))
    )


def set_live_status(ws: Workspace, run_id: int, status: LiveStatus, *, by: str, now: datetime) -> LiveInfo:
    """Play, pause or stop a run. A failed one can be resumed; one that is done or was stopped cannot.

    Raises:
        Conflict: another run of the project is in progress.
    """
    require(ws, by, "operator")
    with ws.database.write() as session:
        row = _row(session, run_id)
        again = row.status == "failed" and status == "playing"
        if again:
            _refuse_second(session, row.project_id)
        if again or row.status in ("playing", "paused"):
            row.status = status
            row.next_at = now if status == "playing" else None
            row.attempts, row.retries, row.error = 0, 0, None
            audit.record(session, who=by, what=f"live run {status}", project_id=row.project_id, now=now)
        return _info(row)


def set_live_speed(ws: Workspace, run_id: int, seconds_per_batch: float, *, now: datetime) -> LiveInfo:
    """Change the pace, with effect from the next batch."""
    with ws.database.write() as session:
        row = _row(session, run_id)
        row.seconds_per_batch = seconds_per_batch
        if row.status == "playing":
            row.next_at = now
        return _info(row)


def due_runs(ws: Workspace, now: datetime) -> list[int]:
    """Runs with a due batch."""
    with ws.database.read() as session:
        return list(
            session.scalars(
                select(LiveRun.id)
                .where(LiveRun.status == "playing", queries.is_due(LiveRun.next_at, now))
                .order_by(LiveRun.next_at)
            )
        )


def next_due_at(ws: Workspace) -> datetime | None:
    """When the next batch of any playing run is due."""
    with ws.database.read() as session:
        return session.scalar(
            select(LiveRun.next_at)
            .where(LiveRun.status == "playing", LiveRun.next_at.is_not(None))
            .order_by(LiveRun.next_at)
            .limit(1)
        )


def store_next(ws: Workspace, run_id: int, *, now: datetime) -> tuple[LiveInfo, bool]:
    """Store the run's next rows as a batch, position and batch in one transaction; returns False if none were left."""
    with ws.database.read() as session:
        run = _info(_row(session, run_id))
        project = queries.project_info(session, queries.project_row(session, run.project_id))
    if run.status != "playing":
        return run, False
    stream = streams.stream_of(project.generator)
    frame = stream.frame
    stop = min(run.position + run.batch_rows, run.total)
    if run.position >= stop:
        return _end(ws, run_id, "done"), False

    def advance(session: Session, _report: ingest.IngestReport) -> None:
        row = _row(session, run_id)
        if row.position != run.position:
            raise Busy("Another worker has already advanced this live run.")
        row.position, row.advanced_at = stop, now

    rows = frame.iloc[run.position : stop].reset_index(drop=True)
    ingest.ingest_frame(
        ws, project, rows, origin=f"{stream.name} rows {run.position + 1}-{stop}", by="live", now=now, also=advance
    )
    with ws.database.read() as session:
        return _info(_row(session, run_id)), True


def schedule_next(ws: Workspace, run_id: int, at: datetime) -> None:
    """When the run's next batch is due; ends the run after its last row."""
    with ws.database.write() as session:
        row = _row(session, run_id)
        row.attempts, row.retries, row.error = 0, 0, None
        if row.status == "playing":
            row.next_at = at if row.next_at is not None else None
            if row.position >= row.total:
                row.status, row.next_at = "done", None


def begin_step(ws: Workspace, run_id: int, now: datetime) -> bool:
    """Count a step that is about to start; False if the last MAX_ATTEMPTS ended their worker: the run fails then."""
    with ws.database.write() as session:
        row = session.get(LiveRun, run_id)
        if row is None:
            return False
        if row.attempts < MAX_ATTEMPTS:
            row.attempts += 1
            return True
        row.status, row.next_at, row.error = "failed", None, ENDED_WORKER.format(n=row.attempts)
        audit.record(session, who="worker", what="live run given up", project_id=row.project_id, now=now)
        headline = "the live run was given up"
        notify.enqueue_event(ws, session, "attention", row.project_id, row.error, now, headline=headline)
        return False


def uncount_step(ws: Workspace, run_id: int) -> None:
    """Uncount a step that was cut off because the worker was stopped."""
    with ws.database.write() as session:
        row = session.get(LiveRun, run_id)
        if row is not None:
            row.attempts = max(row.attempts - 1, 0)


def postpone(ws: Workspace, run_id: int, why: str, now: datetime) -> float:
    """Schedule a retry after a transient error and store the reason; returns the pause in seconds, which doubles each time."""
    with ws.database.write() as session:
        row = _row(session, run_id)
        pause = min(FIRST_PAUSE_S * 2**row.retries, LONGEST_PAUSE_S)
        row.attempts, row.retries = 0, row.retries + 1
        if row.status == "playing":
            row.error, row.next_at = f"{why} It is retried in {pause:g} s.", now + timedelta(seconds=pause)
        return pause


def fail_run(ws: Workspace, run_id: int, error: str) -> LiveInfo:
    """End a run that cannot continue, with a reason for people."""
    return _end(ws, run_id, "failed", error)


def _end(ws: Workspace, run_id: int, status: LiveStatus, error: str | None = None) -> LiveInfo:
    with ws.database.write() as session:
        row = _row(session, run_id)
        row.status, row.next_at, row.error = status, None, error
        return _info(row)


def _row(session: Session, run_id: int) -> LiveRun:
    row = session.get(LiveRun, run_id)
    if row is None:
        raise NotFound(f"There is no live run {run_id}.")
    return row
