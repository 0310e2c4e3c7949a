"""One open state folder: settings, database, batches and model artefacts, handed down as one argument."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings, get_settings
from core.storage import engine
from core.storage.batches import BatchStore
from core.storage.engine import Database


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
    """Open the state folder, made if absent; with `migrate`, bring its schema up to date under a lock first."""
    settings = settings or get_settings()
    home = settings.home_path
    home.mkdir(parents=True, exist_ok=True)
    if migrate:
        engine.migrate(settings.database_url, home / "locks")
    return Workspace(
        settings=settings,
        database=Database(settings.database_url, synchronous=synchronous),
        batches=BatchStore(settings.data_path),
        models_path=home / "models",
    )
