"""The prediction log's group commit.

The event loop alone owns the list of waiting requests. It passes whole groups to one thread, which commits them; only
then are the requests answered. So a response that left the process is on disk, whatever happens next.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Table, insert
from sqlalchemy.orm import Session

from core.errors import StorageError
from core.services.serving.stored_responses import RETENTION, StoredResponse
from core.storage.engine import Database
from core.storage.tables import Prediction, UtcDateTime
from core.storage.troubles import what_failed
from core.storage.workspace import Workspace

GROUP_ROWS = 20_000  # a transaction accepts no more requests once it holds this many rows


STATEMENT_ROWS = 64


TIDY_EVERY = timedelta(minutes=30)


COLUMNS = (
    "project_id",
    "prediction_id",
    "row_id",
    "model_version",
    "prediction",
    "probabilities",
    "classes",
    "features",
    "observed_at",
    "created_at",
    "token_id",
    "rows",
    "block",
    "anonymous",
    "guarded",
)


Record = tuple[Any, ...]  # one value a column


@dataclass(slots=True)
class _Entry:
    records: Sequence[Record]
    response: StoredResponse | None
    done: asyncio.Future[StoredResponse | None]
    stored: StoredResponse | None = None


@dataclass(slots=True)
class _Group:
    entries: list[_Entry] = field(default_factory=list)
    error: StorageError | None = None
    refused: dict[int, StorageError] = field(default_factory=dict)  # by place in the group


class PredictionWriter:
    """Commits records of the prediction log in groups. `ws` decides how durably, by its connection's settings."""

    def __init__(self, ws: Workspace) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Entry] = []
        self._under_way = 0
        self._groups: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._log = _Log(ws.database)
        self._thread = threading.Thread(target=self._commit_groups, name="prediction writer", daemon=True)
        self._thread.start()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Requests waiting for their commit."""
        return len(self._waiting) + self._under_way

    async def write(self, records: Sequence[Record], response: StoredResponse | None = None) -> StoredResponse | None:
        """Return when the records are committed, and `response` with them.

        Returns:
            The response stored earlier under the same key: nothing was stored in that case.

        Raises:
            StorageError: the commit failed; none of them is stored.
        """
        entry = _Entry(records, response, self._loop.create_future())
        self._waiting.append(entry)
        if not self._under_way and len(self._waiting) == 1:
            self._idle.clear()
            self._loop.call_soon(self._hand_over)  # after everything else that is ready now: one group for all
        return await entry.done

    async def close(self) -> None:
        """Commit the waiting records and stop."""
        await self._idle.wait()
        self._groups.put(None)
        await asyncio.to_thread(self._thread.join, 10)

    def _hand_over(self) -> None:
        group, total = _Group(), 0
        for entry in self._waiting:
            if group.entries and total + len(entry.records) > GROUP_ROWS:
                break
            group.entries.append(entry)
            total += len(entry.records)
        del self._waiting[: len(group.entries)]
        self._under_way = len(group.entries)
        self._groups.put(group)

    def _answer(self, group: _Group) -> None:
        self._under_way = 0
        for place, entry in enumerate(group.entries):
            if entry.done.done():  # the request was cancelled meanwhile
                continue
            error = group.error or group.refused.get(place)
            if error is not None:
                entry.done.set_exception(error)
            else:
                entry.done.set_result(entry.stored)
        if self._waiting:
            self._hand_over()
        else:
            self._idle.set()

    # --- in the thread ------------------------------------------------------------------------------------------

    def _commit_groups(self) -> None:
        while (group := self._groups.get()) is not None:
            self._commit(group)
            self._loop.call_soon_threadsafe(self._answer, group)
        self._log.close()

    def _commit(self, group: _Group) -> None:
        """Commit the group. A record that the database refuses fails only its own request."""
        group.error = self._try(group.entries)
        if group.error is not None and len(group.entries) > 1 and _is_refusal(group.error):
            group.error = None
            for place, entry in enumerate(group.entries):
                error = self._try([entry])
                if error is not None:
                    group.refused[place] = error
        elif group.error is not None and _is_refusal(group.error) and group.entries[0].response is not None:
            group.error = self._try(group.entries)  # another process was faster with the same key

    def _try(self, entries: Sequence[_Entry]) -> StorageError | None:
        try:
            self._log.commit(entries)
        except Exception as error:
            logger.error("predictions could not be logged: {error}", error=f"{type(error).__name__}: {error}"[:200])
            refused = StorageError(f"The prediction could not be stored, so it is not returned. {what_failed(error)}")
            refused.__cause__ = error
            return refused
        return None


def _is_refusal(error: StorageError) -> bool:
    return type(error.__cause__).__name__ in ("IntegrityError", "UniqueViolation", "ForeignKeyViolation")


class _Log:
    """The writer's own connection, used through its driver: one statement for many records."""

    def __init__(self, database: Database) -> None:
        self._database, self._engine, self._sqlite = database, database.engine, database.is_sqlite
        dialect = self._engine.dialect
        self._mark = "?" if dialect.paramstyle == "qmark" else "%s"
        self._instant = UtcDateTime().bind_processor(dialect) or (lambda value: value)
        self._raw: Any = None
        self._inserts: dict[int, str] = {}
        self._tidied = datetime.min.replace(tzinfo=UTC)

    def commit(self, entries: Sequence[_Entry]) -> None:
        """All of them or none."""
        try:
            if self._raw is not None and self._database.lost(self._raw.info):
                self.close()
            if self._raw is None:
                self._raw = self._engine.raw_connection()
            cursor = self._raw.cursor()
            cursor.execute(self._database.begin_writing)
            records = list(self._new_records(cursor, entries))
            for start in range(0, len(records), STATEMENT_ROWS):
                self._insert(cursor, records[start : start + STATEMENT_ROWS])
            if self._sqlite:
                cursor.execute("COMMIT")
            else:
                self._raw.commit()
            cursor.close()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next commit opens another."""
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.invalidate()

    def _insert(self, cursor: Any, records: Sequence[Record]) -> None:
        n = len(records)
        sql = self._inserts.get(n)
        if sql is None:
            row = f"({', '.join([self._mark] * len(COLUMNS))})"
            names = ", ".join(f'"{name}"' for name in COLUMNS)
            sql = self._inserts[n] = f"INSERT INTO predictions ({names}) VALUES {', '.join([row] * n)}"  # noqa: S608  # column names and marks of ours; every value is a parameter
        values: list[Any] = []
        instant = self._instant
        for record in records:
            values += record[:8]
            created = instant(record[9])
            values.append(created if record[8] is record[9] else instant(record[8]))
            values.append(created)
            values += record[10:]
        cursor.execute(sql, values)

    def _new_records(self, cursor: Any, entries: Sequence[_Entry]) -> Iterator[Record]:
        """The records to insert; entries whose key is known get the stored response."""
        now: dict[tuple[int, str], StoredResponse] = {}
        for entry in entries:
            response = entry.response
            if response is not None:
                entry.stored = now.get((response.project_id, response.key)) or self._stored_response(cursor, response)
                if entry.stored is not None:
                    continue
                now[response.project_id, response.key] = response
                self._store_response(cursor, response)
            yield from entry.records

    def _stored_response(self, cursor: Any, request: StoredResponse) -> StoredResponse | None:
        at = self._mark
        cursor.execute(
            f"SELECT fingerprint, status, body FROM kept_answers WHERE project_id = {at} AND key = {at}",  # noqa: S608  # column names and marks of ours; every value is a parameter
            (request.project_id, request.key),
        )
        row = cursor.fetchone()
        return (
            None
            if row is None
            else StoredResponse(request.project_id, request.key, row[0], row[1], bytes(row[2]), request.created_at)
        )

    def _store_response(self, cursor: Any, response: StoredResponse) -> None:
        at = self._mark
        if response.created_at - self._tidied > TIDY_EVERY:
            self._tidied = response.created_at
            old = f"DELETE FROM kept_answers WHERE created_at < {at}"  # noqa: S608  # the mark is ours
            cursor.execute(old, (self._instant(response.created_at - RETENTION),))
        cursor.execute(
            f"INSERT INTO kept_answers (project_id, key, fingerprint, status, body, created_at) VALUES ({', '.join([at] * 6)})",  # noqa: S608  # column names and marks of ours; every value is a parameter
            (
                response.project_id,
                response.key,
                response.fingerprint,
                response.status,
                response.body,
                self._instant(response.created_at),
            ),
        )


def store(ws: Workspace, records: Sequence[Record], *, also: Callable[[Session], None] | None = None) -> None:
    """Commit records from a process without a writer, all or none. A response may be sent only after this.

    Args:
        also: further writes in the same transaction.
    """
    table = Prediction.__table__
    assert isinstance(table, Table)
    with ws.database.write() as session:
        if records:
            session.execute(insert(table), [dict(zip(COLUMNS, record, strict=True)) for record in records])
        if also is not None:
            also(session)
