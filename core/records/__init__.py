"""Frozen records that cross layers: what the pure functions take and return.

ORM rows never leave storage and the services; these do. `to_document` turns any of them into plain
JSON values (absent = None, never NaN). A record lives in the module of its noun and is imported from here.
"""

from core.records.data import (
    PLAINLY,
    ROW_ID,
    ROW_TIME,
    BatchInfo,
    Feature,
    FeatureKind,
    FeatureSchema,
    Label,
    LabelPlan,
    NewClass,
    Problem,
    Replacement,
    Task,
    Window,
    Written,
)
from core.records.documents import to_document
from core.records.drift import DriftPart, DriftReport, DriftScore
from core.records.learning import (
    Candidate,
    Clause,
    Comparison,
    Decision,
    Evidence,
    Firing,
    Memory,
    ModelVersion,
    Policy,
    Verdict,
)
from core.records.performance import EstimatePoint, PerformanceReport, Score
from core.records.project import CycleReport, Outcome, ProjectInfo

__all__ = [
    "PLAINLY",
    "ROW_ID",
    "ROW_TIME",
    "BatchInfo",
    "Candidate",
    "Clause",
    "Comparison",
    "CycleReport",
    "Decision",
    "DriftPart",
    "DriftReport",
    "DriftScore",
    "EstimatePoint",
    "Evidence",
    "Feature",
    "FeatureKind",
    "FeatureSchema",
    "Firing",
    "Label",
    "LabelPlan",
    "Memory",
    "ModelVersion",
    "NewClass",
    "Outcome",
    "PerformanceReport",
    "Policy",
    "Problem",
    "ProjectInfo",
    "Replacement",
    "Score",
    "Task",
    "Verdict",
    "Window",
    "Written",
    "to_document",
]
