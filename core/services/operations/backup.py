"""A consistent backup of the whole state in one file, while everything runs; and its verified restore into a new folder.

The database is copied first, then the files that the copy names: those are immutable and written before their
rows, so none can be missing. Secrets (`.env`, the cookie key) are not included.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TypedDict

from sqlalchemy import make_url

from core import __version__
from core.data.limits import megabytes
from core.errors import BadInput, ConfigurationError, Conflict, NotFound, StorageError
from core.storage import private
from core.storage.engine import file_lock
from core.storage.workspace import Workspace

MANIFEST = "manifest.json"
MAIN = "continual.db"
DATABASES = (MAIN, "mlflow.db")
FOLDERS = ("batches", "models", "mlartifacts")
BLOCK = 1 << 20
MANIFEST_BYTES = 64 << 20
EXPANSION = 20  # unpacked bytes for each byte of the archive; those that `backup` writes are not compressed
DEEPEST = 20  # folder levels in a name
# Every referenced file that still counts, with the digest stored in its row.
_NAMED = (
    "SELECT 'batches/' || path, sha256 FROM batches WHERE undone_at IS NULL",
    "SELECT 'batches/' || scores_path, scores_sha256 FROM batches WHERE scores_path IS NOT NULL AND undone_at IS NULL",
    "SELECT 'models/' || path, sha256 FROM model_versions m WHERE removed_at IS NULL AND NOT EXISTS (SELECT 1 FROM audit a "
    "WHERE a.project_id = m.project_id AND a.what = 'model given up' AND json_extract(a.\"after\", '$.version') = m.version)",
    "SELECT 'models/' || scorer_path, scorer_sha256 FROM model_versions m WHERE scorer_path IS NOT NULL AND removed_at IS NULL AND NOT EXISTS (SELECT 1 FROM audit a "
    "WHERE a.project_id = m.project_id AND a.what = 'model given up' AND json_extract(a.\"after\", '$.version') = m.version)",
    "SELECT 'models/' || learner_path, NULL FROM projects WHERE learner_path IS NOT NULL",  # only its existence is checked
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DRIVE = re.compile(r"[A-Za-z]:")


class Kept(TypedDict):
    """The manifest's entry of one file in the archive."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """The result of a backup or a restore."""

    path: Path
    files: int
    bytes: int
    damaged: tuple[str, ...] = ()  # files that are missing or do not match their checksum


# --- backup -------------------------------------------------------------------------------------------------------


def backup(ws: Workspace, target: Path, *, now: datetime, damaged: bool = False) -> BackupReport:
    """Copy the state into one zip with a digest of each file.

    Args:
        damaged: also copy files that do not match their checksum, and skip those that are missing.

    Raises:
        Conflict: the file exists.
        StorageError: a batch or model is missing or damaged (the message names it), or the disk is full.
        ConfigurationError: the database is not the state folder's SQLite file; use the server's own tools.
    """
    if target.exists():
        raise Conflict(f"{target} exists. Name a new file.")
    home = ws.settings.home_path
    place = make_url(ws.database.url).database if ws.database.is_sqlite else None
    if place is None or Path(place).resolve() != home / MAIN:
        raise ConfigurationError(
            "DATABASE_URL points to a database outside the state folder: back it up with its own tools (pg_dump), and copy the folders batches and models."
        )
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    files: dict[str, Kept] = {}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=target.parent) as folder,
            private.new_file(temporary) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
        ):
            for name in DATABASES:
                if (home / name).exists():
                    copy = Path(folder) / name
                    _copy_sqlite(home / name, copy)
                    files[name] = _add(archive, copy, name)
            roots = {"batches": ws.batches.root, "models": ws.models_path, "mlartifacts": home / "mlartifacts"}
            for prefix, root in roots.items():
                for path in sorted(root.rglob("*")) if root.exists() else ():
                    if path.is_file() and not path.name.startswith("."):
                        name = f"{prefix}/{path.relative_to(root).as_posix()}"
                        try:
                            files[name] = _add(archive, path, name)
                        except (
                            FileNotFoundError
                        ):  # an older learner state, deleted just now: the copied database references a newer one
                            continue
            bad = _damaged(Path(folder) / MAIN, files)
            if bad and not damaged:
                more = f" and {len(bad) - 1:,} more" if len(bad) > 1 else ""
                raise StorageError(
                    f"{bad[0]}{more}: missing, or does not match its checksum; nothing was backed up. Restore it from an "
                    "earlier backup (`doctor --deep` lists what is affected), or use --damaged to back up what can be read."
                )
            document = {"version": __version__, "made_at": now.isoformat(), "files": files, "damaged": bad}
            archive.writestr(MANIFEST, json.dumps(document))
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.rename(target)
    except OSError as error:
        raise StorageError(
            f"The backup was not written: {error.strerror or error}. Choose a writable location with free space."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return BackupReport(path=target, files=len(files), bytes=target.stat().st_size, damaged=tuple(bad))


def _copy_sqlite(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> Kept:
    digest, size = hashlib.sha256(), 0
    with (
        path.open("rb") as source,
        archive.open(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as sink,
    ):
        while block := source.read(BLOCK):
            digest.update(block)
            size += sink.write(block)
    return {"sha256": digest.hexdigest(), "bytes": size}


def _damaged(database: Path, files: dict[str, Kept]) -> list[str]:
    """The files that the copied database references, but that were not copied with a matching digest."""
    with closing(sqlite3.connect(database)) as copied:
        named = [row for statement in _NAMED for row in copied.execute(statement)]
    return sorted({name for name, sha256 in named if name not in files or sha256 not in (None, files[name]["sha256"])})


# --- restore ------------------------------------------------------------------------------------------------------


def restore(source: Path, target: Path) -> BackupReport:
    """Unpack a backup into a new state folder, all or nothing; the digest of every file is verified.

    It is written under a temporary name and renamed once everything is on the disk; an existing empty folder is filled,
    the database last. Leftovers of an interrupted attempt are removed by the next one.

    Raises:
        BadInput: not a backup, damaged, or not in the format of `backup`; the message says what.
        Conflict: the folder exists and is not empty, or is being restored.
        StorageError: the disk is full or cannot be written.
    """
    work = target / ".restoring" if target.is_dir() else target.with_name(f".{target.name}.restoring")
    lock = work.with_name(f"{work.name}.lock")
    if target.exists() and (not target.is_dir() or any(p not in (work, lock) for p in target.iterdir())):
        raise Conflict(f"{target} is not empty. Name a new folder, then start with CONTINUAL_HOME={target}.")
    try:
        with source.open("rb") as opened, zipfile.ZipFile(opened) as archive:
            files = _manifest(archive, source)
            _check_members(archive, files, source)
            work.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(lock, wait=False) as held:
                if not held:
                    raise Conflict(f"{target} is being restored by another process. Wait until it has finished.")
                try:
                    _fill(archive, files, work, target, source)
                finally:
                    lock.unlink(missing_ok=True)
    except FileNotFoundError as error:
        if error.filename != str(source):
            raise StorageError(f"The backup was not restored: {error.strerror}.") from error
        raise NotFound(f"There is no file {source}.") from None
    except OSError as error:
        raise StorageError(
            f"The backup was not restored: {error.strerror or error}. Choose a writable location with free space."
        ) from error
    except (
        zipfile.BadZipFile,  # and what zipfile raises on other files
        zlib.error,
        struct.error,
        EOFError,
        KeyError,
        IndexError,
        ValueError,
        OverflowError,
        RecursionError,
        RuntimeError,
    ):
        raise BadInput(f"{source.name} is damaged, or was not made by `backup`. Use another file.") from None
    return BackupReport(path=target, files=len(files), bytes=sum(size for _, size in files.values()))


def _fill(archive: zipfile.ZipFile, files: dict[str, tuple[str, int]], work: Path, target: Path, source: Path) -> None:
    """Write everything into `work`, flush it to the disk, and rename it."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        free = shutil.disk_usage(work).free
        total = sum(size for _, size in files.values())
        if total > free:
            raise StorageError(
                f"{source.name} unpacks to {megabytes(total)}, and {megabytes(free)} are free. Free disk space."
            )
        # The database comes last: an incomplete folder has none.
        for name in sorted(files, key=lambda n: (n in DATABASES, n == MAIN)):
            _unpack(archive, name, *files[name], work / name, source)
        for folder in (*(p for p in work.rglob("*") if p.is_dir()), work):
            _to_disk(folder)
        if work.parent == target:
            for part in sorted(work.iterdir(), key=lambda p: (p.name in DATABASES, p.name == MAIN)):
                part.rename(target / part.name)
            private.close([target])
        else:
            work.rename(target)
        _to_disk(target.parent if target != work.parent else target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpack(archive: zipfile.ZipFile, name: str, sha256: str, size: int, place: Path, source: Path) -> None:
    private.make_folder(place.parent)
    digest, seen = hashlib.sha256(), 0
    with archive.open(name) as packed, private.new_file(place) as sink:
        while block := packed.read(min(BLOCK, size - seen + 1)):
            digest.update(block)
            seen += sink.write(block)
            if seen > size:
                break
        sink.flush()
        os.fsync(sink.fileno())
    if seen != size or digest.hexdigest() != sha256:
        raise BadInput(f"{source.name} is damaged: '{name}' does not match its digest. Use another backup.")


def _to_disk(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _manifest(archive: zipfile.ZipFile, source: Path) -> dict[str, tuple[str, int]]:
    """Digest and size of each file, by its name; BadInput if the manifest does not have the format of `backup`."""
    with archive.open(MANIFEST) as packed:
        text = packed.read(MANIFEST_BYTES + 1)
    if len(text) > MANIFEST_BYTES:
        raise BadInput(
            f"{source.name}: its {MANIFEST} is larger than {megabytes(MANIFEST_BYTES)}, so it was not made by `backup`. Use another file."
        )
    document = json.loads(text)
    given = document.get("files") if isinstance(document, dict) else None
    if not isinstance(given, dict):
        raise BadInput(
            f"{source.name}: its {MANIFEST} has no list of files, so it was not made by `backup`. Use another file."
        )
    files: dict[str, tuple[str, int]] = {}
    for name, entry in given.items():
        quoted_name = repr(name[:80])
        if not _is_name(name):
            raise BadInput(f"{source.name} contains {quoted_name}, which `backup` never writes. Use another file.")
        sha256, size = (entry.get("sha256"), entry.get("bytes")) if isinstance(entry, dict) else (None, None)
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256) or type(size) is not int or size < 0:
            raise BadInput(
                f"{source.name}: its {MANIFEST} has no size and sha256 of {quoted_name}. Use another backup."
            )
        files[name] = sha256, size
    both = next((str(p) for name in files for p in PurePosixPath(name).parents if str(p) in files), None)
    if both is not None:
        raise BadInput(f"{source.name} contains '{both[:80]}' both as a file and as a folder. Use another file.")
    if MAIN not in files:
        raise BadInput(f"{source.name} contains no database ({MAIN}), so it is incomplete. Use another backup.")
    return files


def _is_name(name: str) -> bool:
    """Whether a backup may contain a file of this name: one of the databases, or a plain path below one of the folders."""
    parts = name.split("/")
    plain = "\\" not in name and name.isprintable() and not _DRIVE.match(name) and len(parts) <= DEEPEST
    whole = all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
    return name in DATABASES or (plain and whole and len(parts) > 1 and parts[0] in FOLDERS)


def _check_members(archive: zipfile.ZipFile, files: dict[str, tuple[str, int]], source: Path) -> None:
    """BadInput if the archive has other members than the manifest lists, or if they unpack to too much."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    odd = next(_odd(members, files), None)
    if odd is not None:
        raise BadInput(f"{source.name} contains {odd[:80]!r}, which `backup` never writes. Use another file.")
    lacking = sorted(set(files) - {member.filename for member in members})
    if lacking:
        raise BadInput(f"{source.name} is damaged: '{lacking[0][:80]}' is not in it. Use another backup.")
    total, packed = sum(size for _, size in files.values()), source.stat().st_size
    if total > EXPANSION * packed:
        raise BadInput(
            f"{source.name} has {megabytes(packed)} and would unpack to {megabytes(total)}, more than {EXPANSION} "
            "times as much, so it was not made by `backup`. Use another file."
        )


def _odd(members: list[zipfile.ZipInfo], files: dict[str, tuple[str, int]]) -> Iterator[str]:
    seen: set[str] = set()
    for member in members:
        name, mode = member.filename, member.external_attr >> 16
        plain = not mode or stat.S_ISREG(mode) or not stat.S_IFMT(mode)
        if name in seen or (name != MANIFEST and name not in files) or not plain or member.flag_bits & 1:
            yield name
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            yield name
        seen.add(name)
