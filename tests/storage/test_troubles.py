"""What the system and the drivers raise, put into a sentence at every edge."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from core import cli
from core.cycle import cause_of, lease
from core.errors import StorageError
from core.http import problems
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import prediction_log
from core.storage.engine import Database
from core.storage.tables import Lease
from core.storage.troubles import TROUBLES, trouble_of
from core.storage.workspace import Workspace
from core.ui.components.feedback import as_shown


def said(text: str) -> OperationalError:
    return OperationalError("INSERT INTO secrets", {}, sqlite3.OperationalError(text))


CASES: dict[str, Exception] = {
    "full": said("database or disk is full"),
    "read-only": said("attempt to write a readonly database"),
    "locked": said("database is locked"),
    "corrupt": DatabaseError("SELECT 1", {}, sqlite3.DatabaseError("file is not a database")),
    "gone": said("the database file is gone"),
    "schema": said("no such table: projects"),
    "permission": PermissionError(errno.EACCES, "Permission denied", "/home/me/state/x.parquet"),
    "files": OSError(errno.EMFILE, "Too many open files"),
    "disk": said("disk I/O error"),
    "no file": said("unable to open database file"),
    "unreachable": said("connection refused"),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_trouble_is_known_and_its_sentence_holds_no_statement_and_no_path(kind: str) -> None:
    trouble = trouble_of(CASES[kind])
    assert trouble is not None and trouble.kind == kind
    assert "INSERT" not in trouble.text and "/home" not in trouble.text and trouble.text.endswith(".")


def test_every_entry_of_the_table_has_a_case() -> None:
    assert {t.kind for t in TROUBLES} <= set(CASES)
    assert trouble_of(OSError(errno.ENOSPC, "No space left on device")) == TROUBLES[0]
    assert trouble_of(sqlite3.DatabaseError("database disk image is malformed")) is not None


def test_faults_of_the_program_are_no_trouble() -> None:
    for error in (ValueError("database is locked"), FileNotFoundError(errno.ENOENT, "no"), KeyError("x")):
        assert trouble_of(error) is None
    assert trouble_of(IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed"))) is None


@pytest.mark.parametrize("kind", CASES)
def test_the_api_answers_503_with_the_sentence(kind: str) -> None:
    response = problems.answer(CASES[kind], "/predict")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    found = trouble_of(CASES[kind])
    assert found is not None and json.loads(bytes(response.body))["detail"] == found.text


@pytest.mark.parametrize("kind", CASES)
def test_the_command_line_ends_with_1_and_the_sentence(
    kind: str, ws: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CASES[kind]

    monkeypatch.setattr(projects, "list_projects", refuse)
    assert cli.main(["projects", "list"]) == 1
    found = trouble_of(CASES[kind])
    assert found is not None and capsys.readouterr().err == f"error: {found.text}\n"


def test_init_on_a_folder_that_is_read_only_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole = os.mkdir

    def refuse(path: str | os.PathLike[str], *more: int, **options: int) -> None:
        if "home" in str(path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        whole(path, *more, **options)

    monkeypatch.setattr(os, "mkdir", refuse)
    assert cli.main(["init"]) == 1
    error = capsys.readouterr().err
    assert "read-only" in error and "CONTINUAL_HOME" in error and "Traceback" not in error


def test_a_state_folder_that_is_a_file_ends_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home").write_text("not a folder")
    assert cli.main(["projects", "list"]) == 1
    error = capsys.readouterr().err
    assert "home" in error and "file" in error and "Traceback" not in error


@pytest.mark.parametrize("kind", CASES)
def test_a_page_shows_the_sentence(kind: str) -> None:
    shown, found = as_shown(CASES[kind]), trouble_of(CASES[kind])
    assert isinstance(shown, StorageError) and found is not None and str(shown) == found.text
    assert as_shown(ValueError("a fault of the program")) is None


def test_a_database_that_is_removed_under_a_running_process_is_not_written_into(ws: Workspace, now: datetime) -> None:
    projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    place = ws.settings.home_path / "continual.db"
    place.unlink()
    for name in ("continual.db-wal", "continual.db-shm"):
        (ws.settings.home_path / name).unlink(missing_ok=True)
    log = prediction_log._Log(ws.database)
    for write in (
        lambda: projects.create_project(ws, "Lost", Origin(source="file"), by="test", now=now),
        lambda: log.commit([]),
    ):
        with pytest.raises((sqlite3.OperationalError, OperationalError)) as reported:
            write()
        trouble = trouble_of(reported.value)
        assert trouble is not None and trouble.kind == "gone"
    assert not place.exists()


def _full(database: Database, monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """The database refuses so many writes from now on."""
    left, whole = [times], database.write

    def write() -> object:
        if left[0]:
            left[0] -= 1
            raise said("database or disk is full")
        return whole()

    monkeypatch.setattr(database, "write", write)
    return left


@pytest.mark.parametrize(("times", "kept"), [(2, False), (99, True)])
def test_the_lease_is_given_back_although_the_disk_was_full(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch, times: int, kept: bool
) -> None:
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    monkeypatch.setattr(lease, "RETURN_EVERY_S", 0.0)
    with lease.hold_lease(ws, made.id):
        _full(ws.database, monkeypatch, times)
    with ws.database.read() as session:
        assert (session.get(Lease, f"project:{made.id}") is not None) is kept


def test_what_the_loop_records_of_a_full_disk_is_the_sentence() -> None:
    reported: Callable[..., str] = cause_of
    assert (
        reported(CASES["full"], step="Measuring")
        == "Measuring failed: The disk is full. Free some space, then try again."
    )
