"""The whole loop over tables as they come: whatever the columns hold, every step ends with a result or a named refusal.

The rows come as frames here, and as files in test_any_table_by_file.py, so that two processes share the tables.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from any_table import A_ROUND, KINDS, Table, live, turn_round

from core.services.projects import projects
from core.storage.workspace import Workspace


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow gets its copy in the registry's tests; making its database here would take most of the time."""
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


@pytest.mark.campaign
def test_every_step_survives_any_table(ws: Workspace, now: datetime, campaign: Any) -> None:
    for number in campaign.rounds("any table", campaign.tables // 2 // A_ROUND):
        assert turn_round(ws, now, number, files=False) >= A_ROUND


# What once ended the loop, by itself.
KNOWN = {
    "few rows that drifted": Table((("number", "none"),), 0, "binary", 40, True, 5),
    "one gap in a text column": Table((("text", "one"),), 0, "binary", 120, False, 0),
    "gaps in every kind": Table(tuple((kind, "some") for kind in KINDS), 0, "multiclass", 120, True, 1),
    "one value in a column, for the estimator": Table(
        (("single", "all but one"), ("number", "all but one")), 0, "multiclass", 120, True, 218
    ),
    "many features": Table((("text", "some"),), 200, "regression", 120, True, 4),
    "nothing in every kind": Table(tuple((kind, "all") for kind in KINDS), 0, "regression", 60, True, 2),
}


@pytest.mark.parametrize("case", KNOWN)
def test_known_tables(case: str, ws: Workspace, now: datetime) -> None:
    live(ws, now, KNOWN[case], files=False)
    assert len(projects.list_projects(ws)) == 1
