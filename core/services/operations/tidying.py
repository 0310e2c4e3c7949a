"""Unreferenced files: moved into a trash folder, and removed from there after some time.

Deleting unreferenced files is safe only with the right database. So the database and each folder carry the
token of their installation; only files with the program's naming scheme, in projects that the database knows, are touched; and
nothing at all if the database references no file.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from loguru import logger
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.storage.batches import write_durably
from core.storage.tables import Batch, Installation, Job, ModelRow, Project
from core.storage.workspace import Workspace

STAMP = ".continual-installation"
IN_THE_MAKING = timedelta(hours=1)  # a younger file may be about to be referenced
KEPT_FOR = timedelta(days=30)  # in the trash
_MEND = "Check DATABASE_URL and DATA_URL; no files are removed until then."
_BATCH = re.compile(r"p(\d+)/\d{8}T\d{6}-[0-9a-f]{12}(-scores)?\.parquet")
_MODEL = re.compile(r"p(\d+)/(?:model-[0-9a-f]{24}\.skops|scorer-[0-9a-f]{24}\.cml)")
_LEFTOVER = re.compile(r"\.?[\w.-]+\.(\d+)\.tmp|\.model-[\w.-]+\.tmp|[0-9a-f]{24}\.part")
_SPOOLED = re.compile(r"[0-9a-f]{24}\.(csv|csv\.gz|parquet|arrow)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """What was moved, and what prevents the clean-up."""

    moved: tuple[str, ...] = ()
    refused: str = ""  # why nothing was touched, as a sentence


def token_of(ws: Workspace, now: datetime) -> str:
    """The installation's token, created by the first call."""
    with ws.database.read() as session:
        token = session.scalar(select(Installation.token).where(Installation.id == 1))
    if token is not None:
        return token
    made = secrets.token_hex(16)
    try:
        with ws.database.write() as session:
            session.add(Installation(id=1, token=made, created_at=now))
    except IntegrityError:  # another process was faster
        return token_of(ws, now)
    return made


def mismatch(ws: Workspace) -> str:
    """Why the folders do not belong to the database in use, as a sentence; empty if they do or may be assigned to it.

    A batch folder without a token is assigned if it is empty or holds a file that this database references; the models
    are in the state folder, and follow it.
    """
    with ws.database.read() as session:
        token = session.scalar(select(Installation.token).where(Installation.id == 1))
    for folder in (ws.batches.root, ws.models_path):
        place = folder / STAMP
        if place.is_file():
            if place.read_text().strip() != token:
                return f"The folder {folder.name} belongs to a different database than the one in use. {_MEND}"
            continue
        foreign = folder == ws.batches.root and folder.is_dir() and any(folder.iterdir())
        if foreign and not any((folder / name).is_file() for name in named(ws)):
            return f"The folder {folder.name} holds files, none of which the database in use references. {_MEND}"
    return ""


def stamp(ws: Workspace, now: datetime) -> str:
    """Mark the folders as this installation's; returns why they cannot be, as `mismatch` does, or an empty text."""
    token, refused = token_of(ws, now), mismatch(ws)
    if not refused:
        for folder in (ws.batches.root, ws.models_path):
            if not (folder / STAMP).is_file():
                folder.mkdir(parents=True, exist_ok=True)
                write_durably(folder / STAMP, token.encode())
    return refused


def named(ws: Workspace) -> set[str]:
    """Every referenced file of batches and models, relative to its folder."""
    with ws.database.read() as session:
        batches = session.execute(select(Batch.path, Batch.scores_path)).all()
        paths = select(ModelRow.path, ModelRow.scorer_path).where(ModelRow.removed_at.is_(None))
        models = session.execute(paths).all()
    return {path for pair in [*batches, *models] for path in pair if path}


def tidy(ws: Workspace, now: datetime) -> Tidied:
    """Move unreferenced files into the trash, and remove old ones from it."""
    refused = stamp(ws, now)
    known = named(ws)
    if refused or not known:
        return Tidied(refused=refused)
    with ws.database.read() as session:
        projects = set(session.scalars(select(Project.id)))
        spooled = _spooled(session)
    moved = []
    for root, path in _orphans(ws, projects, known, spooled, now):
        try:
            to_trash(ws, path, Path(f"{now:%Y%m%d}") / root.name / path.relative_to(root))
        except OSError as error:  # the next start tries again
            logger.warning("{name} was not moved: {error}", name=path.name, error=error.strerror)
            continue
        moved.append(path.name)
    _empty(ws.trash_path, now - KEPT_FOR)
    if moved:
        logger.info("{n} unreferenced files were moved to the trash", n=len(moved))
    return Tidied(moved=tuple(moved))


def to_trash(ws: Workspace, path: Path, name: Path) -> None:
    """Move a file into the trash, keeping its relative name; OSError if that fails."""
    target = ws.trash_path / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    os.utime(target)  # its age in the trash counts from now


def orphans(ws: Workspace, now: datetime) -> list[str]:
    """Names of the files that `tidy` would move."""
    with ws.database.read() as session:
        projects = set(session.scalars(select(Project.id)))
        spooled = _spooled(session)
    return [path.name for _, path in _orphans(ws, projects, named(ws), spooled, now)]


def _spooled(session: Session) -> set[str]:
    """Names of the files that jobs still need."""
    open_jobs = select(Job.payload).where(Job.status.in_(("queued", "running")))
    return {Path(p["path"]).name for p in session.scalars(open_jobs) if p and "path" in p}


def _orphans(
    ws: Workspace, projects: set[int], known: set[str], spooled: set[str], now: datetime
) -> Iterator[tuple[Path, Path]]:
    """Unreferenced files that the program wrote and is not just writing, with their folder."""
    for root, form in ((ws.batches.root, _BATCH), (ws.models_path, _MODEL)):
        for path in root.glob("p*/*"):
            name = path.relative_to(root).as_posix()
            if not _is_old_file(path, now - IN_THE_MAKING) or name in known:
                continue
            own = form.fullmatch(name)
            if (own and int(own[1]) in projects) or _LEFTOVER.fullmatch(path.name):
                yield root, path
    for path in ws.spool_path.glob("*"):
        old = _is_old_file(path, now - IN_THE_MAKING)
        if old and path.name not in spooled and (_SPOOLED.fullmatch(path.name) or _LEFTOVER.fullmatch(path.name)):
            yield ws.spool_path, path


def _is_old_file(path: Path, limit: datetime) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and path.stat().st_mtime < limit.timestamp()
    except OSError:
        return False


def _empty(trash: Path, limit: datetime) -> None:
    """Remove files that have been in the trash since before an instant, and empty folders."""
    for path in sorted(trash.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.stat().st_mtime < limit.timestamp():
            path.unlink(missing_ok=True)
