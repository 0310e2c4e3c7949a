"""POST /generate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from api_helpers import ADMIN, ROW

from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace


def test_generate_makes_the_project_default_once_with_the_original_policy(empty_client: httpx.Client) -> None:
    first = empty_client.post("/generate", json={"rows": 50}, headers=ADMIN)
    assert first.status_code == 200
    assert first.json()["rows"] == 50
    second = empty_client.post("/generate", content=b"", headers=ADMIN).json()
    assert second["rows"] == 1000
    assert second["batch"] != first.json()["batch"]
    from core.storage.workspace import open_workspace

    ws = open_workspace()
    (project,) = projects.list_projects(ws)
    assert (project.slug, project.policy.name, project.rows) == ("default", "original", 1050)
    assert project.schema is not None
    assert project.schema.names == ("feature1", "feature2")
    ws.database.dispose()


def test_a_refused_first_generate_leaves_no_project(empty_client: httpx.Client) -> None:
    assert empty_client.post("/generate", json={"rows": 0}, headers=ADMIN).status_code == 422
    assert empty_client.post("/generate", json={"rows": 10, "noise": 7}, headers=ADMIN).status_code == 422
    assert empty_client.post("/predict", json=ROW, headers=ADMIN).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rows": "many"}, "rows"),
        ({"rows": 1_000_001}, "rows"),
        ({"rows": True}, "rows"),
        ({"rows": 1.5}, "rows"),
        ({"noise": "x"}, "noise"),
        ({"balance": 2}, "balance"),
        ({"drift": [1]}, "drift"),
        ({"seeds": 1}, "seeds"),
        ([], "body"),
        ("x", "body"),
    ],
)
def test_generate_says_which_field_is_wrong(shared: httpx.Client, body: Any, field: str) -> None:
    answer = shared.post("/generate", json=body, headers=ADMIN)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_generated_rows_do_not_enter_a_project_of_other_origin(client: httpx.Client, state: Workspace) -> None:
    projects.create_project(state, "Own", Origin(source="api"), by="test", now=datetime.now(UTC))
    answer = client.post("/projects/own/generate", headers=ADMIN)
    assert answer.status_code == 409
    assert client.post("/projects/nowhere/generate", headers=ADMIN).status_code == 404
