"""Changes made by labels, and how they are undone.

An undone label is marked, never deleted: every read leaves it out, and the newest label of the row that is left counts.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.data.contract import schema_from_document, schema_to_document, with_classes
from core.errors import Conflict, NotFound
from core.records import Label, ProjectInfo
from core.services.access.actors import require
from core.services.ingestion.label_intake import CLASSES_ADDED, REPLACED
from core.services.ingestion.label_plans import UNDONE, current_project, embedded_labels, plan_state
from core.storage import audit, history, queries
from core.storage.tables import AuditEntry, ModelRow, Project
from core.storage.tables import Label as LabelRow
from core.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChange:
    """One call's labels that replaced others or added a class, and whether they still count."""

    id: int
    at: datetime
    by: str
    source: str | None  # name of the file
    labels: int  # that were stored, those that replaced others among them
    replaced: int
    new_classes: tuple[Label, ...]
    undone: bool


def newest_changes(ws: Workspace, project: ProjectInfo, *, limit: int = 10) -> list[LabelChange]:
    """The last calls that replaced labels or added a class, newest first; undone ones included and marked."""
    with ws.database.read() as session:
        entries = session.scalars(
            select(AuditEntry)
            .where(AuditEntry.project_id == project.id, AuditEntry.what.in_((REPLACED, CLASSES_ADDED)))
            .order_by(AuditEntry.id.desc())
            .limit(limit)
        )
        return [_change(session, entry) for entry in entries]


def undo_labels(ws: Workspace, project: ProjectInfo, change_id: int, *, by: str, now: datetime) -> LabelChange:
    """Undo what one call stored: the earlier labels count again, and its classes are removed if nothing uses them.

    Raises:
        NotFound: no such change of labels in this project.
        Conflict: it is undone already.
    """
    require(ws, by, "operator")
    project = current_project(ws, project)
    with ws.database.read() as session:
        state = plan_state(session, project.id)
        entry, of_change = _labels_of_change(session, project, change_id)
        row_ids = set(session.scalars(select(LabelRow.row_id).where(*of_change)))
    assert project.schema is not None  # its labels were changed
    present, embedded = embedded_labels(ws, project, project.schema, row_ids)
    with ws.database.write() as session:
        session.execute(select(Project.id).where(Project.id == project.id).with_for_update())
        row = queries.project_row(session, project.id)
        if plan_state(session, project.id).batches != state.batches:
            present, embedded = embedded_labels(ws, project, project.schema, row_ids)
        entry, of_change = _labels_of_change(session, project, change_id)
        before = _change(session, entry)
        if before.undone:
            raise Conflict(f"The labels of change {change_id} were already undone.")
        values = {json.loads(text) for text in session.scalars(select(LabelRow.value).where(*of_change).distinct())}
        session.execute(update(LabelRow).where(*of_change).values(undone_at=now))
        remaining_labels = queries.labels_by_row(session, project.id, row_ids)
        row.labelled -= len(present - embedded.keys() - remaining_labels.keys())
        dropped_classes = _drop_classes(ws, session, row, values)
        audit.record(
            session,
            who=by,
            what=UNDONE,
            now=now,
            project_id=project.id,
            before={"change": change_id, "by": entry.who, **(entry.after or {})},
            after={"classes_gone": dropped_classes},
        )
        session.flush()
        return _change(session, entry)


def _labels_of_change(session: Session, project: ProjectInfo, change_id: int) -> tuple[AuditEntry, tuple[Any, ...]]:
    """The audit row of a change, and the conditions that select its labels."""
    entry = session.get(AuditEntry, change_id)
    if entry is None or entry.project_id != project.id or entry.what not in (REPLACED, CLASSES_ADDED):
        raise NotFound(
            f"Project '{project.slug}' has no change of labels with id {change_id}. The Data page lists them, and so does "
            f"`labels --changes --project {project.slug}`."
        )
    details = entry.after or {}
    id_range = LabelRow.id.between(details["first_label"], details["last_label"])
    return entry, (LabelRow.project_id == project.id, id_range)


def _change(session: Session, entry: AuditEntry) -> LabelChange:
    details = entry.after or {}
    undone = select(LabelRow.undone_at).where(LabelRow.id == details["last_label"])
    return LabelChange(
        id=entry.id,
        at=entry.at,
        by=entry.who,
        source=details["source"],
        labels=details["labels"],
        replaced=details["replaced"],
        new_classes=tuple(details["new_classes"]),
        undone=session.scalar(undone) is not None,
    )


def _drop_classes(ws: Workspace, session: Session, row: Project, values: set[Label]) -> list[Label]:
    """Remove the classes that no label, batch or model version uses from the schema; at least two stay."""
    schema = schema_from_document(row.schema or {})
    unused = values.intersection(schema.classes)
    if schema.task == "regression" or not unused:
        return []
    stored_values = select(LabelRow.value).where(LabelRow.project_id == row.id, LabelRow.undone_at.is_(None)).distinct()
    unused -= {json.loads(text) for text in session.scalars(stored_values)}
    for known in session.scalars(select(ModelRow.schema).where(ModelRow.project_id == row.id)):
        unused -= set(schema_from_document(known).classes)
    for batch in queries.stored_batches(session, row.id):
        if not unused:
            break
        if batch.labelled:
            column = history.read_rows(ws, batch, [schema.target])[schema.target]
            unused -= set(map(json.loads, column.dropna().unique()))
    used = tuple(c for c in schema.classes if c not in unused)
    if not unused or len(used) < 2:
        return []
    row.schema = schema_to_document(with_classes(dataclasses.replace(schema, classes=()), used))
    return sorted(unused, key=str)
