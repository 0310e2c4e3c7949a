"""Prometheus metrics: the state of every project, read from the database at each scrape, and the requests that this process has answered.

A missing value is a missing series, never a zero. Names: base units, `_total` for counters, ratios from 0 to 1;
labels have a bounded number of values: projects, metrics, routes, versions.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session

from core.records import JsonObject
from core.services.incidents import status
from core.storage.tables import (
    Batch,
    Cycle,
    DriftRun,
    EstimateRun,
    Heartbeat,
    Job,
    Label,
    Notice,
    PerformanceRun,
    Prediction,
    Project,
)
from core.storage.workspace import Workspace

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
Samples = Iterable[tuple[tuple[str, ...], float | None]]  # label values in order, and the value

disable_created_metrics()


class _Families(Collector):
    """The metric families; those without a sample are omitted."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return (family for family in self._families if family.samples)


def _text(families: Iterable[Metric]) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry).decode()


def _gauge(name: str, about: str, samples: Samples, labels: tuple[str, ...] = ("project",)) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


def _counter(name: str, about: str, samples: Samples, labels: tuple[str, ...] = ("project",)) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family


# --- from the database ------------------------------------------------------------------------------------------


def metrics_text(ws: Workspace, now: datetime, *, project_id: int | None = None) -> str:
    """State of all projects and of the installation, or of one project."""
    with ws.database.read() as session:
        columns = (
            Project.id, Project.slug, Project.rows, Project.labelled, Project.policy, Project.checks_stopped_at, Project.paused,
        )  # fmt: skip
        statement = select(*columns).order_by(Project.id)
        if project_id is not None:
            statement = statement.where(Project.id == project_id)
        families = list(_of_projects(session, session.execute(statement).all()))
        if project_id is None:
            families += _of_installation(ws, session, now)
    return _text(families)


_Projects = Sequence[Row[int, str, int, int, JsonObject, datetime | None, bool]]


def _of_projects(session: Session, projects: _Projects) -> Iterator[Metric]:
    slugs = {row.id: row.slug for row in projects}
    champions, logged = status.champions(session), _unsealed(session)
    per_project = (((slug,), key) for key, slug in slugs.items())
    yield _gauge(
        "continual_model_version",
        "Version of the serving model.",
        ((values, champions.get(key)) for values, key in per_project),
    )
    yield _counter("continual_rows", "Stored rows, including undone ones.", _stored(session, slugs))
    yield _gauge(
        "continual_rows_labelled", "Stored rows that have a label.", (((r.slug,), float(r.labelled)) for r in projects)
    )
    due = (((r.slug,), float(max(r.rows - r.labelled, 0) + logged.get(r.id, 0))) for r in projects)
    yield _gauge("continual_labels_due", "Rows that have no label yet.", due)
    pending = dict(
        session.execute(select(Batch.project_id, func.count()).where(Batch.pending).group_by(Batch.project_id)).all()
    )
    yield _gauge(
        "continual_batches_pending",
        "Stored batches that no check has processed yet.",
        (((slug,), pending.get(key, 0)) for key, slug in slugs.items()),
    )
    yield from _judged(session, slugs, projects)
    yield from _checked(session, slugs, projects)


def _judged(session: Session, slugs: Mapping[int, str], projects: _Projects) -> Iterator[Metric]:
    """Scores and drift, with the policy's limits."""
    by_metric = ("project", "metric")
    yield _gauge(
        "continual_score", "Newest measured score of the served predictions.", _scores(session, slugs), by_metric
    )
    yield _gauge(
        "continual_score_estimated",
        "Newest score estimated without labels.",
        _estimates(session, slugs),
        by_metric,
    )
    limits = (((r.slug, r.policy.get("metric", "")), r.policy.get("threshold")) for r in projects)
    yield _gauge("continual_score_threshold", "The policy's threshold for its own metric.", limits, by_metric)
    yield _gauge("continual_drift_share", "Share of drifted features in the newest report.", _drift(session, slugs))
    shares = (((r.slug,), r.policy.get("drift_share")) for r in projects)
    yield _gauge("continual_drift_share_limit", "The policy's limit for the share of drifted features.", shares)


def _checked(session: Session, slugs: Mapping[int, str], projects: _Projects) -> Iterator[Metric]:
    """Cycles, the newest one of each project, and what prevents checks."""
    yield _counter("continual_cycles", "Finished cycles by outcome.", _cycles(session, slugs), ("project", "outcome"))
    newest = _newest_cycles(session, slugs)
    yield _gauge(
        "continual_last_cycle_timestamp_seconds",
        "When the newest finished cycle ended.",
        (((slugs[key],), ended.timestamp() if ended else None) for key, ended, _, _ in newest),
    )
    yield _gauge(
        "continual_last_cycle_duration_seconds",
        "How long the newest finished cycle took.",
        (((slugs[key],), seconds) for key, _, seconds, _ in newest),
    )
    yield _gauge(
        "continual_last_cycle_failed",
        "1 if the newest finished cycle failed, else 0.",
        (((slugs[key],), float(state == "failed")) for key, _, _, state in newest),
    )
    yield _gauge(
        "continual_checks_set_aside",
        "1 if checks are suspended because they ended their worker repeatedly, else 0.",
        (((r.slug,), float(r.checks_stopped_at is not None)) for r in projects),
    )
    yield _gauge(
        "continual_paused",
        "1 if a person has paused the checks, else 0.",
        (((r.slug,), float(r.paused)) for r in projects),
    )


def _stored(session: Session, slugs: Mapping[int, str]) -> Samples:
    counted = dict(session.execute(select(Batch.project_id, func.sum(Batch.rows)).group_by(Batch.project_id)).all())
    return [((slug,), float(counted.get(key, 0))) for key, slug in slugs.items()]


def _unsealed(session: Session) -> dict[int, int]:
    statement = select(Prediction.project_id, func.sum(Prediction.rows)).where(Prediction.unsealed())
    return dict(session.execute(statement.group_by(Prediction.project_id)).all())


def _scores(session: Session, slugs: Mapping[int, str]) -> Samples:
    newest = select(func.max(PerformanceRun.id)).where(PerformanceRun.role == "champion")
    newest = newest.group_by(PerformanceRun.project_id)
    statement = select(PerformanceRun.project_id, PerformanceRun.scores).where(PerformanceRun.id.in_(newest))
    return _by_metric(session.execute(statement).all(), slugs)


def _estimates(session: Session, slugs: Mapping[int, str]) -> Samples:
    newest = select(func.max(EstimateRun.id)).group_by(EstimateRun.project_id)
    statement = select(EstimateRun.project_id, EstimateRun.scores).where(EstimateRun.id.in_(newest))
    return _by_metric(session.execute(statement).all(), slugs)


def _by_metric(rows: Iterable[Row[int, JsonObject]], slugs: Mapping[int, str]) -> Samples:
    return [
        ((slugs[key], metric), score.get("value"))
        for key, scores in rows
        if key in slugs
        for metric, score in scores.items()
    ]


def _drift(session: Session, slugs: Mapping[int, str]) -> Samples:
    newest = select(func.max(DriftRun.id)).group_by(DriftRun.project_id)
    statement = select(DriftRun.project_id, DriftRun.share_drifted).where(DriftRun.id.in_(newest))
    return [((slugs[key],), share) for key, share in session.execute(statement) if key in slugs]


def _cycles(session: Session, slugs: Mapping[int, str]) -> Samples:
    outcome = func.coalesce(Cycle.outcome, Cycle.status)
    statement = select(Cycle.project_id, outcome, func.count()).where(Cycle.finished_at.is_not(None))
    rows = session.execute(statement.group_by(Cycle.project_id, outcome))
    return [((slugs[key], name), count) for key, name, count in rows if key in slugs]


def _newest_cycles(session: Session, slugs: Mapping[int, str]) -> list[Row[int, datetime | None, float | None, str]]:
    newest = select(func.max(Cycle.id)).where(Cycle.finished_at.is_not(None)).group_by(Cycle.project_id)
    statement = select(Cycle.project_id, Cycle.finished_at, Cycle.seconds, Cycle.status).where(Cycle.id.in_(newest))
    return [row for row in session.execute(statement) if row.project_id in slugs]


def _of_installation(ws: Workspace, session: Session, now: datetime) -> Iterator[Metric]:
    yield _gauge(
        "continual_scheduler_heartbeat_age_seconds",
        "Seconds since the scheduler's last heartbeat.",
        [((), status.scheduler_age(session, now))],
        (),
    )
    beat = session.get(Heartbeat, status.SCHEDULER)
    about = (beat.detail if beat is not None else None) or {}
    yield _gauge(
        "continual_scheduler_resident_memory_bytes",
        "Memory of the scheduler and of its worker at the last heartbeat.",
        [((), about.get("memory_bytes"))],
        (),
    )
    yield _gauge(
        "continual_scheduler_interval_seconds",
        "Seconds between two heartbeats.",
        [((), ws.settings.check_interval_s)],
        (),
    )
    waiting = select(func.count()).select_from(Notice).where(Notice.sent_at.is_(None))
    pending = session.scalar(waiting.where(Notice.next_attempt_at.is_not(None)))
    yield _gauge("continual_notices_pending", "Messages not sent yet.", [((), pending)], ())
    jobs = session.execute(
        select(Job.status, func.count())
        .where(or_(Job.status == "queued", Job.status == "running"))
        .group_by(Job.status)
    )
    counted = {"queued": 0, "running": 0} | dict(jobs.all())
    yield _gauge("continual_jobs", "Jobs by status.", (((s,), n) for s, n in counted.items()), ("status",))
    newest = session.scalar(select(func.max(Label.created_at)).where(Label.undone_at.is_(None)))
    yield _gauge(
        "continual_last_label_timestamp_seconds",
        "When the newest label was sent by row id.",
        [((), None if newest is None else newest.timestamp())],
        (),
    )
    try:
        free: float | None = shutil.disk_usage(ws.settings.home_path).free
    except OSError:
        free = None
    yield _gauge("continual_disk_free_bytes", "Free space on the disk of the state folder.", [((), free)], ())


# --- of this process --------------------------------------------------------------------------------------------


class Requests:
    """The requests that this process has answered, and its resource use; safe to share between threads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._predictions = Counter(
            "continual_predictions", "Rows predicted by this process.", ("project", "version"), registry=registry
        )
        self._guarded = Counter(
            "continual_guard_hits",
            "Predictions of this process that triggered a guard.",
            ("project", "guard", "action"),
            registry=registry,
        )
        self._answers = Counter(
            "continual_http_requests",
            "Requests answered by this process.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "continual_http_request_duration_seconds",
            "Time from request to response.",
            ("route",),
            buckets=BUCKETS_S,
            registry=registry,
        )
        ProcessCollector(registry=registry)
        self._queue: Gauge | None = None

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Expose how many requests are waiting for the log's writer."""
        if self._queue is None:
            about = "Responses waiting for the commit of their log entry."
            self._queue = Gauge("continual_log_queue", about, registry=self._registry)
        self._queue.set_function(waiting)

    def guarded(self, project: str, guard: str, action: str) -> None:
        """Count a triggered guard."""
        self._guarded.labels(project, guard, action).inc()

    def answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """Count one response; `route` is a template, never a path from a client."""
        self._answers.labels(route, method, str(code)).inc()
        self._seconds.labels(route).observe(seconds)

    def predicted(self, project: str, version: int, rows: int) -> None:
        """Count predicted rows."""
        self._predictions.labels(project, str(version)).inc(rows)

    def text(self, *, project: str | None = None) -> str:
        """The counters, since this process started; with `project` only its own."""
        if project is None:
            return _text(self._registry.collect())
        return _text(_only(project, [*self._predictions.collect(), *self._guarded.collect()]))


def _only(project: str, families: Iterable[Metric]) -> Iterator[Metric]:
    for family in families:
        family.samples = [sample for sample in family.samples if sample.labels.get("project") == project]
        yield family
