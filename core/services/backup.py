"""One consistent file of the whole state, while everything runs; and a new state folder from it, verified.

The database is copied first, then the files that the copy names: those are immutable and written before their
rows, so none can be missing. Secrets (`.env`, the cookie key) stay outside.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core import __version__
from core.errors import BadInput, ConfigurationError, Conflict, StorageError
from core.storage.workspace import Workspace

MANIFEST = "manifest.json"
DATABASES = ("continual.db", "mlflow.db")
FOLDERS = ("batches", "models", "mlartifacts")
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What a backup or a restore wrote."""

    path: Path
    files: int
    bytes: int


def backup(ws: Workspace, target: Path, *, now: datetime) -> BackupReport:
    """Copy the state into one zip with a digest of each file.

    Raises:
        Conflict: the file exists.
        ConfigurationError: the database is not the state folder's SQLite file; use the server's own tools.
    """
    if target.exists():
        raise Conflict(f"{target} exists. Name a new file.")
    if not ws.database.is_sqlite:
        raise ConfigurationError(
            "DATABASE_URL names a database server: back it up with the server's own tools (pg_dump), and copy the folders batches and models."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    home = ws.settings.home_path
    digests: dict[str, str] = {}
    try:
        with (
            tempfile.TemporaryDirectory(dir=target.parent) as folder,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
        ):
            for name in DATABASES:
                if (home / name).exists():
                    copy = Path(folder) / name
                    _copy_sqlite(home / name, copy)
                    digests[name] = _add(archive, copy, name)
            roots = {"batches": ws.batches.root, "models": ws.models_path, "mlartifacts": home / "mlartifacts"}
            for prefix, root in roots.items():
                for path in sorted(root.rglob("*")) if root.exists() else ():
                    if path.is_file() and not path.name.startswith("."):
                        try:
                            digests[f"{prefix}/{path.relative_to(root).as_posix()}"] = _add(
                                archive, path, f"{prefix}/{path.relative_to(root).as_posix()}"
                            )
                        except (
                            FileNotFoundError
                        ):  # an older learner state, dropped this moment: the copy of the database names a newer one
                            continue
            archive.writestr(
                MANIFEST, json.dumps({"version": __version__, "made_at": now.isoformat(), "files": digests})
            )
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.rename(target)
    except OSError as error:
        raise StorageError(
            f"The backup was not written: {error.strerror or error}. Choose a place with free space that can be written."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return BackupReport(path=target, files=len(digests), bytes=target.stat().st_size)


def _copy_sqlite(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as here, sqlite3.connect(target) as there:
        here.backup(there)
    here.close()
    there.execute("PRAGMA journal_mode=DELETE")
    there.close()


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> str:
    digest = hashlib.sha256()
    with (
        path.open("rb") as source,
        archive.open(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as sink,
    ):
        while block := source.read(BLOCK):
            digest.update(block)
            sink.write(block)
    return digest.hexdigest()


def restore(source: Path, target: Path) -> BackupReport:
    """Unpack a backup into a new state folder; every file is checked against its digest first.

    Raises:
        BadInput: not a backup, or damaged: names the file.
        Conflict: the folder exists and is not empty.
    """
    if target.exists() and any(target.iterdir()):
        raise Conflict(f"{target} is not empty. Name a new folder, then start with CONTINUAL_HOME={target}.")
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            files: dict[str, str] = manifest["files"]
            for name, expected in files.items():
                parts = Path(name).parts
                if name not in DATABASES and (parts[0] not in FOLDERS or ".." in parts):
                    raise BadInput(f"{source.name} holds '{name}', which no backup of ours holds.")
                with archive.open(name) as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != expected:  # type: ignore[arg-type]
                        raise BadInput(
                            f"{source.name} is damaged: '{name}' does not match its digest. Use another backup."
                        )
            target.mkdir(parents=True, exist_ok=True)
            total = 0
            for name in files:
                place = target / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as file, place.open("wb") as sink:
                    while block := file.read(BLOCK):
                        total += sink.write(block)
    except FileNotFoundError:
        raise BadInput(f"There is no file {source}.") from None
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError):
        raise BadInput(f"{source.name} is not a backup made by `backup`.") from None
    return BackupReport(path=target, files=len(files), bytes=total)
