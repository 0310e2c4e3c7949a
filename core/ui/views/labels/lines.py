"""Rows that wait for a label as lines of a table."""

from __future__ import annotations

from core.records import ProjectInfo
from core.services.ingestion.label_queue import QueuedRow

LABEL = "Label"
SHOWN_FEATURES = 8


def of(row: QueuedRow, project: ProjectInfo) -> dict[str, object]:
    """A row: its prediction, its selection probability, a cell for its label, the first features."""
    names = project.schema.names[:SHOWN_FEATURES] if project.schema else ()
    return {
        "Row": row.row_id,
        "Predicted": row.prediction,
        "Confidence": None if row.probability is None else round(100 * row.probability),
        "Selection": round(100 * row.chance, 1),
        LABEL: None,
        **{name: row.features[name] for name in names},
    }
