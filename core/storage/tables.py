"""The rows that outlive a process, as SQLAlchemy 2 typed tables. Nothing outside storage and services sees them."""

from __future__ import annotations

import json
import secrets
import zlib
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    and_,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from core.records import Task, to_document


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC; SQLite would hand back naive ones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive instant {value!r}; expected one with a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Document(TypeDecorator[Any]):
    """JSON of records and plain values: NaN becomes null, which PostgreSQL demands."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return to_document(value)


class PackedDocument(TypeDecorator[Any]):
    """A large JSON document, compressed to about a seventh; what an earlier version stored unpacked is read as well."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        return zlib.compress(json.dumps(to_document(value), separators=(",", ":")).encode())

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return json.loads(value if value[:1] in (b"{", b"[") else zlib.decompress(value))


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: Document(),
        list[Any]: Document(),
    }


class Project(Base):
    """One prediction problem, and how far the loop has read it."""

    __tablename__ = "projects"
    __table_args__ = ({"sqlite_autoincrement": True},)  # an id, and so a folder, is never given twice
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    source: Mapped[str] = mapped_column(String(16))  # sample | file | generator | api
    task: Mapped[Task | None] = mapped_column(String(16))  # as said when it was made; the first batch is held to it
    schema: Mapped[dict[str, Any] | None]
    policy: Mapped[dict[str, Any]]
    generator: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    paused: Mapped[bool] = mapped_column(default=False)
    clock_at: Mapped[datetime | None]  # newest row's instant; a backfill never moves it
    rows: Mapped[int] = mapped_column(default=0)
    labelled: Mapped[int] = mapped_column(default=0)
    # `news` counts stored batches, labels and requests; a check with news == checked_news has nothing to do.
    news: Mapped[int] = mapped_column(default=0)
    checked_news: Mapped[int] = mapped_column(default=0)
    checked_at: Mapped[datetime | None]
    labels_checked: Mapped[int] = mapped_column(
        default=0, server_default="0"
    )  # newest label id that a check saw, a failed one too
    batch_watermark: Mapped[int] = mapped_column(default=0)  # newest batch id that a finished cycle has read
    label_watermark: Mapped[int] = mapped_column(default=0)  # newest label id likewise
    learner_path: Mapped[str | None] = mapped_column(Text)  # the learner's state after the last finished cycle
    shadow_version: Mapped[int | None]  # answers beside the champion without serving
    guards: Mapped[dict[str, Any] | None]  # what is done about answers that cannot be trusted
    next_race_at: Mapped[datetime | None]  # when the policy's age or schedule asks again, news or not
    turn_at: Mapped[datetime | None]  # when a check by the clock last began
    check_attempts: Mapped[int] = mapped_column(default=0, server_default="0")  # of them begun in a row and not ended
    messages: Mapped[dict[str, Any] | None]  # kinds that are sent, or not, other than by default
    checks_stopped_at: Mapped[datetime | None]  # they ended their worker too often: set aside since


class Batch(Base):
    """Manifest of one immutable Parquet file of rows."""

    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        Index("ix_batches_project_last", "project_id", "last_at"),
        # What is asked of all batches at once is read from here, without passing their profiles.
        Index("ix_batches_standing", "project_id", "undone_at", "timed", "backfill", "first_at", "created_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    origin: Mapped[str] = mapped_column(String(300))
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    rows: Mapped[int]
    labelled: Mapped[int]  # rows that came with their label
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    backfill: Mapped[bool] = mapped_column(default=False)
    declared: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # the sender said that it is a backfill
    timed: Mapped[bool] = mapped_column(default=False, server_default=false())  # its rows carry instants of their own
    pending: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # below the watermark, and yet to be read by a cycle
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(64), index=True)  # of the rows as given: knows a file that comes twice
    profile: Mapped[bytes | None]  # core.drift.profile: mergeable summary of every feature; None = not made yet
    problems: Mapped[list[Any] | None]
    # Predictions made before the labels were known: one more Parquet file, row for row.
    scores_path: Mapped[str | None] = mapped_column(Text)
    scores_sha256: Mapped[str | None] = mapped_column(String(64))
    # Model version; None when the log's rows came from several. Without scores_path: this version could not answer the
    # rows, and the batch is set aside.
    scored_by: Mapped[int | None]
    ids_from_user: Mapped[bool] = mapped_column(default=False)


class Prediction(Base):
    """One answered prediction with its row: the log that the loop seals into batches.

    Many rows of one call, without ids of their own, stand in one row here, as a block: its rows and answers are packed
    into `block`, and the ids of its row i are `<prediction_id>.<i>`.
    """

    __tablename__ = "predictions"
    __table_args__ = (
        UniqueConstraint("project_id", "prediction_id"),
        Index("ix_predictions_project_row", "project_id", "row_id"),
        Index("ix_predictions_project_id_id", "project_id", "id"),
        Index("ix_predictions_project_batch", "project_id", "batch_id"),
        Index(
            "ix_predictions_guarded",
            "project_id",
            "created_at",
            sqlite_where=text("guarded IS NOT NULL"),
            postgresql_where=text("guarded IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},  # cursors of GET /predictions count on growing ids
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    prediction_id: Mapped[str] = mapped_column(String(64))
    row_id: Mapped[str] = mapped_column(String(200))
    model_version: Mapped[int]
    prediction: Mapped[str] = mapped_column(Text)  # JSON of the class or number
    probabilities: Mapped[str | None] = mapped_column(Text)  # JSON list, in the order of the model's classes
    classes: Mapped[str | None] = mapped_column(Text)  # JSON list
    features: Mapped[str] = mapped_column(Text)  # JSON object
    observed_at: Mapped[datetime]
    created_at: Mapped[datetime]
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id", ondelete="SET NULL"))
    token_id: Mapped[int | None]
    rows: Mapped[int] = mapped_column(default=1, server_default="1")
    # Asked without a token: never sealed.
    anonymous: Mapped[bool] = mapped_column(default=False, server_default=false())
    # JSON: the guards that spoke, and what was answered then; of a block, how often they spoke.
    guarded: Mapped[str | None] = mapped_column(Text)
    block: Mapped[bytes | None] = mapped_column(LargeBinary)  # the last column: reading the others passes it by

    @classmethod
    def unsealed(cls, project_id: Any = None) -> ColumnElement[bool]:
        """Which entries the loop still has to seal, of one project (its number, or a column) or of all."""
        waiting = and_(cls.batch_id.is_(None), cls.anonymous.is_(False))
        return waiting if project_id is None else and_(cls.project_id == project_id, waiting)


class KeptAnswer(Base):
    """The answer to a request that came with an Idempotency-Key: given again to whoever repeats it."""

    __tablename__ = "kept_answers"
    __table_args__ = (UniqueConstraint("project_id", "key"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(64))  # sha256 of token, route and key
    fingerprint: Mapped[str] = mapped_column(String(64))  # sha256 of the request
    status: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(index=True)


class Label(Base):
    """A label that came by row id. Append-only: the newest row of an id counts that is not undone."""

    __tablename__ = "labels"
    __table_args__ = (
        Index("ix_labels_project_row", "project_id", "row_id"),
        Index("ix_labels_project_id_id", "project_id", "id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    row_id: Mapped[str] = mapped_column(String(200))
    value: Mapped[str] = mapped_column(Text)  # JSON of the class or number
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    undone_at: Mapped[datetime | None]  # the audit says by whom


class BatchIds(Base):
    """Hashes of the row ids of one batch, row by row: tells which batches a row id may lie in without reading any."""

    __tablename__ = "batch_ids"
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True)
    hashes: Mapped[bytes]  # uint64, little-endian


class LabelDraw(Base):
    """One draw of the label desk: the batches whose unlabelled rows it drew from, each batch in one draw at most."""

    __tablename__ = "label_draws"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    batch_ids: Mapped[list[Any]]
    pool: Mapped[int]  # rows that it drew from
    random_share: Mapped[float]
    seed: Mapped[int]
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    withdrawn_at: Mapped[datetime | None]


class LabelAsk(Base):
    """A row whose label somebody is asked for, and the chance that it had to be drawn."""

    __tablename__ = "label_asks"
    __table_args__ = (UniqueConstraint("project_id", "row_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)  # the order in which they were drawn, which is random
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    draw_id: Mapped[int] = mapped_column(ForeignKey("label_draws.id", ondelete="CASCADE"), index=True)
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id", ondelete="SET NULL"))
    row_id: Mapped[str] = mapped_column(String(200))
    place: Mapped[int]  # in its batch
    chance: Mapped[float]


class DriftRun(Base):
    """One stored drift report."""

    __tablename__ = "drift_runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    cycle_id: Mapped[int | None] = mapped_column(ForeignKey("cycles.id", ondelete="SET NULL"))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id", ondelete="SET NULL"))
    created_at: Mapped[datetime]
    at: Mapped[datetime]  # instant of the newest row
    share_drifted: Mapped[float | None]
    report: Mapped[dict[str, Any]] = mapped_column(PackedDocument)


class PerformanceRun(Base):
    """Realised performance of one model on newly labelled rows, measured once and never rewritten."""

    __tablename__ = "performance_runs"
    __table_args__ = (Index("ix_performance_runs_project_role", "project_id", "role", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    cycle_id: Mapped[int | None] = mapped_column(ForeignKey("cycles.id", ondelete="SET NULL"))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id", ondelete="SET NULL"))
    role: Mapped[str] = mapped_column(String(16))  # champion | never (the first model, never retrained)
    model_version: Mapped[int | None]
    n: Mapped[int]
    rows_seen: Mapped[int]  # labelled rows of the project up to and with these
    at: Mapped[datetime]  # instant of the newest row
    created_at: Mapped[datetime]
    scores: Mapped[dict[str, Any]]  # metric -> Score document


class EstimateRun(Base):
    """Scores of the serving model on one batch as estimated before its labels were known; never rewritten."""

    __tablename__ = "estimate_runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    cycle_id: Mapped[int | None] = mapped_column(ForeignKey("cycles.id", ondelete="SET NULL"))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id", ondelete="SET NULL"))
    model_version: Mapped[int | None]
    n: Mapped[int]
    rows_seen: Mapped[int]  # rows of the project up to and with these
    at: Mapped[datetime]  # instant of the newest row
    created_at: Mapped[datetime]
    scores: Mapped[dict[str, Any]]  # metric -> Score document: value and 95 % band


class Cycle(Base):
    """Audit row: one turn of the loop."""

    __tablename__ = "cycles"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    cause: Mapped[str] = mapped_column(String(16))
    by: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    seed: Mapped[int]
    batch_ids: Mapped[list[Any] | None]
    evidence: Mapped[dict[str, Any] | None]
    policy: Mapped[dict[str, Any] | None]
    decision: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    firings: Mapped[list[Any] | None]
    candidates: Mapped[list[Any] | None]
    comparison: Mapped[dict[str, Any] | None]
    verdict: Mapped[dict[str, Any] | None]
    outcome: Mapped[str | None] = mapped_column(String(16))
    champion_before: Mapped[int | None]
    champion_after: Mapped[int | None]
    challenger: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    memory: Mapped[dict[str, Any] | None]  # what the champion knows of past regimes, where it was looked at
    shadow: Mapped[dict[str, Any] | None]  # the version in the champion's shadow, after this cycle
    label_watermark: Mapped[int | None]  # newest label that this cycle has read


class ModelRow(Base):
    """One registered model version: where its artefact lies and what it learnt from."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("project_id", "version"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    version: Mapped[int]
    family: Mapped[str] = mapped_column(String(100))
    source: Mapped[str] = mapped_column(String(16))
    run_id: Mapped[str | None] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    trusted_types: Mapped[list[Any] | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    cycle_id: Mapped[int | None] = mapped_column(ForeignKey("cycles.id", ondelete="SET NULL"))
    n_rows: Mapped[int | None]
    members: Mapped[list[Any] | None]
    metrics: Mapped[dict[str, Any] | None]
    schema: Mapped[dict[str, Any]]
    scorer_path: Mapped[str | None] = mapped_column(Text)  # what the API loads; None: not exported yet
    scorer_sha256: Mapped[str | None] = mapped_column(String(64))
    removed_at: Mapped[datetime | None]  # when artefact and scorer were moved to the trash, to save disk
    data_digest: Mapped[str | None] = mapped_column(String(64))
    batch_ids: Mapped[list[Any] | None]
    first_at: Mapped[datetime | None]
    last_at: Mapped[datetime | None]


class ModelEvent(Base):
    """Append-only: which version serves since when. The newest serving event names the champion."""

    __tablename__ = "model_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    version: Mapped[int]
    event: Mapped[str] = mapped_column(String(16))  # promoted | refreshed | rolled_back
    replaced: Mapped[int | None]
    at: Mapped[datetime]
    by: Mapped[str | None] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(Text)
    cycle_id: Mapped[int | None] = mapped_column(ForeignKey("cycles.id", ondelete="SET NULL"))


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
    payload: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
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


class User(Base):
    """A person who may sign in."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    # Never given twice: a name that is removed and made again is another person.
    uid: Mapped[str] = mapped_column(String(32), unique=True, nullable=True, default=lambda: secrets.token_hex(16))
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))  # viewer | operator | admin
    epoch: Mapped[int] = mapped_column(default=1)  # raised by sign-out and password change: older cookies end
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]
    previous_visit_at: Mapped[datetime | None]
    proved_at: Mapped[datetime | None]  # when the password was last given, and by a sign-in of which epoch
    proved_epoch: Mapped[int | None]
    weak_password: Mapped[bool | None]  # would be refused today, as seen at the last sign-in
    password_set_at: Mapped[datetime | None]
    password_set_by: Mapped[str | None] = mapped_column(String(200))  # somebody else, until the person has read it
    totp_secret: Mapped[str | None] = mapped_column(String(64))
    totp_step: Mapped[int | None]  # the last one used: a code counts once
    recovery_hashes: Mapped[list[Any] | None]


class Installation(Base):
    """The one row that tells which installation this database is of; its folders carry the same token."""

    __tablename__ = "installation"
    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime]


class SignInFailure(Base):
    """Failed sign-ins per user and per client, for the throttle."""

    __tablename__ = "sign_in_failures"
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    count: Mapped[int]
    first_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]


class ApiToken(Base):
    """A bearer token, stored as its hash."""

    __tablename__ = "api_tokens"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(16))  # the first characters, to recognise it by
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    created_uid: Mapped[str | None] = mapped_column(String(32))  # of the person; None: command line, API
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    rate_limit: Mapped[int | None]  # requests a minute; None: any number


class Notice(Base):
    """Outbox: a message that still has to reach, or has reached, its channel."""

    __tablename__ = "notices"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    cycle_id: Mapped[int | None] = mapped_column(ForeignKey("cycles.id", ondelete="SET NULL"))
    channel: Mapped[str] = mapped_column(String(32))
    payload: Mapped[dict[str, Any]]
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
    """When a process last said that it lives."""

    __tablename__ = "heartbeats"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime]
    owner: Mapped[str | None] = mapped_column(String(200))
    detail: Mapped[dict[str, Any] | None]


class AuditEntry(Base):
    """Who changed what, outside the cycles."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(String(200))
    what: Mapped[str] = mapped_column(String(200))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="SET NULL"))
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
