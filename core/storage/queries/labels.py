"""Labels that arrived by row id. An undone label is left out unless a function says otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import records
from core.storage.queries.common import CHUNK
from core.storage.tables import Label


def labels_by_row(
    session: Session, project_id: int, row_ids: Iterable[str] | None = None, *, after: int = 0
) -> dict[str, tuple[records.Label, int, datetime]]:
    """Newest label of each row id that is not undone: value, label id, instant. `row_ids` None = all labels with an id above `after`."""
    found: dict[str, tuple[records.Label, int, datetime]] = {}
    statement = select(Label.row_id, Label.value, Label.id, Label.created_at).where(
        Label.project_id == project_id, Label.undone_at.is_(None)
    )
    if row_ids is None:
        statements = [statement.where(Label.id > after).order_by(Label.id)]
    else:  # neither bound nor order by the id here: SQLite would walk all labels instead of looking up the rows
        ids = list(row_ids)
        statements = [statement.where(Label.row_id.in_(ids[i : i + CHUNK])) for i in range(0, len(ids), CHUNK)]
    for one in statements:
        for row_id, value, label_id, created_at in sorted(session.execute(one).all(), key=lambda row: row[2]):
            if label_id > after:
                found[row_id] = (json.loads(value), label_id, created_at)
    return found


def has_labels(session: Session, project_id: int) -> bool:
    """Whether any label of this project was sent by row id and is not undone."""
    there = select(Label.id).where(Label.project_id == project_id, Label.undone_at.is_(None)).limit(1)
    return session.scalar(there) is not None


def label_count(session: Session, project_id: int, *, at_most: int) -> int:
    """How many labels were sent by row id, undone ones included; counting stops at `at_most`."""
    some = select(Label.id).where(Label.project_id == project_id).limit(at_most).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def newest_label_id(session: Session, project_id: int) -> int:
    """Highest label id, undone ones included; 0 when there is none."""
    return session.scalar(select(func.max(Label.id)).where(Label.project_id == project_id)) or 0


def first_labels(session: Session, project_id: int, row_ids: Sequence[str]) -> dict[str, int]:
    """Id of the first label that each row ever got, undone ones left out."""
    found: dict[str, int] = {}
    for i in range(0, len(row_ids), CHUNK):
        statement = (
            select(Label.row_id, func.min(Label.id))
            .where(
                Label.project_id == project_id,
                Label.row_id.in_(row_ids[i : i + CHUNK]),
                Label.undone_at.is_(None),
            )
            .group_by(Label.row_id)
        )
        found.update(session.execute(statement).all())
    return found
