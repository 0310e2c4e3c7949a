"""The versions as they are registered: who serves, who served when, which of two is better."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from model_files import fitted, register, rows

from core.errors import NotFound
from core.learning.policy import policy_named
from core.records import Comparison, ModelVersion, ProjectInfo, Score, as_written
from core.services.ingestion import ingest
from core.services.models import lifecycle, versions
from core.services.models.versions import Registered, Span
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace
from core.text.reasons import sentence

DAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def span(version: int, since: datetime, until: datetime | None = None, event: str = "promoted") -> Span:
    return Span(version, since, until, event, None)


def version(number: int, *aliases: str) -> ModelVersion:
    return ModelVersion(version=number, family="logistic", created_at=DAY, aliases=aliases)


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)
    monkeypatch.setattr("core.storage.mlflow_copy.sync_in_child", lambda ws, project_id: None)


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    made = projects.create_project(ws, "Flies", Origin(source="file"), by="ann", now=now)
    ingest.ingest_frame(ws, made, rows(), origin="rows.csv", by="ann", now=now, target="y")
    return projects.project_by_id(ws, made.id)


def test_the_registry_is_read_as_it_is_at_one_moment(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    for _ in range(3):
        register(ws, project, fitted(), now)
    lifecycle.promote(ws, project, 1, reason="first", by="ann", now=now)
    lifecycle.promote(ws, project, 2, reason="better", by="ann", now=now + HOUR)
    held = versions.registered(ws, project)
    assert [v.version for v in held.versions] == [3, 2, 1]
    assert held.spans == [
        Span(1, now, now + HOUR, "promoted", as_written("first")),
        Span(2, now + HOUR, None, "promoted", as_written("better")),
    ]
    assert held.champion is not None and held.champion.version == 2
    assert held.previous is not None and held.previous.version == 1
    assert held.find(3) is held.versions[0]
    assert held.find(9) is None
    assert held.rivals() == (2, 3)
    assert held.changes() == {"promoted": 1}


def test_a_versions_file_is_handed_out_as_it_was_stored(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    made = register(ws, project, fitted(), now)
    assert len(versions.artefact(ws, project, made)) > 100
    with pytest.raises(NotFound):
        versions.artefact(ws, project, made + 1)


def test_without_a_champion_the_oldest_and_the_newest_are_compared() -> None:
    assert Registered(versions=[version(3), version(2), version(1)], spans=[]).rivals() == (1, 3)
    assert Registered(versions=[version(1, "champion")], spans=[]).rivals() is None


def test_a_day_names_who_served_on_it_in_the_zone_of_who_asks() -> None:
    spans = [
        span(1, DAY - 30 * HOUR, DAY + 9 * HOUR),
        span(2, DAY + 9 * HOUR, DAY + 40 * HOUR),
        span(3, DAY + 40 * HOUR),
    ]
    now = DAY + 50 * HOUR
    today = date(2026, 3, 2)
    assert versions.served_on(spans, today, UTC, now=now) == [(1, None), (2, DAY + 9 * HOUR)]
    assert versions.served_on(spans, today + timedelta(days=2), UTC, now=now) == [(3, None)]
    assert versions.served_on(spans, today - timedelta(days=3), UTC, now=now) == []
    west = ZoneInfo("America/Los_Angeles")  # there the day ends eight hours later
    assert versions.served_on(spans, today, west, now=now) == [(1, None), (2, DAY + 9 * HOUR)]
    assert versions.served_on(spans, today - timedelta(days=1), west, now=now) == [(1, None)]
    assert versions.first_day(spans, UTC) == date(2026, 2, 28)


def test_changes_are_counted_from_the_second_champion_on() -> None:
    events = ["promoted", "refreshed", "rolled_back", "refreshed"]
    spans = [span(i, DAY + i * HOUR, None, event) for i, event in enumerate(events)]
    assert Registered(versions=[], spans=spans).changes() == {"refreshed": 2, "rolled_back": 1}
    assert Registered(versions=[], spans=[]).changes() == {}


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.05, 0.01, 0.09, "better"),
        (-0.05, -0.09, -0.01, "worse"),
        (0.02, -0.01, 0.05, "unclear"),
        (0.0, 0.0, 0.0, "unclear"),
        (0.02, None, None, "unclear"),
        (None, None, None, "unknown"),
    ],
)
def test_only_an_interval_beside_zero_distinguishes_two_versions(
    value: float | None, low: float | None, high: float | None, expected: str
) -> None:
    assert versions.significant_direction(Score(metric="accuracy", value=value, low=low, high=high, n=50)) == expected
    assert versions.significant_direction(None) == "unknown"


def test_a_comparison_is_judged_by_the_projects_own_policy(ws: Workspace, now: datetime) -> None:
    project = projects.create_project(
        ws, "Bees", Origin(source="api"), by="ann", now=now, policy=policy_named("balanced", gate="none")
    )
    score = Score(metric="accuracy", value=0.9, n=50)
    found = Comparison(n=50, metric="accuracy", champion=score, challenger=score, difference=None)
    assert "promotes every new model" in sentence(versions.judge(project, found).reason)
