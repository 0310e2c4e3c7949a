"""Prometheus text: names, absent values, counters."""

from __future__ import annotations

from datetime import datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from core.services.automation import workers
from core.services.incidents import status
from core.services.ingestion import generated
from core.services.operations import metrics
from core.services.operations.metrics import BUCKETS_S, Requests, metrics_text
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.tables import Cycle, DriftRun, ModelEvent, Notice, PerformanceRun
from core.storage.workspace import Workspace


def _check_form(text: str) -> dict[str, float]:
    """Samples by name and labels in their alphabetical order; a family's lines stand together and have help and type."""
    found: dict[str, float] = {}
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type != "unknown"
        for sample in family.samples:
            inside = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{inside}}}" if inside else sample.name
            assert name not in found
            found[name] = sample.value
    assert not text or text.endswith("\n")
    return found


def test_an_empty_installation_has_no_project_series(ws: Workspace, now: datetime) -> None:
    found = _check_form(metrics_text(ws, now))
    assert not any("project=" in name for name in found)
    assert "continual_scheduler_heartbeat_age_seconds" not in found
    assert found["continual_notices_pending"] == 0


def test_what_is_not_there_is_absent_and_never_zero(ws: Workspace, now: datetime) -> None:
    project = projects.create_project(ws, "Made", Origin(source="generator"), by="test", now=now)
    generated.generate(ws, project, rows=120, by="test", now=now)
    found = _check_form(metrics_text(ws, now))
    assert found['continual_rows_total{project="made"}'] == 120
    assert found['continual_labels_due{project="made"}'] == 0
    assert not any(
        name.startswith(
            ("continual_model_version", "continual_score{", "continual_drift_share{", "continual_last_cycle")
        )
        for name in found
    )


def test_every_value_of_a_project_is_reported(ws: Workspace, now: datetime) -> None:
    made = projects.create_project(ws, "Made", Origin(source="generator"), by="test", now=now)
    other = projects.create_project(ws, "Other", Origin(source="api"), by="test", now=now)
    scores = {"accuracy": {"value": 0.75}, "kappa": {"value": None}}
    with ws.database.write() as session:
        for version in (1, 2):
            session.add(ModelEvent(project_id=made.id, version=version, event="promoted", at=now))
        session.add(
            PerformanceRun(project_id=made.id, role="champion", n=9, rows_seen=9, at=now, created_at=now, scores=scores)
        )
        for share in (0.5, 0.25):
            session.add(DriftRun(project_id=made.id, created_at=now, at=now, share_drifted=share, report={}))
        for outcome, finished in (("promoted", now), ("none", now), ("none", now), (None, None)):
            session.add(
                Cycle(
                    project_id=made.id,
                    cause="api",
                    status="done" if finished else "running",
                    started_at=now,
                    finished_at=finished,
                    seed=0,
                    outcome=outcome,
                )
            )
        for attempt in (now, None):
            session.add(Notice(channel="discord", payload={}, created_at=now, next_attempt_at=attempt))
    workers.beat(ws, status.SCHEDULER, owner="test", now=now - timedelta(seconds=7))
    found = _check_form(metrics_text(ws, now))
    assert found['continual_model_version{project="made"}'] == 2
    assert found['continual_score{metric="accuracy",project="made"}'] == 0.75
    assert 'continual_score{metric="kappa",project="made"}' not in found
    assert found['continual_drift_share{project="made"}'] == 0.25
    assert found['continual_cycles_total{outcome="none",project="made"}'] == 2
    assert found['continual_cycles_total{outcome="promoted",project="made"}'] == 1
    assert found['continual_last_cycle_timestamp_seconds{project="made"}'] == now.timestamp()
    assert found['continual_last_cycle_failed{project="made"}'] == 0
    assert found['continual_score_threshold{metric="accuracy",project="made"}'] == 0.8
    assert found['continual_drift_share_limit{project="made"}'] == 0.3
    assert found["continual_scheduler_heartbeat_age_seconds"] == 7
    assert found["continual_notices_pending"] == 1
    only = _check_form(metrics_text(ws, now, project_id=other.id))
    assert only and all('project="other"' in name for name in only)


def test_requests_are_counted_with_a_cumulative_histogram() -> None:
    requests = Requests()
    for seconds in (0.0005, 0.001, 0.3, 99.0):
        requests.answered("/predict", "POST", 200, seconds)
    requests.answered("unmatched", "GET", 404, 0.001)
    requests.predicted("made", 3, 40)
    requests.predicted("made", 3, 2)
    requests.predicted("other", 1, 5)
    found = _check_form(requests.text())
    assert found['continual_http_requests_total{method="POST",route="/predict",status="200"}'] == 4
    assert found['continual_predictions_total{project="made",version="3"}'] == 42
    name = "continual_http_request_duration_seconds"
    assert found[f'{name}_bucket{{le="0.001",route="/predict"}}'] == 2
    assert found[f'{name}_bucket{{le="0.5",route="/predict"}}'] == 3
    assert found[f'{name}_bucket{{le="+Inf",route="/predict"}}'] == 4 == found[f'{name}_count{{route="/predict"}}']
    assert abs(found[f'{name}_sum{{route="/predict"}}'] - 99.3015) < 1e-9
    assert sum(k.startswith(f"{name}_bucket{{") and 'route="/predict"' in k for k in found) == len(BUCKETS_S) + 1
    assert list(_check_form(requests.text(project="other"))) == [
        'continual_predictions_total{project="other",version="1"}'
    ]


def test_the_probes_words_are_the_schedulers() -> None:
    assert status.ROOT_SLUG == projects.ROOT_SLUG
    assert metrics.CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_names_that_a_person_gave_are_escaped() -> None:
    requests = Requests()
    requests.predicted('a"b\\c\nd', 1, 1)
    assert 'project="a\\"b\\\\c\\nd"' in requests.text()


def test_the_process_says_what_it_takes() -> None:
    found = _check_form(Requests().text())
    assert found["process_resident_memory_bytes"] > 10e6
    assert found["process_cpu_seconds_total"] > 0


def test_the_queue_is_exposed_once_watched_and_watched_again() -> None:
    requests = Requests()
    assert "continual_log_queue" not in requests.text()
    for waiting in (3, 4):
        requests.watch_queue(lambda n=waiting: n)  # type: ignore[misc]
    assert _check_form(requests.text())["continual_log_queue"] == 4
