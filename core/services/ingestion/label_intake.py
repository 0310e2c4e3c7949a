"""Storing labels by row id: checked first, then stored all or none.

Their changes leave an audit row, by whose id `label_changes` undoes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from core.data.contract import schema_from_document, schema_to_document, with_classes
from core.records import (
    LabelPlan,
    Problem,
    ProjectInfo,
)
from core.services.access.actors import require
from core.services.ingestion.label_files import file_pairs
from core.services.ingestion.label_plans import (
    LabelCheck,
    LabelResult,
    check_labels,
    checked_labels,
    current_project,
    require_consent,
    still_holds,
)
from core.storage import audit, queries
from core.storage.tables import AuditEntry
from core.storage.tables import Label as LabelRow
from core.storage.workspace import Workspace

REPLACED = "labels replaced"
CLASSES_ADDED = "classes added by labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsTaken:
    """The result of storing a file of labels."""

    results: list[LabelResult]
    plan: LabelPlan
    problems: tuple[Problem, ...]  # what was noticed when the file was read
    change: int | None  # id by which it can be undone; None = no label was replaced and no class added


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """Who stores labels, when, and what was confirmed."""

    by: str
    now: datetime
    replace: bool
    source: str | None = None  # name of the file
    also: Callable[[Session, list[LabelResult]], None] | None = None  # further writes in the transaction


def plan_labels(ws: Workspace, project: ProjectInfo, pairs: Sequence[tuple[str, Any]]) -> LabelPlan:
    """What `add_labels` would do with these labels; nothing is stored.

    Raises:
        BadInput: as `add_labels`.
    """
    project = current_project(ws, project)
    return check_labels(ws, project, checked_labels(project, pairs)).plan


def plan_label_file(ws: Workspace, project: ProjectInfo, source: Path | bytes, *, name: str) -> LabelsTaken:
    """What `add_label_file` would do with this file; nothing is stored.

    Raises:
        BadInput: as `add_label_file`.
    """
    project = current_project(ws, project)
    pairs, problems = file_pairs(ws, project, source, name)
    check = check_labels(ws, project, checked_labels(project, pairs))
    return LabelsTaken(results=check.results, plan=check.plan, problems=problems, change=None)


def add_labels(
    ws: Workspace,
    project: ProjectInfo,
    pairs: Sequence[tuple[str, Any]],
    *,
    by: str,
    now: datetime,
    replace: bool = False,
    also: Callable[[Session, list[LabelResult]], None] | None = None,
) -> list[LabelResult]:
    """Store labels by row id, all or none; returns one status per label, in order.

    `stored`: the row is known and had none; `unchanged`: it had this one; `replaced`: it had another; `waiting`: no
    such row yet, the label is joined when it arrives.

    Args:
        replace: existing labels may be replaced, and classes that a champion does not know added.
        also: more to write in the transaction that stores the labels.

    Raises:
        BadInput: no schema yet, or a label that is not valid in the project.
        NeedsConsent: labels would be replaced or classes added, and `replace` is false.
    """
    require(ws, by, "operator")
    check, _ = _store(ws, project, pairs, _Order(by=by, now=now, replace=replace, also=also))
    return check.results


def add_label_file(
    ws: Workspace,
    project: ProjectInfo,
    source: Path | bytes,
    *,
    name: str,
    by: str,
    now: datetime,
    replace: bool = False,
) -> LabelsTaken:
    """Store the labels of a file by row id or prediction id, all or none.

    Raises:
        BadInput: as `read_labels` and `add_labels`.
        NeedsConsent: as `add_labels`.
    """
    require(ws, by, "operator")
    pairs, problems = file_pairs(ws, project, source, name)
    check, change = _store(ws, project, pairs, _Order(by=by, now=now, replace=replace, source=name))
    return LabelsTaken(results=check.results, plan=check.plan, problems=problems, change=change)


def _store(
    ws: Workspace, project: ProjectInfo, pairs: Sequence[tuple[str, Any]], order: _Order
) -> tuple[LabelCheck, int | None]:
    """Check, require confirmation if needed, store; also returns the id of the change."""
    project = current_project(ws, project)
    checked = checked_labels(project, pairs)
    check = check_labels(ws, project, checked)
    require_consent(check.plan, project, order.replace)
    with ws.database.write() as session:
        row = queries.project_row(session, project.id)
        if not still_holds(ws, session, project.id, check):
            project = queries.project_info(session, row)
            check = check_labels(ws, project, checked)
            require_consent(check.plan, project, order.replace)
        first, last = _insert(session, project.id, check, by=order.by, now=order.now)
        row.labelled += check.labelled
        new = tuple(n.label for n in check.plan.new_classes)
        if new:
            row.schema = schema_to_document(with_classes(schema_from_document(row.schema or {}), new))
        change = None
        if new or check.plan.replaced:
            details = {
                "source": order.source,
                "labels": len(check.fresh),
                "replaced": check.plan.replaced,
                "new_classes": list(new),
                "first_label": first,
                "last_label": last,
            }
            what = REPLACED if check.plan.replaced else CLASSES_ADDED
            audit.record(session, who=order.by, what=what, now=order.now, project_id=project.id, after=details)
            session.flush()
            change = session.scalar(
                select(func.max(AuditEntry.id)).where(AuditEntry.project_id == project.id, AuditEntry.what == what)
            )
        if order.also is not None:
            order.also(session, check.results)
    return check, change


def _insert(session: Session, project_id: int, check: LabelCheck, *, by: str, now: datetime) -> tuple[int, int]:
    """Store new labels; returns their first and last id.

    A label of a row in the log is never older than the row's prediction, even if the clock was set back in between.
    """
    if not check.fresh:
        return 0, 0
    texts = {(type(value), value): json.dumps(value) for _, value in check.fresh}
    common = {"project_id": project_id, "created_by": by}
    session.execute(
        insert(LabelRow),
        [
            {
                **common,
                "row_id": row_id,
                "value": texts[type(value), value],
                "created_at": max(now, check.predicted.get(row_id, now)),
            }
            for row_id, value in check.fresh
        ],
    )
    first, last = session.execute(
        select(func.min(LabelRow.id), func.max(LabelRow.id)).where(
            LabelRow.project_id == project_id, LabelRow.id > check.state.newest_label
        )
    ).one()
    return first, last
