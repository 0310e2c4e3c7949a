"""What goes wrong around the program: a full disk, a database that is locked, damaged or unavailable: one table of causes and texts.

Drivers and the system say such things in many classes and words of their own, which hold statements and paths. The
command line, the API, the pages and the worker all ask here what an exception means for a person.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of trouble: how it shows, and the sentence for people."""

    kind: str
    text: str
    numbers: frozenset[int] = frozenset()  # of an OSError
    phrases: tuple[str, ...] = ()  # of a driver, in small letters


# The first that fits counts.
TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        "full",
        "The disk is full. Free some space, then try again.",
        frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}),
        ("is full", "no space left", "could not extend file", "disk quota"),
    ),
    Trouble(
        "read-only",
        "The state folder cannot be written: it is read-only. Make it writable for this user, or name another with "
        "CONTINUAL_HOME; then try again.",
        frozenset({errno.EROFS}),
        ("readonly database", "read-only"),
    ),
    Trouble(
        "locked",
        "Another process holds the database. Try again.",
        frozenset({errno.EAGAIN, errno.EDEADLK}),
        ("is locked", "busy", "lock timeout", "deadlock detected", "could not obtain lock"),
    ),
    Trouble(
        "corrupt",
        "The database file is damaged. Stop the program, then put a backup in its place with `restore`; `doctor --deep` shows "
        "what is affected.",
        phrases=("disk image is malformed", "file is not a database", "malformed database schema"),
    ),
    Trouble(
        "gone",
        "The database file is gone from its place. Put it back, or restore a backup, then try again.",
        phrases=("database file is gone",),
    ),
    Trouble(
        "schema",
        "The database has not the schema of this version. Bring it up to date with `migrate`.",
        phrases=("no such table", "no such column", "undefinedtable", "undefinedcolumn"),
    ),
    Trouble(
        "permission",
        "This user may not read or write a file of the state folder. Give it the right to, then try again.",
        frozenset({errno.EACCES, errno.EPERM}),
        ("permission denied",),
    ),
    Trouble(
        "files",
        "This process has too many files open. Raise the limit (`ulimit -n`), then try again.",
        frozenset({errno.EMFILE, errno.ENFILE}),
        ("too many open files",),
    ),
    Trouble(
        "disk",
        "The disk is full, or fails. Free some space, look at the system's log, then try again.",
        frozenset({errno.EIO}),
        ("disk i/o error",),
    ),
    Trouble(
        "no file",
        "The database file cannot be opened. See that DATABASE_URL and the state folder are right and that this user may write "
        "there.",
        phrases=("unable to open database file",),
    ),
)
UNREACHABLE = Trouble("unreachable", "The database is out of reach. See that it is there, then try again.")
_DRIVERS = ("psycopg.", "psycopg_")


def trouble_of(error: BaseException) -> Trouble | None:
    """Which trouble an exception means; None for any other: a fault of the program, or of what it was given."""
    if isinstance(error, OSError):
        found = next((t for t in TROUBLES if error.errno in t.numbers), None)
        if found is not None and found.kind == "permission" and isinstance(error.filename, (str, os.PathLike)):
            return replace(found, text=found.text.replace("a file of the state folder", Path(error.filename).name))
        return found
    driver = isinstance(error, sqlite3.Error) or type(error).__module__.startswith(_DRIVERS)
    if not driver and not isinstance(error, SQLAlchemyError):
        return None
    own = getattr(error, "orig", None) or error
    said = f"{type(own).__name__} {own}".lower()
    for trouble in TROUBLES:
        if any(phrase in said for phrase in trouble.phrases):
            return trouble
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    names = {kind.__name__ for kind in type(own).__mro__}
    away = isinstance(error, (OperationalError, InterfaceError)) or names & {"OperationalError", "InterfaceError"}
    return UNREACHABLE if lost or away else None


def what_failed(error: BaseException) -> str:
    """What a database's error means for whoever waits, and what to do; never its own words, which hold statements."""
    return (trouble_of(error) or UNREACHABLE).text
