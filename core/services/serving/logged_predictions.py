"""Reads of the prediction log: by row id, by page, by missing labels."""

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
    """One logged prediction."""

    at: tuple[int, int]  # its position in the log, which sealing does not change: row of the table, row of its block
    prediction_id: str
    row_id: str
    model_version: int
    prediction: Label | None  # as returned; None if a guard withheld it
    created_at: datetime


def logged(ws: Workspace, project_id: int, *, limit: int, after: tuple[int, int] = (0, 0)) -> tuple[list[Logged], bool]:
    """Predictions after the position `after`, oldest first, and whether there are more."""
    statement = select(Prediction).where(Prediction.project_id == project_id, Prediction.id >= after[0])
    page: list[Logged] = []
    with ws.database.read() as session:
        for row in session.scalars(statement.order_by(Prediction.id).limit(limit + 2)):
            for one in _entries(row):
                if one.at > after:
                    page.append(one)
                if len(page) > limit:
                    return page[:limit], True
    return page, False


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
    """Which of the row ids are in the log and not sealed yet, and the latest instant of their predictions."""
    times: dict[str, datetime] = {}
    single, of_blocks = _parted(row_ids)
    for start in range(0, len(single), IDS_AT_ONCE):
        some = Prediction.row_id.in_(single[start : start + IDS_AT_ONCE])
        statement = select(Prediction.row_id, Prediction.created_at).where(Prediction.unsealed(project_id), some)
        for row_id, at in session.execute(statement):
            times[row_id] = max(at, times.get(row_id, at))
    names = list(of_blocks)
    for start in range(0, len(names), IDS_AT_ONCE):
        some = Prediction.prediction_id.in_(names[start : start + IDS_AT_ONCE])
        blocked = select(Prediction.prediction_id, Prediction.rows, Prediction.created_at).where(
            Prediction.unsealed(project_id), some, Prediction.block.is_not(None)
        )
        for name, rows, at in session.execute(blocked):
            times.update((blocks.row_id(name, place), at) for place in of_blocks[name] if place < rows)
    return times


def _parted(ids: Sequence[str]) -> tuple[list[str], dict[str, set[int]]]:
    """Every id as that of a single row, and those that may be of a block's rows: the block's id, positions."""
    of_blocks: dict[str, set[int]] = {}
    for name in ids:
        base = blocks.base_of(name)
        if base is not None:
            of_blocks.setdefault(base[0], set()).add(base[1])
    return list(ids), of_blocks


def row_ids(ws: Workspace, project_id: int, prediction_ids: Sequence[str]) -> dict[str, str]:
    """Prediction id -> row id; unknown ids are left out."""
    by_prediction: dict[str, str] = {}
    single, of_blocks = _parted(prediction_ids)
    own = Prediction.project_id == project_id
    with ws.database.read() as session:
        for start in range(0, len(single), IDS_AT_ONCE):
            some = Prediction.prediction_id.in_(single[start : start + IDS_AT_ONCE])
            by_prediction.update(
                session.execute(select(Prediction.prediction_id, Prediction.row_id).where(own, some)).all()
            )
        names = list(of_blocks)
        for start in range(0, len(names), IDS_AT_ONCE):
            some = Prediction.prediction_id.in_(names[start : start + IDS_AT_ONCE])
            statement = select(Prediction.prediction_id, Prediction.rows).where(
                own, some, Prediction.block.is_not(None)
            )
            for name, rows in session.execute(statement):
                keys = [blocks.row_id(name, place) for place in of_blocks[name] if place < rows]
                by_prediction.update(zip(keys, keys, strict=True))
    return by_prediction
