"""Files that nothing names: only our own, only with the right database, and never gone at once."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from core.services.automation import jobs
from core.services.ingestion import ingest
from core.services.operations import tidying
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import Settings
from core.storage.workspace import Workspace, open_workspace


@pytest.fixture
def stored(ws: Workspace, now: datetime) -> Workspace:
    """A state folder with one batch."""
    fill(ws, now)
    return ws


def fill(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="t", now=now)
    frame = pd.DataFrame({"x": np.arange(40) / 7, "y": ["up", "down"] * 20})
    ingest.ingest_frame(ws, made, frame, origin="a", by="t", now=now, target="y")


def put(path: Path, *, old: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    if old:
        os.utime(path, (0, 0))
    return path


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != tidying.STAMP}


OWN = "p1/20260101T000000-0123456789ab.parquet"


def test_what_no_row_names_goes_to_the_trash_and_from_there_after_a_month(stored: Workspace, now: datetime) -> None:
    known = files(stored.batches.root)
    for name in known:
        os.utime(stored.batches.root / name, (0, 0))
    put(stored.batches.root / OWN)
    put(stored.batches.root / "p1/20260101T000001-0123456789ab-scores.parquet")
    put(stored.batches.root / "p1/20260101T000002-0123456789ab.parquet", old=False)
    put(stored.models_path / "p1/model-0123456789abcdef01234567.skops")
    put(stored.models_path / "p1/.model-0123456789abcdef01234567.skops.77.tmp")
    put(stored.spool_path / "0123456789abcdef01234567.csv")
    assert tidying.orphans(stored, now) and len(tidying.tidy(stored, now).moved) == 5
    assert files(stored.batches.root) == known | {"p1/20260101T000002-0123456789ab.parquet"}
    assert len(files(stored.trash_path)) == 5
    for path in stored.trash_path.rglob("*"):
        if path.is_file():
            moved_at = (now - timedelta(days=29)).timestamp()
            os.utime(path, (moved_at, moved_at))
    tidying.tidy(stored, now)
    assert len(files(stored.trash_path)) == 5
    tidying.tidy(stored, now + timedelta(days=2))
    assert files(stored.trash_path) == set()


@pytest.mark.parametrize(
    "name",
    [
        "photos/thesis.docx",
        "p1/notes.parquet",
        "p99/20260101T000000-0123456789ab.parquet",
        "p1/deep/" + OWN,
        "x.parquet",
    ],
)
def test_files_of_others_are_never_touched(stored: Workspace, now: datetime, name: str) -> None:
    put(stored.batches.root / name)
    assert tidying.tidy(stored, now).moved == ()
    assert name in files(stored.batches.root)


def test_another_database_over_the_same_folder_moves_nothing(
    stored: Workspace, settings: Settings, now: datetime
) -> None:
    """A slip in DATABASE_URL, or a .env that was not read once."""
    tidying.tidy(stored, now)
    for path in files(stored.batches.root):
        os.utime(stored.batches.root / path, (0, 0))
    before = files(stored.batches.root)
    other = open_workspace(
        settings.model_copy(update={"database_url_setting": SecretStr(f"sqlite:///{settings.home_path}/other.db")}),
        migrate=True,
    )
    assert "belongs to a different database" in tidying.tidy(other, now).refused
    fill(other, now)  # even one that names something
    before |= files(stored.batches.root)
    assert tidying.tidy(other, now).moved == ()
    assert files(stored.batches.root) == before


def test_a_folder_with_files_of_others_is_not_taken_for_ours(ws: Workspace, now: datetime) -> None:
    put(ws.batches.root / "photos/thesis.docx")
    assert "none of which" in tidying.tidy(ws, now).refused
    assert files(ws.batches.root) == {"photos/thesis.docx"}


def test_a_database_that_names_nothing_moves_nothing(ws: Workspace, now: datetime) -> None:
    put(ws.spool_path / "0123456789abcdef01234567.csv")
    assert tidying.tidy(ws, now) == tidying.Tidied()
    assert files(ws.spool_path) == {"0123456789abcdef01234567.csv"}


def test_a_spooled_file_is_kept_for_as_long_as_its_job_needs_it(stored: Workspace, now: datetime) -> None:
    place = put(stored.spool_path / "0123456789abcdef01234567.csv")
    job = jobs.request_file(stored, 1, jobs.Spooled(kind="ingest", path=place, options={}), by="t", now=now)
    assert tidying.orphans(stored, now) == []
    jobs.finish(stored, job, {"batch": 1}, now)  # its worker died before it could remove the file
    assert tidying.orphans(stored, now) == [place.name]
