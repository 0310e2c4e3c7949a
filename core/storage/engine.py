"""The database: engine, the two kinds of transaction, migrations under a lock.

One `write()` at a time, whatever the database: what a step reads is still so when it writes. SQLite begins IMMEDIATE (a
deferred read-then-write would fail under several writers whatever the timeout), PostgreSQL takes a lock of the
transaction first. Read, compute without a session, write briefly; never train inside a transaction.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.errors import ConfigurationError, StorageError
from core.settings import ROOT
from core.storage.troubles import trouble_of, what_failed

BUSY_TIMEOUT_S = 30
_WRITE_LOCK = 0x636D6C  # among the advisory locks of a PostgreSQL database


class Database:
    """One engine and its sessions; safe to share between threads."""

    def __init__(self, url: str, *, synchronous: str = "FULL") -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self._path: str | None = None  # of an SQLite file
        self._opened = False
        if self.is_sqlite:
            path = make_url(url).database
            if path and path != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                self._path = path
            self.engine: Engine = create_engine(
                url,
                connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
                pool_pre_ping=False,
                pool_use_lifo=True,  # each connection that is used keeps 2 MB of pages
            )
            self._prepare_sqlite(synchronous)
            self._watch_file()
        else:
            self.engine = create_engine(url, pool_pre_ping=True)
            self._prepare_postgresql()
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = sessionmaker(self.engine.execution_options(immediate=True), expire_on_commit=False)

    def _prepare_sqlite(self, synchronous: str) -> None:
        @event.listens_for(self.engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # we say BEGIN ourselves
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute(f"PRAGMA synchronous={synchronous}")
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

        @event.listens_for(self.engine, "begin")
        def _begin(connection: Any) -> None:
            immediate = connection.get_execution_options().get("immediate", False)
            connection.exec_driver_sql(self.begin_writing if immediate else "BEGIN")

    def _prepare_postgresql(self) -> None:
        @event.listens_for(self.engine, "begin")
        def _begin(connection: Any) -> None:
            if connection.get_execution_options().get("immediate", False):
                connection.exec_driver_sql(self.begin_writing)

    @property
    def begin_writing(self) -> str:
        """The first statement of a transaction that writes: it waits for the one that writes now to end."""
        if self.is_sqlite:
            return "BEGIN IMMEDIATE"
        # Both for this transaction alone: the connection may be shared, behind a pool.
        return f"SELECT set_config('lock_timeout', '{BUSY_TIMEOUT_S}s', true), pg_advisory_xact_lock({_WRITE_LOCK})"

    def _watch_file(self) -> None:
        """An open connection would go on writing to a file that somebody has removed, a new one would make another."""

        @event.listens_for(self.engine, "do_connect")
        def _open(_dialect: Any, _record: Any, _args: Any, _more: Any) -> None:
            if self._opened and self._path and self._file() is None:
                raise sqlite3.OperationalError("the database file is gone")

        @event.listens_for(self.engine, "connect")
        def _connected(_connection: Any, record: Any) -> None:
            record.info["file"], self._opened = self._file(), True

        @event.listens_for(self.engine, "checkout")
        def _checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
            if self.lost(record.info):
                raise DisconnectionError("the database file is another one now")

    def lost(self, info: Any) -> bool:
        """Whether a connection, by its `info`, is to a file that is no longer at the database's place."""
        return bool(self._path) and self._file() != info.get("file")

    def _file(self) -> tuple[int, int] | None:
        """Which file is at the database's place; None where there is none."""
        if self._path is None:
            return None
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads."""
        with self._sessions() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One all-or-nothing step: commits at the end, rolls back when anything raises."""
        with self._writing.begin() as session:
            yield session

    def ping(self) -> bool:
        """Whether the database answers."""
        try:
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def revision(self) -> str | None:
        """The schema's revision as the database has it; None where there is no schema of ours. Raises what the driver does."""
        with self.engine.connect() as connection:
            if "alembic_version" not in inspect(connection).get_table_names():
                return None
            found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return found

    def integrity(self) -> str:
        """What SQLite finds wrong with its pages, in its own words; nothing where all is well, or on another server."""
        if not self.is_sqlite:
            return ""
        try:
            with self.engine.connect() as connection:
                found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
        except SQLAlchemyError as error:
            trouble = trouble_of(error)
            if trouble is None or trouble.kind != "corrupt":
                raise
            return str(getattr(error, "orig", error))
        return "" if found == "ok" else " ".join(str(found).split())

    def dispose(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """An advisory lock on a file, released by the system when the process dies. Yields whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


# Alembic keeps the database that a migration works on in one place for the whole process: two upgrades side by side,
# ours or MLflow's own, write their tables into each other's database.
one_upgrade = threading.RLock()


def newest_revision() -> str:
    """The schema's version of this program: migrations are numbered by their file names."""
    return max(path.name.partition("_")[0] for path in (ROOT / "alembic" / "versions").glob("[0-9]*_*.py"))


def _is_current(url: str) -> bool:
    """Whether nothing has to be done, asked without the migration library: every start of every process asks this."""
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except SQLAlchemyError:  # no such table yet, or no connection: the long way distinguishes them
        return False
    finally:
        database.dispose()
    return found == newest_revision()


def migrate(url: str, lock_folder: Path) -> bool:
    """Bring the schema to this program's version, under a lock; returns whether anything was done.

    Raises:
        ConfigurationError: the database was written by a newer version of the program.
        StorageError: the database is out of reach.
    """
    if _is_current(url):
        return False
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["url"] = url
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    lock_folder.mkdir(parents=True, exist_ok=True)
    with file_lock(lock_folder / "migrate.lock"), one_upgrade:
        database = Database(url)
        try:
            with database.engine.connect() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
            if current == head:
                return False
            if current is not None:
                try:
                    script.get_revision(current)
                except CommandError:
                    raise ConfigurationError(
                        f"The database is at revision {current}, which this version does not know: it was written by a newer one. Start the newer version, or restore a backup."
                    ) from None
            command.upgrade(config, "head")
            return True
        except SQLAlchemyError as error:
            raise StorageError(
                f"The database could not be opened or brought up to date. {what_failed(error)}"
            ) from error
        finally:
            database.dispose()
