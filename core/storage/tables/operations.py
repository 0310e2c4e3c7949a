"""Coordination of processes and messages to people: leases, jobs, replays, kept answers, notices, heartbeats."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.records import JsonObject
from core.storage.tables.base import Base


class Lease(Base):
    """Who may turn the loop of a project, until when."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[datetime]


class Job(Base):
    """Work that somebody asked for: a cycle, a large ingest. The table is the truth, a signal only wakes."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_status", "status", "created_at"),)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))  # cycle | ingest | score | backtest
    status: Mapped[str] = mapped_column(String(16))  # queued | running | done | failed
    payload: Mapped[JsonObject]
    result: Mapped[JsonObject | None]
    error: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    requested_by: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    owner: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None]
    cycle_id: Mapped[int | None]
    stage: Mapped[str | None] = mapped_column(Text)  # what it is doing, in words
    share: Mapped[float | None]  # of it that is done


class LiveRun(Base):
    """A replay of a stored sample through the real loop, advanced by a worker, shown by the Live page."""

    __tablename__ = "live_runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    status: Mapped[str] = mapped_column(String(16))  # playing | paused | stopped | done | failed
    sample: Mapped[str] = mapped_column(String(64))  # key of core.data.samples.SAMPLES
    position: Mapped[int]  # rows of the sample that are stored
    total: Mapped[int]
    batch_rows: Mapped[int]
    seconds_per_batch: Mapped[float]
    created_at: Mapped[datetime]
    advanced_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    created_by: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)  # why it failed, or why it waits
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")  # at this batch, begun in a row and not ended
    retries: Mapped[int] = mapped_column(default=0, server_default="0")  # after errors that may pass, in a row


class StoredResponseRow(Base):
    """The response to a request with an Idempotency-Key, for whoever repeats it."""

    __tablename__ = "kept_answers"
    __table_args__ = (UniqueConstraint("project_id", "key"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(64))  # sha256 of token, route and key
    fingerprint: Mapped[str] = mapped_column(String(64))  # sha256 of the request
    status: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(index=True)


class Notice(Base):
    """Outbox: a message that still has to reach, or has reached, its channel."""

    __tablename__ = "notices"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    cycle_id: Mapped[int | None] = mapped_column(ForeignKey("cycles.id", ondelete="SET NULL"))
    channel: Mapped[str] = mapped_column(String(32))
    payload: Mapped[JsonObject]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(index=True)
    error: Mapped[str | None] = mapped_column(Text)


class Channel(Base):
    """A channel of messages whose address has refused for good; it is called again once that is another one."""

    __tablename__ = "channels"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # sha256 of the address
    dead_since: Mapped[datetime]
    why: Mapped[str] = mapped_column(String(200))


class Heartbeat(Base):
    """The last heartbeat of a process."""

    __tablename__ = "heartbeats"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime]
    owner: Mapped[str | None] = mapped_column(String(200))
    detail: Mapped[JsonObject | None]


class Installation(Base):
    """The one row that identifies the installation of this database; its folders hold the same token."""

    __tablename__ = "installation"
    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime]
