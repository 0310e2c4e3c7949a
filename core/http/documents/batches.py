"""Tables to store, or to have predicted."""

from __future__ import annotations

from typing import Any

from core.http.answers import BatchAnswer, Predictions, QueuedJob
from core.http.documents.common import ARROW, BINARY, PARQUET, REPEAT, Document, parameter
from core.http.storing import TASKS

SCHEMAS: tuple[Any, ...] = (BatchAnswer, QueuedJob)

DOCUMENTS: dict[str, Document] = {
    "batches": Document(
        summary="Store a table, or have its rows predicted",
        text="CSV (or CSV.gz), Parquet or Arrow, as its Content-Type says. `mode=ingest` stores it as a batch; the first "
        "one of a project fixes its schema. `mode=backfill` stores rows of the past, which are neither measured nor news. "
        "`mode=score` answers every row as /predict does and takes no other parameter. "
        "More than 20 MB become a job.",
        scope="ingest, or predict to score",
        parameters=[
            REPEAT,
            parameter(
                "mode",
                "query",
                "What is done with the rows.",
                {"type": "string", "enum": ["ingest", "backfill", "score"]},
                "ingest",
            ),
            parameter("target", "query", "Column of the labels, for a first batch.", {"type": "string"}, "target"),
            parameter("id", "query", "Column of row ids.", {"type": "string"}),
            parameter("time", "query", "Column of instants.", {"type": "string"}),
            parameter(
                "task", "query", "For a first batch; left out, the labels tell.", {"type": "string", "enum": TASKS}
            ),
            parameter("exclude", "query", "Columns to leave out, with commas; a first batch.", {"type": "string"}),
            parameter("categorical", "query", "Columns of categories, with commas; likewise.", {"type": "string"}),
        ],
        body={
            "text/csv": ({"type": "string"}, {"table": {"value": "feature1,feature2,target\n0.1,2.0,1\n"}}),
            PARQUET: (BINARY, None),
            ARROW: (BINARY, None),
        },
        answers={
            200: (
                (BatchAnswer, Predictions),
                {"batch": 5, "rows": 1, "labelled": 1, "problems": [], "backfill": False},
            ),
            202: (QueuedJob, {"job": "5f0c2a9b1d3e4f60", "status": "queued"}),
        },
        errors=(401, 403, 404, 409, 413, 415, 422, 503),
    ),
}
