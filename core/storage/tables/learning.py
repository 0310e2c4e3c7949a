"""What the loop did and measured: cycles, drift, scores and estimates, model versions and which of them served."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.records import JsonObject, Reason
from core.storage.tables.base import Base, PackedDocument


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
    evidence: Mapped[JsonObject | None]
    policy: Mapped[JsonObject | None]
    decision: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[Reason | None]
    firings: Mapped[list[Any] | None]
    candidates: Mapped[list[Any] | None]
    comparison: Mapped[JsonObject | None]
    verdict: Mapped[JsonObject | None]
    outcome: Mapped[str | None] = mapped_column(String(16))
    champion_before: Mapped[int | None]
    champion_after: Mapped[int | None]
    challenger: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    memory: Mapped[JsonObject | None]  # how the champion does on past regimes, where it was measured
    shadow: Mapped[JsonObject | None]  # the version in the champion's shadow, after this cycle
    label_watermark: Mapped[int | None]  # newest label that this cycle has read


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
    report: Mapped[JsonObject] = mapped_column(PackedDocument)


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
    scores: Mapped[JsonObject]  # metric -> Score document


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
    scores: Mapped[JsonObject]  # metric -> Score document: value and 95 % band


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
    metrics: Mapped[JsonObject | None]
    schema: Mapped[JsonObject]
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
    reason: Mapped[Reason | None]
    cycle_id: Mapped[int | None] = mapped_column(ForeignKey("cycles.id", ondelete="SET NULL"))
