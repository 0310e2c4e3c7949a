"""Where the disk does not last people are warned, and learn exactly what goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.services.operations import hosting
from core.settings import Settings

HERE, CLOUD = Path("/srv/continual-ml"), Path("/mount/src/continual-ml")
POSTGRES = "postgresql+psycopg://me:it-is-a-secret@db.example.org/ml"


@pytest.mark.parametrize(
    ("program", "storage", "database", "expected"),
    [
        (HERE, "auto", "", None),
        (HERE, "auto", POSTGRES, None),
        (HERE, "temporary", "", hosting.ALL_LOST),
        (CLOUD, "auto", "", hosting.ALL_LOST),
        (
            CLOUD,
            "auto",
            "sqlite:////mount/other/continual.db",
            hosting.ALL_LOST,
        ),  # a file is on the disk wherever it lies
        (CLOUD, "auto", POSTGRES, hosting.FILES_LOST),
        (CLOUD, "durable", "", None),
        (Path("/mount/srcs/x"), "auto", "", None),
    ],
)
def test_what_a_restart_loses(program: Path, storage: str, database: str, expected: str | None) -> None:
    settings = Settings(CONTINUAL_STORAGE=storage, DATABASE_URL=database)
    assert hosting.storage_warning(settings, program) == expected
