"""The whole loop over tables as they come, as files: rows and labels are CSV, as in test_any_table.py they are frames."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from any_table import A_ROUND, turn_round

from core.storage.workspace import Workspace


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow gets its copy in the registry's tests; making its database here would take most of the time."""
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


@pytest.mark.campaign
def test_every_step_survives_any_file(ws: Workspace, now: datetime, campaign: Any) -> None:
    for number in campaign.rounds("any file", campaign.tables // 2 // A_ROUND):
        assert turn_round(ws, now, number, files=True) >= A_ROUND
