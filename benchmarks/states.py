"""State folders of the benchmarks."""

from __future__ import annotations

from pathlib import Path

from core.settings import Settings
from core.storage.workspace import Workspace, open_workspace


def opened(home: Path, *, migrate: bool = False) -> Workspace:
    """The workspace of a state folder; `migrate` makes the database of a new one."""
    return open_workspace(Settings(CONTINUAL_HOME=home), migrate=migrate)  # type: ignore[call-arg]  # an alias
