"""Debian's Prometheus over the running API: every rule and every panel is answered, and an alert fires and is resolved."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from api_helpers import token
from monitoring_queries import PROMETHEUS, ask, panel_queries, rules
from patience import limit, until

from core.services.automation import workers
from core.services.incidents.status import SCHEDULER
from core.storage.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not on PATH: apt-get install prometheus"
    ),
]


def query(prometheus: httpx.Client, expr: str) -> list[dict[str, Any]]:
    """The series that answer an expression now."""
    answer = prometheus.post("/api/v1/query", data={"query": expr})
    assert answer.status_code == 200, f"{expr}: {answer.text}"
    found = answer.json()["data"]["result"]
    assert isinstance(found, list)
    return found


@pytest.fixture
def prometheus(
    watched: httpx.Client, watched_state: Workspace, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[httpx.Client]:
    """The shipped configuration and rules with another target, its token, and seconds for minutes."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"{watched.base_url.host}:{watched.base_url.port}"]}]
    job["authorization"]["credentials_file"] = str(tmp_path / "token")
    (tmp_path / "token").write_text(token(watched_state, "read")["Authorization"].removeprefix("Bearer "))
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (tmp_path / "rules").mkdir()
    for path in (PROMETHEUS / "rules").glob("*.yml"):
        quick = re.sub(r"^( +for: )\d+[mh]$", r"\g<1>2s", path.read_text(), flags=re.MULTILINE)
        (tmp_path / "rules" / path.name).write_text(quick)
    port = free_port()
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=limit(10), trust_env=False) as client:
            until("Prometheus", lambda: process.poll() is None and _ready(client), every=0.1)
            yield client
    finally:
        process.terminate()
        process.wait(limit(20))


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def _state(prometheus: httpx.Client, alert: str) -> str:
    """inactive, pending or firing."""
    groups = prometheus.get("/api/v1/rules", params={"type": "alert"}).json()["data"]["groups"]
    (found,) = [rule for group in groups for rule in group["rules"] if rule["name"] == alert]
    assert found["health"] in ("ok", "unknown"), found
    return str(found["state"])


def test_rules_and_panels_are_answered_and_a_silent_scheduler_is_reported(
    prometheus: httpx.Client, watched: httpx.Client, watched_state: Workspace
) -> None:
    def beat(ago: timedelta) -> None:
        at = datetime.now(UTC) - ago
        workers.beat(watched_state, SCHEDULER, owner="test", now=at, detail={"memory_bytes": 2e8})

    beat(timedelta(hours=1))
    until("the target to be up", lambda: [r["value"][1] for r in query(prometheus, "up")] == ["1"], every=0.2)
    ask(watched)
    until(
        "the alert to fire", lambda: _state(prometheus, "ContinualSchedulerSilent") == "firing", seconds=30, every=0.2
    )

    for rule in rules("recording.yml"):
        until(rule["record"], lambda name=rule["record"]: query(prometheus, name), every=0.2)
    for asked in panel_queries():  # none of them is without a series in this set-up
        expr, where = asked.filled("10s"), f"{asked.dashboard}: {asked.panel}"
        until(where, lambda expr=expr: query(prometheus, expr), every=0.2)
    for rule in rules("alerts.yml"):
        query(prometheus, rule["expr"])

    beat(timedelta())
    until("the alert to end", lambda: _state(prometheus, "ContinualSchedulerSilent") == "inactive", every=0.2)
    assert _state(prometheus, "ContinualApiDown") == "inactive"
