"""What a project was given: the project itself, its batches, labels, requests for labels, and the prediction log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, and_, false, text
from sqlalchemy.orm import Mapped, mapped_column

from core.records import JsonObject, Task
from core.storage.tables.base import Base


class Project(Base):
    """One prediction problem, and how far the loop has read it."""

    __tablename__ = "projects"
    __table_args__ = ({"sqlite_autoincrement": True},)  # an id, and so a folder, is never given twice
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    source: Mapped[str] = mapped_column(String(16))  # sample | file | generator | api
    task: Mapped[Task | None] = mapped_column(String(16))  # as chosen at creation; the first batch must fit it
    schema: Mapped[JsonObject | None]
    policy: Mapped[JsonObject]
    generator: Mapped[JsonObject | None]
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
    guards: Mapped[JsonObject | None]  # what is done about answers that cannot be trusted
    next_race_at: Mapped[datetime | None]  # when the policy's age or schedule asks again, news or not
    turn_at: Mapped[datetime | None]  # when a check by the clock last began
    check_attempts: Mapped[int] = mapped_column(default=0, server_default="0")  # of them begun in a row and not ended
    messages: Mapped[JsonObject | None]  # kinds that are sent, or not, other than by default
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
    labelled: Mapped[int]  # rows that arrived with their label
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    backfill: Mapped[bool] = mapped_column(default=False)
    declared: Mapped[bool] = mapped_column(default=False, server_default=false())  # the sender declared it a backfill
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
    # Model version; None when the log's rows are of several. Without scores_path: this version could not answer the
    # rows, and the batch is set aside.
    scored_by: Mapped[int | None]
    ids_from_user: Mapped[bool] = mapped_column(default=False)


class BatchIds(Base):
    """Hashes of the row ids of one batch, row by row: shows which batches may hold a row id without reading any."""

    __tablename__ = "batch_ids"
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True)
    hashes: Mapped[bytes]  # uint64, little-endian


class Label(Base):
    """A label sent by row id. Append-only: of each id, the newest row that is not undone counts."""

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
    undone_at: Mapped[datetime | None]  # by whom: see the audit


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


class RequestedLabel(Base):
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
