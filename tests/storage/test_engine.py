"""Connections to the database."""

from __future__ import annotations

from contextlib import ExitStack

from core.storage.workspace import Workspace


def test_the_connection_that_was_used_last_is_used_next(ws: Workspace) -> None:
    """Each that is used keeps its own copy of the pages that it read, for as long as the process lives."""

    def used() -> int:
        with ws.database.read() as session:
            return id(session.connection().connection.dbapi_connection)

    with ExitStack() as together:
        sessions = [together.enter_context(ws.database.read()) for _ in range(4)]
        assert len({id(session.connection().connection.dbapi_connection) for session in sessions}) == 4
    assert len({used() for _ in range(8)}) == 1
