"""The log of answered predictions: its group commit, and how it is read page by page.

One task of the event loop owns the list of those who wait; nothing else touches it. A thread commits what the task
hands over, and only then are the requests answered. So an answer that left the process is on disk, whatever happens next.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from core.errors import StorageError
from core.records import Label
from core.storage.tables import Prediction
from core.storage.workspace import Workspace

GROUP_ROWS = 20_000  # a transaction takes no more requests once it holds so many rows
IDS_AT_ONCE = 500

_Waiting = tuple[Sequence[dict[str, Any]], "asyncio.Future[None]"]


class PredictionWriter:
    """Commits rows of the prediction log in groups. `ws` decides how durably, by its connection's settings."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="prediction writer")

    async def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Return when the rows are committed.

        Raises:
            StorageError: they are not; nothing of them is stored.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, done))
        self._wake.set()
        await done

    async def close(self) -> None:
        """Commit what waits and end."""
        while self._waiting and not self._task.done():
            await asyncio.sleep(0.01)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group: list[_Waiting] = []
                total = 0
                for entry in self._waiting:
                    if group and total + len(entry[0]) > GROUP_ROWS:
                        break
                    group.append(entry)
                    total += len(entry[0])
                # They leave the list only when they are answered: closing waits for an empty one.
                await self._commit(group)
                del self._waiting[: len(group)]

    async def _commit(self, group: list[_Waiting]) -> None:
        """Answer every request of the group. Rows that the database refuses fail their own request only."""
        error = await self._try([row for rows, _ in group for row in rows])
        if len(group) > 1 and error is not None and isinstance(error.__cause__, IntegrityError):
            for rows, done in group:
                _answer(done, await self._try(rows))
            return
        for _, done in group:
            _answer(done, error)

    async def _try(self, rows: Sequence[dict[str, Any]]) -> StorageError | None:
        try:
            await asyncio.to_thread(_store, self._ws, rows)
        except Exception as error:
            known = isinstance(error, (SQLAlchemyError, OSError))
            logger.opt(exception=None if known else error).error(
                "predictions could not be logged: {error}", error=type(error).__name__
            )
            refused = StorageError("The prediction could not be stored, so it is not answered. Try again.")
            refused.__cause__ = error
            return refused
        return None


def _store(ws: Workspace, rows: Sequence[dict[str, Any]]) -> None:
    from core.services.serving import log_predictions  # brings pandas, which the process has by now

    log_predictions(ws, rows)


def _answer(done: asyncio.Future[None], error: StorageError | None) -> None:
    if done.done():  # the request was cancelled meanwhile
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One answered prediction."""

    id: int  # its place in the log, which sealing does not change
    prediction_id: str
    row_id: str
    model_version: int
    prediction: Label
    created_at: datetime


def logged(ws: Workspace, project_id: int, *, limit: int, after: int = 0) -> tuple[list[Logged], bool]:
    """Predictions behind the place `after`, oldest first, and whether there are more behind them."""
    columns = (
        Prediction.id,
        Prediction.prediction_id,
        Prediction.row_id,
        Prediction.model_version,
        Prediction.prediction,
        Prediction.created_at,
    )
    statement = select(*columns).where(Prediction.project_id == project_id, Prediction.id > after)
    with ws.database.read() as session:
        rows = session.execute(statement.order_by(Prediction.id).limit(limit + 1)).all()
    found = [
        Logged(
            id=row.id,
            prediction_id=row.prediction_id,
            row_id=row.row_id,
            model_version=row.model_version,
            prediction=json.loads(row.prediction),
            created_at=row.created_at,
        )
        for row in rows[:limit]
    ]
    return found, len(rows) > limit


def row_ids(ws: Workspace, project_id: int, prediction_ids: Sequence[str]) -> dict[str, str]:
    """Prediction id -> row id; what is not known is left out."""
    found: dict[str, str] = {}
    statement = select(Prediction.prediction_id, Prediction.row_id).where(Prediction.project_id == project_id)
    with ws.database.read() as session:
        for start in range(0, len(prediction_ids), IDS_AT_ONCE):
            some = prediction_ids[start : start + IDS_AT_ONCE]
            found.update(session.execute(statement.where(Prediction.prediction_id.in_(some))).all())
    return found
