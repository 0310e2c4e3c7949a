"""Changes made by labels, and how they are undone.

An undone label is marked, never deleted: every read leaves it out, and the newest label of the row that is left counts.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, not_, select, update
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

MAX_LOOKS = 3  # at the batches before the transaction; if more are stored each time, at last within it


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
    looks = 0
    while True:
        seen, looks = _look(ws, project, change_id), looks + 1
        with ws.database.write() as session:
            if plan_state(session, project.id).batches != seen.batches:
                if looks < MAX_LOOKS:
                    continue  # other writers do not wait while the batches are read again
                seen = _look(ws, project, change_id)
            return _undo(session, project, change_id, seen, by=by, now=now)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the stored batches say about the rows and values of a change."""

    batches: tuple[int, int, int]  # that were read: as in `PlanState`
    row_ids: set[str]
    present: set[str]  # of the rows those in batches
    embedded: dict[str, Label]  # the labels stored with them
    unused: set[Label]  # values that no batch holds, as far as it matters


def _look(ws: Workspace, project: ProjectInfo, change_id: int) -> _Seen:
    with ws.database.read() as session:
        batches = plan_state(session, project.id).batches
        _, of_change = _labels_of_change(session, project, change_id)
        row_ids = set(session.scalars(select(LabelRow.row_id).where(*of_change)))
        unused = _unused_elsewhere(session, queries.project_row(session, project.id), of_change)
        stored = queries.stored_batches(session, project.id)
    assert project.schema is not None  # its labels were changed
    present, embedded = embedded_labels(ws, project, project.schema, row_ids)
    for batch in stored:
        if not unused:
            break
        if batch.labelled:
            column = history.read_rows(ws, batch, [project.schema.target])[project.schema.target]
            unused -= set(map(json.loads, column.dropna().unique()))
    return _Seen(batches, row_ids, present, embedded, unused)


def _undo(
    session: Session, project: ProjectInfo, change_id: int, seen: _Seen, *, by: str, now: datetime
) -> LabelChange:
    row = queries.project_row(session, project.id)
    entry, of_change = _labels_of_change(session, project, change_id)
    if _change(session, entry).undone:
        raise Conflict(f"The labels of change {change_id} were already undone.")
    dropped_classes = _drop_classes(row, seen.unused & _unused_elsewhere(session, row, of_change))
    session.execute(update(LabelRow).where(*of_change).values(undone_at=now))
    remaining_labels = queries.labels_by_row(session, project.id, seen.row_ids)
    row.labelled -= len(seen.present - seen.embedded.keys() - remaining_labels.keys())
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


def _unused_elsewhere(session: Session, row: Project, of_change: tuple[Any, ...]) -> set[Label]:
    """Classes that the change's labels have, and no other label that counts and no model version."""
    schema = schema_from_document(row.schema or {})
    if schema.task == "regression":
        return set()
    values = select(LabelRow.value).distinct()
    unused = {json.loads(text) for text in session.scalars(values.where(*of_change))}.intersection(schema.classes)
    others = values.where(LabelRow.project_id == row.id, LabelRow.undone_at.is_(None), not_(and_(*of_change)))
    unused -= {json.loads(text) for text in session.scalars(others)}
    for known in session.scalars(select(ModelRow.schema).where(ModelRow.project_id == row.id)):
        unused -= set(schema_from_document(known).classes)
    return unused


def _drop_classes(row: Project, unused: set[Label]) -> list[Label]:
    """Remove classes that nothing uses from the schema; at least two stay."""
    schema = schema_from_document(row.schema or {})
    used = tuple(c for c in schema.classes if c not in unused)
    if not unused or len(used) < 2:
        return []
    row.schema = schema_to_document(with_classes(dataclasses.replace(schema, classes=()), used))
    return sorted(unused, key=str)
