"""The API's start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from api_helpers import ADMIN, KEY, serving, token

from core.services.access import tokens
from core.settings import ROOT, get_settings


def test_the_api_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys, api; print([m for m in ('pandas', 'sklearn', 'mlflow', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_empty_state_folder_is_migrated_and_tokens_work_without_an_api_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.storage.workspace import open_workspace

    get_settings.cache_clear()
    with serving() as client:
        assert client.get("/health").json()["status"] == "ok"
        assert client.post("/generate", headers=ADMIN).status_code == 401
        ws = open_workspace()
        assert client.post("/generate", json={"rows": 20}, headers=token(ws, "ingest")).status_code == 200
        assert tokens.list_tokens(ws)[0].last_used_at is not None
        ws.database.dispose()
    assert KEY not in (tmp_path / "home" / "continual.db").read_bytes().decode("latin-1")
