"""The settings of docs/uptime-kuma.md against the real /health: keyword, and JSONata queries with their expected values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_helpers import serving
from jsonata import Jsonata

from core.services.automation import workers
from core.services.incidents import status
from core.settings import ROOT, get_settings
from core.storage.workspace import open_workspace

PAGE = (ROOT / "docs" / "uptime-kuma.md").read_text()
QUERIES = dict(re.findall(r"^\| [^|`]+ \| `([^`]+)` \| `([^`]+)` \| [^|`]*(?:`[A-Z_]+`)? \|$", PAGE, re.MULTILINE))
KEYWORD = re.search(r"^\| Keyword \| `([^`]+)` \|$", PAGE, re.MULTILINE)
BY_REASON = 'status = "ok" ? "ok" : reason'


def found(query: str, document: dict[str, Any]) -> str:
    """What Kuma compares with the expected value: the query's result as text, nothing else."""
    value = Jsonata(query).evaluate(document)
    assert isinstance(value, str), (query, value)
    return value


def ups(document: dict[str, Any]) -> dict[str, bool]:
    """Which of the page's monitors are up."""
    return {query: found(query, document) == expected for query, expected in QUERIES.items()}


def health(beat: datetime | None) -> httpx.Response:
    """Of an API over the state folder, with a scheduler that last beat then."""
    if beat is not None:
        ws = open_workspace(get_settings())
        workers.beat(ws, status.SCHEDULER, owner="test", now=beat)
        ws.database.dispose()
    with serving() as client:
        return client.get("/health")


def test_the_page_holds_the_queries_that_are_tested() -> None:
    assert len(QUERIES) == 5
    assert KEYWORD is not None


@pytest.mark.usefixtures("trained")
def test_every_monitor_of_the_page_is_up_when_all_is_well() -> None:
    answer = health(datetime.now(UTC))
    assert all(ups(answer.json()).values())
    assert KEYWORD is not None and KEYWORD[1] in answer.text


@pytest.mark.usefixtures("trained")
def test_a_late_scheduler_is_seen_by_keyword_status_reason_and_age() -> None:
    answer = health(datetime.now(UTC) - timedelta(hours=1))
    assert answer.status_code == 200
    assert KEYWORD is not None and KEYWORD[1] not in answer.text
    down = {query for query, up in ups(answer.json()).items() if not up}
    assert down == {"status", BY_REASON, next(q for q in QUERIES if q.startswith("scheduler_age"))}
    assert found(BY_REASON, answer.json()) == status.SCHEDULER_LATE


@pytest.mark.usefixtures("home")
def test_an_installation_without_model_and_scheduler_is_reported_by_their_own_queries() -> None:
    down = {query.split()[0] for query, up in ups(health(None).json()).items() if not up}
    assert down == {"scheduler_age_seconds", "model_version"}


def test_without_the_database_every_monitor_is_down(home: Path) -> None:
    with serving() as client:
        (home / "continual.db").unlink()
        answer = client.get("/health")
    assert answer.status_code == 503
    assert not ups(answer.json())["database"]
    assert found(BY_REASON, answer.json()) == status.DATABASE_DOWN
