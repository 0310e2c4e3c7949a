"""Shared reads over the tables, a module for each noun.

A function takes the session first, and neither opens nor commits one.
"""

from core.storage.queries.batches import (
    batch_info,
    id_hashes,
    in_stream_order,
    made_batches,
    newest_start,
    stored_batches,
    with_own_ids,
)
from core.storage.queries.common import CHUNK, LONGEST_PAUSE, is_due
from core.storage.queries.cycles import races
from core.storage.queries.labels import first_labels, has_labels, label_count, labels_by_row, newest_label_id
from core.storage.queries.models import MODEL_GIVEN_UP, champion_of, first_champion_of, given_up
from core.storage.queries.predictions import SEAL_AGE, SEAL_ROWS, logged_count
from core.storage.queries.projects import is_there, project_info, project_row

__all__ = [
    "CHUNK",
    "LONGEST_PAUSE",
    "MODEL_GIVEN_UP",
    "SEAL_AGE",
    "SEAL_ROWS",
    "batch_info",
    "champion_of",
    "first_champion_of",
    "first_labels",
    "given_up",
    "has_labels",
    "id_hashes",
    "in_stream_order",
    "is_due",
    "is_there",
    "label_count",
    "labels_by_row",
    "logged_count",
    "made_batches",
    "newest_label_id",
    "newest_start",
    "project_info",
    "project_row",
    "races",
    "stored_batches",
    "with_own_ids",
]
