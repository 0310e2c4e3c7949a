"""What the program keeps is its owner's alone, whatever the umask and whoever made the folder."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core import cli
from core.services.access import sessions
from core.services.ingestion import generated
from core.services.operations import doctor
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import Settings
from core.storage import private
from core.storage.engine import file_lock
from core.storage.workspace import holding, open_workspace


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_ones(folder: Path) -> list[str]:
    """What of a folder others could enter or read."""
    return [p.as_posix() for p in (folder, *folder.rglob("*")) if private.is_open(p)]


def test_whatever_is_stored_is_for_its_owner_only(settings: Settings, now: datetime) -> None:
    ws = open_workspace(settings, migrate=True)
    project = projects.create_project(ws, "default", Origin(source="generator"), by="test", now=now)
    generated.generate(ws, project, rows=50, features=2, seed=1, by="test", now=now)
    sessions.cookie_key(ws)
    with file_lock(ws.locks_path / "a.lock") as held:
        assert held
    for folder in (ws.results_path, ws.spool_path, ws.models_path, ws.trash_path):
        folder.mkdir(exist_ok=True)
        (folder / "one").write_text("")
    assert {p.name for p in settings.home_path.iterdir()} >= {"continual.db", "continual.db-wal", "batches", "locks"}
    assert open_ones(settings.home_path) == []
    assert settings.home_path in holding(settings), "the program takes a file of its own for somebody else's"
    ws.database.dispose()


def test_a_folder_of_an_older_version_is_closed_at_the_next_start(settings: Settings, migrated_database: Path) -> None:
    home = settings.home_path
    (home / "batches").mkdir(parents=True)
    shutil.copy(migrated_database, home / "continual.db")
    home.chmod(0o755)
    (home / "continual.db").chmod(0o664)
    open_workspace(settings).database.dispose()
    assert open_ones(home) == []


def test_a_folder_with_other_things_in_it_keeps_its_own_mode(settings: Settings, migrated_database: Path) -> None:
    home = settings.home_path
    home.mkdir()
    (home / "letters").mkdir()
    shutil.copy(migrated_database, home / "continual.db")
    (home / "continual.db").chmod(0o644)
    open_workspace(settings).database.dispose()
    assert open_ones(home) == [home.as_posix(), (home / "letters").as_posix()]


def test_a_database_and_batches_elsewhere_are_closed_too(
    tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows").mkdir()
    shutil.copy(migrated_database, tmp_path / "other.db")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    monkeypatch.setenv("DATA_URL", str(tmp_path / "rows"))
    open_workspace(Settings(CONTINUAL_HOME=tmp_path / "home")).database.dispose()
    assert not private.is_open(tmp_path / "other.db")
    assert not private.is_open(tmp_path / "rows")


def test_a_folder_that_all_share_is_left_alone(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    private.close([shared, tmp_path / "absent"])
    assert shared.stat().st_mode & 0o7777 == 0o1777


def test_doctor_shows_what_is_open_and_the_command_that_repairs_it(settings: Settings) -> None:
    ws = open_workspace(settings, migrate=True)
    home = settings.home_path

    def _found() -> doctor.Check:
        return next(c for c in doctor.examine(ws, now=datetime.now(UTC)) if c.name == "modes")

    assert _found().ok
    (home / "continual.db").chmod(0o640)
    assert (_found().ok, _found().fix) == (False, f"chmod -R go= {home / 'continual.db'}")
    home.chmod(0o711)
    assert _found().fix == f"chmod -R go= {home}"
    subprocess.run(shlex.split(_found().fix), check=True)
    assert _found().ok
    ws.database.dispose()


def test_the_command_line_writes_private_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["continual"])
    assert cli.main(["migrate"]) == 0
    assert cli.main(["projects", "create", "default", "--generate", "--rows", "50", "--features", "2"]) == 0
    assert cli.main(["projects", "export", "default", "--out", str(tmp_path / "all.zip")]) == 0
    assert cli.main(["backup", str(tmp_path / "monday.zip")]) == 0
    capsys.readouterr()
    assert [p.name for p in tmp_path.glob("*.zip") if private.is_open(p)] == []
    assert open_ones(tmp_path / "home") == []
