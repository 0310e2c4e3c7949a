"""Audit rows as the records that they were; other stored documents are read by `core.records.from_document`."""

from __future__ import annotations

import dataclasses

from core.records import CycleReport, from_document
from core.storage.tables import Cycle


def cycle_from(row: Cycle) -> CycleReport:
    """An audit row as a record; where it holds an empty document, or none, there is no record."""
    columns = {field.name: getattr(row, field.name) for field in dataclasses.fields(CycleReport)}
    texts = {name: columns[name] or "" for name in ("decision", "outcome")}  # of a cycle that runs: none yet
    return from_document(CycleReport, {**columns, **texts})
