"""The rows that outlive a process, as SQLAlchemy 2 typed tables. Nothing outside storage and services sees them."""

from core.storage.tables.access import ApiToken, AuditEntry, SignInFailure, User
from core.storage.tables.base import Base, Document, PackedDocument, UtcDateTime
from core.storage.tables.data import Batch, BatchIds, Label, LabelDraw, Prediction, Project, RequestedLabel
from core.storage.tables.learning import Cycle, DriftRun, EstimateRun, ModelEvent, ModelRow, PerformanceRun
from core.storage.tables.operations import (
    Channel,
    Heartbeat,
    Installation,
    Job,
    Lease,
    LiveRun,
    Notice,
    StoredResponseRow,
)

__all__ = [
    "ApiToken",
    "AuditEntry",
    "Base",
    "Batch",
    "BatchIds",
    "Channel",
    "Cycle",
    "Document",
    "DriftRun",
    "EstimateRun",
    "Heartbeat",
    "Installation",
    "Job",
    "Label",
    "LabelDraw",
    "Lease",
    "LiveRun",
    "ModelEvent",
    "ModelRow",
    "Notice",
    "PackedDocument",
    "PerformanceRun",
    "Prediction",
    "Project",
    "RequestedLabel",
    "SignInFailure",
    "StoredResponseRow",
    "User",
    "UtcDateTime",
]
