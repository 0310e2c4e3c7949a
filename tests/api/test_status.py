"""GET /health, /model-status and /metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from api_helpers import ADMIN, ROW, serving

from core.services.automation import workers
from core.services.incidents.status import SCHEDULER
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.settings import get_settings
from core.storage.workspace import Workspace


def test_an_empty_installation_is_well_and_says_that_nothing_is_trained(empty_client: httpx.Client) -> None:
    health = empty_client.get("/health")
    assert health.status_code == 200
    document = health.json()
    assert document.pop("uptime_seconds") >= 0
    assert document == {
        "status": "ok",
        "reason": None,
        "database": "ok",
        "model_version": None,
        "scheduler_age_seconds": None,
    }
    assert b'"status":"ok"' in health.content
    status = empty_client.get("/model-status").json()
    assert status["model_trained"] is False
    assert status["model_version"] is None
    assert empty_client.get("/health/live").json() == {"status": "ok"}
    assert empty_client.get("/health/ready").status_code == 200


def test_health_degrades_when_a_scheduler_that_once_beat_is_late(client: httpx.Client, state: Workspace) -> None:
    now = datetime.now(UTC)
    workers.beat(state, SCHEDULER, owner="test", now=now)
    young = client.get("/health").json()
    assert (young["status"], young["model_version"]) == ("ok", 1)
    assert 0 <= young["scheduler_age_seconds"] < 5
    workers.beat(state, SCHEDULER, owner="test", now=datetime(2026, 1, 1, tzinfo=UTC))
    late = client.get("/health")
    assert late.status_code == 200
    assert late.json()["status"] == "degraded"
    assert late.json()["reason"] == "The scheduler has sent no heartbeat for more than three intervals."


def test_health_is_down_when_the_database_is_gone(client: httpx.Client, trained: Path) -> None:
    (trained / "continual.db").rename(trained / "away.db")
    health = client.get("/health")
    assert health.status_code == 503
    assert (health.json()["status"], health.json()["database"]) == ("down", "down")
    assert str(trained) not in health.text
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
    (trained / "away.db").rename(trained / "continual.db")
    assert client.get("/health").json()["status"] == "ok"


def test_model_status_shows_the_measured_score_and_whether_this_process_can_serve(
    client: httpx.Client, state: Workspace
) -> None:
    status = client.get("/model-status").json()
    assert (status["model_trained"], status["model_version"], status["threshold"]) == (True, 1, 0.8)
    assert status["metric"] == "accuracy"
    points = monitoring.performance_history(state, projects.get_project(state, "default").id, limit=1)
    assert status["performance"] == (points[-1].scores["accuracy"].value if points else None)
    by_slug = client.get("/projects/default/model-status").json()
    assert by_slug == status


def test_metrics_name_projects_versions_and_routes(shared: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.post("/predict", json=ROW, headers=ADMIN)
    shared.get("/nowhere/at/all")
    answer = shared.get("/metrics", headers=ADMIN)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert 'continual_model_version{project="default"} 1.0' in lines
    assert any(line.startswith('continual_predictions_total{project="default",version="1"} ') for line in lines)
    assert any('route="unmatched"' in line and 'status="404"' in line for line in lines)
    assert any(
        line.startswith("continual_http_request_duration_seconds_bucket{") and 'route="/predict"' in line
        for line in lines
    )
    assert "nowhere" not in answer.text and "NaN" not in answer.text
    assert shared.get("/metrics").status_code == 401


def test_metrics_may_be_open(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("CONTINUAL_OPEN_METRICS", "true")
    get_settings.cache_clear()
    with serving() as client:
        assert client.get("/metrics").status_code == 200
