"""Prometheus text: the state of every project from the database, and what this API process has answered.

An absent value is an absent series, never a zero. Names: base units, `_total` for counters, ratios from 0 to 1;
labels are only what is bounded: projects, metrics, routes, versions.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from core.services import status
from core.storage.tables import Batch, Cycle, DriftRun, Job, Label, Notice, PerformanceRun, Prediction, Project
from core.storage.workspace import Workspace

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
Labels = Mapping[str, str]


class Exposition:
    """Lines of the text format, one family after another."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, help_text: str, samples: Iterable[tuple[Labels, float | None]]) -> None:
        """One family; left out whole when no sample has a value."""
        lines = [_sample(name, labels, value) for labels, value in samples if value is not None]
        if lines:
            self._head(name, kind, help_text)
            self._lines += lines

    def histogram(self, name: str, help_text: str, samples: Iterable[tuple[Labels, list[int], float]]) -> None:
        """One histogram family: labels, counts by bucket (the last one beyond all bounds), sum."""
        first = True
        for labels, counts, total in samples:
            if first:
                self._head(name, "histogram", help_text)
                first = False
            seen = 0
            for bound, count in zip((*BUCKETS_S, math.inf), counts, strict=True):
                seen += count
                self._lines.append(_sample(f"{name}_bucket", {**labels, "le": _number(bound)}, seen))
            self._lines += [_sample(f"{name}_sum", labels, total), _sample(f"{name}_count", labels, seen)]

    def _head(self, name: str, kind: str, help_text: str) -> None:
        self._lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]

    def text(self) -> str:
        """Everything so far; ends with a newline."""
        return "\n".join(self._lines) + "\n" if self._lines else ""


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# --- from the database ------------------------------------------------------------------------------------------


def metrics_text(ws: Workspace, now: datetime, *, project_id: int | None = None) -> str:
    """State of all projects, or of one."""
    out = Exposition()
    with ws.database.read() as session:
        statement = select(Project.id, Project.slug, Project.rows, Project.labelled).order_by(Project.id)
        if project_id is not None:
            statement = statement.where(Project.id == project_id)
        found = session.execute(statement).all()
        slugs = {row.id: row.slug for row in found}
        champions, logged = status.champions(session), _unsealed(session)
        out.family(
            "continual_model_version",
            "gauge",
            "Version of the model that serves.",
            (({"project": slug}, champions.get(key)) for key, slug in slugs.items()),
        )
        out.family("continual_rows_total", "counter", "Rows stored, undone ones too.", _stored(session, slugs))
        labelled = [({"project": r.slug}, float(r.labelled)) for r in found]
        out.family("continual_rows_labelled", "gauge", "Stored rows that have their label.", labelled)
        due = [({"project": r.slug}, float(max(r.rows - r.labelled, 0) + logged.get(r.id, 0))) for r in found]
        out.family("continual_labels_due", "gauge", "Rows whose label has not come.", due)
        out.family("continual_score", "gauge", "Newest measured score of the served answers.", _scores(session, slugs))
        out.family(
            "continual_drift_share", "gauge", "Share of features that drifted, newest report.", _drift(session, slugs)
        )
        out.family("continual_cycles_total", "counter", "Finished cycles by outcome.", _cycles(session, slugs))
        if project_id is None:
            _installation(out, session, now)
    return out.text()


def _stored(session: Session, slugs: Mapping[int, str]) -> list[tuple[Labels, float]]:
    counted = dict(session.execute(select(Batch.project_id, func.sum(Batch.rows)).group_by(Batch.project_id)).all())
    return [({"project": slug}, float(counted.get(key, 0))) for key, slug in slugs.items()]


def _unsealed(session: Session) -> dict[int, int]:
    statement = select(Prediction.project_id, func.sum(Prediction.rows)).where(Prediction.unsealed())
    return dict(session.execute(statement.group_by(Prediction.project_id)).all())


def _scores(session: Session, slugs: Mapping[int, str]) -> list[tuple[Labels, float | None]]:
    newest = select(func.max(PerformanceRun.id)).where(PerformanceRun.role == "champion")
    newest = newest.group_by(PerformanceRun.project_id)
    statement = select(PerformanceRun.project_id, PerformanceRun.scores).where(PerformanceRun.id.in_(newest))
    return [
        ({"project": slugs[key], "metric": metric}, score.get("value"))
        for key, scores in session.execute(statement)
        if key in slugs
        for metric, score in scores.items()
    ]


def _drift(session: Session, slugs: Mapping[int, str]) -> list[tuple[Labels, float | None]]:
    newest = select(func.max(DriftRun.id)).group_by(DriftRun.project_id)
    statement = select(DriftRun.project_id, DriftRun.share_drifted).where(DriftRun.id.in_(newest))
    return [({"project": slugs[key]}, share) for key, share in session.execute(statement) if key in slugs]


def _cycles(session: Session, slugs: Mapping[int, str]) -> list[tuple[Labels, float]]:
    outcome = func.coalesce(Cycle.outcome, Cycle.status)
    statement = select(Cycle.project_id, outcome, func.count()).where(Cycle.finished_at.is_not(None))
    rows = session.execute(statement.group_by(Cycle.project_id, outcome))
    return [({"project": slugs[key], "outcome": name}, count) for key, name, count in rows if key in slugs]


def _installation(out: Exposition, session: Session, now: datetime) -> None:
    out.family(
        "continual_scheduler_heartbeat_age_seconds",
        "gauge",
        "Seconds since the scheduler's last beat.",
        [({}, status.scheduler_age(session, now))],
    )
    waiting = select(func.count()).select_from(Notice).where(Notice.sent_at.is_(None))
    pending = waiting.where(Notice.next_attempt_at.is_not(None))
    out.family("continual_notices_pending", "gauge", "Messages not sent yet.", [({}, session.scalar(pending))])
    jobs = session.execute(
        select(Job.status, func.count())
        .where(or_(Job.status == "queued", Job.status == "running"))
        .group_by(Job.status)
    )
    counted = {"queued": 0, "running": 0} | dict(jobs.all())
    out.family("continual_jobs", "gauge", "Jobs by status.", (({"status": s}, n) for s, n in counted.items()))
    newest = session.scalar(select(func.max(Label.created_at)).where(Label.undone_at.is_(None)))
    out.family(
        "continual_last_label_timestamp_seconds",
        "gauge",
        "When the newest label came by row id.",
        [({}, None if newest is None else newest.timestamp())],
    )


# --- of this process --------------------------------------------------------------------------------------------


class Requests:
    """What this process has answered; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[str, tuple[list[int], float]] = {}
        self._predictions: dict[tuple[str, int], int] = {}
        self._guarded: dict[tuple[str, str, str], int] = {}
        self.queue: Callable[[], int] | None = None  # requests that wait for the log's writer

    def guarded(self, project: str, guard: str, action: str) -> None:
        """Count a guard that spoke."""
        with self._lock:
            key = (project, guard, action)
            self._guarded[key] = self._guarded.get(key, 0) + 1

    def answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """Count one answer; `route` is a template, never a path that a client made up."""
        with self._lock:
            key = (route, method, code)
            self._answers[key] = self._answers.get(key, 0) + 1
            counts, total = self._seconds.get(route) or ([0] * (len(BUCKETS_S) + 1), 0.0)
            counts[bisect_left(BUCKETS_S, seconds)] += 1
            self._seconds[route] = counts, total + seconds

    def predicted(self, project: str, version: int, rows: int) -> None:
        """Count answered rows."""
        with self._lock:
            key = (project, version)
            self._predictions[key] = self._predictions.get(key, 0) + rows

    def text(self, *, project: str | None = None) -> str:
        """The counters, since this process started; with `project` only its predictions."""
        with self._lock:
            answers = dict(self._answers)
            seconds = {route: (list(counts), total) for route, (counts, total) in self._seconds.items()}
            predictions, guarded = dict(self._predictions), dict(self._guarded)
        out = Exposition()
        out.family(
            "continual_predictions_total",
            "counter",
            "Rows answered by this process.",
            (
                ({"project": slug, "version": str(version)}, float(rows))
                for (slug, version), rows in sorted(predictions.items())
                if project in (None, slug)
            ),
        )
        out.family(
            "continual_guard_hits_total",
            "counter",
            "Answers of this process that a guard spoke about.",
            (
                ({"project": slug, "guard": guard, "action": action}, float(n))
                for (slug, guard, action), n in sorted(guarded.items())
                if project in (None, slug)
            ),
        )
        if project is None:
            if self.queue is not None:
                waiting: list[tuple[Labels, float | None]] = [({}, float(self.queue()))]
                out.family("continual_log_queue", "gauge", "Answers that wait for their commit.", waiting)
            out.family(
                "continual_http_requests_total",
                "counter",
                "Requests answered by this process.",
                (
                    ({"route": route, "method": method, "status": str(code)}, float(n))
                    for (route, method, code), n in sorted(answers.items())
                ),
            )
            out.histogram(
                "continual_http_request_duration_seconds",
                "Time from request to answer.",
                (({"route": route}, counts, total) for route, (counts, total) in sorted(seconds.items())),
            )
        return out.text()
