"""The prediction log, read: by row id, by page, by what waits for its label."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.records import Label
from core.services.serving import blocks
from core.storage.tables import Prediction
from core.storage.workspace import Workspace

IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One answered prediction."""

    at: tuple[int, int]  # its place in the log, which sealing does not change: row of the table, row of its block
    prediction_id: str
    row_id: str
    model_version: int
    prediction: Label | None  # as it was answered; None where a guard withheld it
    created_at: datetime


def logged(ws: Workspace, project_id: int, *, limit: int, after: tuple[int, int] = (0, 0)) -> tuple[list[Logged], bool]:
    """Predictions behind the place `after`, oldest first, and whether there are more behind them."""
    statement = select(Prediction).where(Prediction.project_id == project_id, Prediction.id >= after[0])
    found: list[Logged] = []
    with ws.database.read() as session:
        for row in session.scalars(statement.order_by(Prediction.id).limit(limit + 2)):
            for one in _entries(row):
                if one.at > after:
                    found.append(one)
                if len(found) > limit:
                    return found[:limit], True
    return found, False


def _entries(row: Prediction) -> Iterator[Logged]:
    if row.block is None:
        given = json.loads(row.guarded) if row.guarded else None
        yield Logged(
            at=(row.id, 0),
            prediction_id=row.prediction_id,
            row_id=row.row_id,
            model_version=row.model_version,
            prediction=given["answer"] if given and given["action"] != "warn" else json.loads(row.prediction),
            created_at=row.created_at,
        )
        return
    block = blocks.read(row.block)
    for i, label in enumerate(block.answered()):
        name = blocks.row_id(row.prediction_id, i)
        yield Logged(
            at=(row.id, i),
            prediction_id=name,
            row_id=name,
            model_version=row.model_version,
            prediction=label,
            created_at=row.created_at,
        )


def waiting_rows(session: Session, project_id: int, row_ids: Sequence[str]) -> dict[str, datetime]:
    """Which of the row ids stand in the log and are not sealed yet, and the latest instant of their predictions."""
    found: dict[str, datetime] = {}
    single, of_blocks = _parted(row_ids)
    for start in range(0, len(single), IDS_AT_ONCE):
        some = Prediction.row_id.in_(single[start : start + IDS_AT_ONCE])
        statement = select(Prediction.row_id, Prediction.created_at).where(Prediction.unsealed(project_id), some)
        for row_id, at in session.execute(statement):
            found[row_id] = max(at, found.get(row_id, at))
    names = list(of_blocks)
    for start in range(0, len(names), IDS_AT_ONCE):
        some = Prediction.prediction_id.in_(names[start : start + IDS_AT_ONCE])
        blocked = select(Prediction.prediction_id, Prediction.rows, Prediction.created_at).where(
            Prediction.unsealed(project_id), some, Prediction.block.is_not(None)
        )
        for name, rows, at in session.execute(blocked):
            found.update((blocks.row_id(name, place), at) for place in of_blocks[name] if place < rows)
    return found


def _parted(ids: Sequence[str]) -> tuple[list[str], dict[str, set[int]]]:
    """Every id as one of a row of its own, and those that may be of a block's rows: its id, places."""
    of_blocks: dict[str, set[int]] = {}
    for name in ids:
        found = blocks.base_of(name)
        if found is not None:
            of_blocks.setdefault(found[0], set()).add(found[1])
    return list(ids), of_blocks


def row_ids(ws: Workspace, project_id: int, prediction_ids: Sequence[str]) -> dict[str, str]:
    """Prediction id -> row id; what is not known is left out."""
    found: dict[str, str] = {}
    single, of_blocks = _parted(prediction_ids)
    own = Prediction.project_id == project_id
    with ws.database.read() as session:
        for start in range(0, len(single), IDS_AT_ONCE):
            some = Prediction.prediction_id.in_(single[start : start + IDS_AT_ONCE])
            found.update(session.execute(select(Prediction.prediction_id, Prediction.row_id).where(own, some)).all())
        names = list(of_blocks)
        for start in range(0, len(names), IDS_AT_ONCE):
            some = Prediction.prediction_id.in_(names[start : start + IDS_AT_ONCE])
            statement = select(Prediction.prediction_id, Prediction.rows).where(
                own, some, Prediction.block.is_not(None)
            )
            for name, rows in session.execute(statement):
                keys = [blocks.row_id(name, place) for place in of_blocks[name] if place < rows]
                found.update(zip(keys, keys, strict=True))
    return found
