"""One open state folder: settings, database, batches and model artefacts, handed down as one argument."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from core.errors import ConfigurationError
from core.settings import Settings, get_settings
from core.storage import engine, private
from core.storage.batches import BatchStore
from core.storage.engine import Database

# How what the program keeps in the state folder begins: the databases have companions (-wal, -shm).
NAMES = (
    "continual.db", "mlflow.db", "batches", "models", "mlartifacts", "mlruns", "locks", "results", "spool", "trash", "cookie.key",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workspace:
    """What a process needs to read and write the state."""

    settings: Settings
    database: Database
    batches: BatchStore
    models_path: Path

    @property
    def locks_path(self) -> Path:
        """Folder of the lock files."""
        return self.settings.home_path / "locks"

    @property
    def trash_path(self) -> Path:
        """Folder of files that nothing names any more, for a while."""
        return self.settings.home_path / "trash"

    @property
    def results_path(self) -> Path:
        """Predictions of large files, for whoever asked for them: `<job>.json`."""
        return self.settings.home_path / "results"

    @property
    def spool_path(self) -> Path:
        """Folder of uploads that wait for a worker."""
        return self.settings.home_path / "spool"


def open_workspace(settings: Settings | None = None, *, migrate: bool = False, synchronous: str = "FULL") -> Workspace:
    """Open the state folder, made if absent; with `migrate`, bring its schema up to date under a lock first.

    What this process writes from then on, and what lies in the folder, is for its owner alone.
    """
    settings = settings or get_settings()
    home = settings.home_path
    private.keep_private()
    if home.exists() and not home.is_dir():
        raise ConfigurationError(
            f"CONTINUAL_HOME names a file ({home.name}), expected a folder. Name a folder, or one that is yet to be made."
        )
    private.make_folder(home)
    private.close(holding(settings))
    if migrate:
        engine.migrate(settings.database_url, home / "locks")
    return Workspace(
        settings=settings,
        database=Database(settings.database_url, synchronous=synchronous),
        batches=BatchStore(settings.data_path),
        models_path=home / "models",
    )


def holding(settings: Settings) -> list[Path]:
    """The folders and files that hold people's data, those that are there: nobody else should be able to enter.

    A state folder that holds other things as well is not named itself, only what is the program's in it.
    """
    home = settings.home_path
    within = list(home.iterdir())
    ours = [path for path in within if path.name.startswith(NAMES)]
    others = [path for path in within if path not in ours and not path.name.startswith(".")]
    found = [*([] if others else [home]), *ours]
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database and Path(url.database).parent != home:
        found += [Path(url.database + end) for end in ("", "-wal", "-shm")]
    if settings.data_path.parent != home:
        found.append(settings.data_path)
    return [path for path in found if path.exists()]
