"""A project at a glance: its newest figures, and what needs a person's attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from core import words
from core.records import CycleReport, DriftReport, ModelVersion, ProjectInfo, Score
from core.services.automation import attempts
from core.services.incidents import status
from core.services.ingestion import stored_batches
from core.services.monitoring import monitoring
from core.storage import queries, registry
from core.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that needs a person's attention."""

    kind: str  # labels | challenger | paused | stopped | failed | set_aside | model
    text: str
    detail: str
    page: str  # page to open, e.g. "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The figures of the Home page; unknown ones are None."""

    score: Score | None  # newest measurement of the policy's metric
    score_at: datetime | None
    score_version: int | None
    before: Score | None  # the measurement before that
    never: Score | None  # the first model on the same rows
    drift: DriftReport | None
    drift_at: datetime | None
    labels_due: int
    champion: ModelVersion | None
    last_cycle: CycleReport | None
    scheduler_age_s: float | None
    needs: tuple[Need, ...]

    @property
    def since_last_batch(self) -> float | None:
        """How the score has changed; None before two measurements."""
        return _difference(self.score, self.before)

    @property
    def by_retraining(self) -> float | None:
        """How much better the score is than the first model's; None before both are measured."""
        return _difference(self.score, self.never)


def overview(ws: Workspace, project: ProjectInfo, now: datetime) -> Overview:
    """The figures as currently stored."""
    points = monitoring.performance_history(ws, project.id, limit=2)
    never = monitoring.performance_history(ws, project.id, role="never", limit=1)
    drift = monitoring.latest_drift(ws, project.id)
    reports, _ = monitoring.cycles(ws, project.id, limit=1)
    last = reports[0] if reports else None
    due = stored_batches.labels_due(ws, project.id)
    with ws.database.read() as session:
        versions = registry.list_versions(session, project.id)
        age = status.scheduler_age(session, now)
        stopped_at = queries.project_row(session, project.id).checks_stopped_at
    champion = next((v for v in versions if "champion" in v.aliases), None)
    challenger = next((v for v in versions if "challenger" in v.aliases and "champion" not in v.aliases), None)
    needs = [*_of_models(project, champion, challenger), *_of_rows(due, last), *_of_checks(project, stopped_at)]
    metric = project.policy.metric
    newest = points[-1] if points else None
    return Overview(
        score=newest.scores.get(metric) if newest else None,
        score_at=newest.at if newest else None,
        score_version=newest.model_version if newest else None,
        before=points[-2].scores.get(metric) if len(points) > 1 else None,
        never=never[-1].scores.get(metric) if never else None,
        drift=drift[1] if drift else None,
        drift_at=drift[0] if drift else None,
        labels_due=due,
        champion=champion,
        last_cycle=last,
        scheduler_age_s=age,
        needs=tuple(needs),
    )


def _of_models(project: ProjectInfo, champion: ModelVersion | None, challenger: ModelVersion | None) -> Iterator[Need]:
    """A first model to train, an imported one to review."""
    if champion is None:
        yield Need(
            kind="model",
            text="No model yet",
            detail="Store labelled rows, then train the first model.",
            page="train" if project.labelled else "data",
        )
    if challenger is not None and challenger.source == "import":
        yield Need(
            kind="challenger",
            text=f"Imported v{challenger.version} waits",
            detail="Compare it with the champion, then promote it.",
            page="models",
        )


def _of_rows(due: int, last: CycleReport | None) -> Iterator[Need]:
    """Missing labels, and rows that the last check could not process."""
    if due:
        yield Need(
            kind="labels", text=f"{due:,} labels due", detail="Accuracy is measured as they arrive.", page="data"
        )
    if last is not None and last.status == "failed":
        yield Need(kind="failed", text="The last check failed", detail=last.error or "", page="automation")
    if last is not None and last.evidence is not None and last.evidence.set_aside:
        numbers = ", ".join(str(entry.batch) for entry in last.evidence.set_aside)
        detail = " ".join(words.set_aside(last.evidence))
        yield Need(kind="set_aside", text=f"Set aside: batch {numbers}", detail=detail, page="data")


def _of_checks(project: ProjectInfo, stopped_at: datetime | None) -> Iterator[Need]:
    """Checks that do not run automatically."""
    if stopped_at is not None:
        detail = f"Since {stopped_at:%d %b %H:%M} UTC: {attempts.STOPPED.format(n=attempts.MAX_ATTEMPTS)}"
        yield Need(kind="stopped", text="Checks are suspended", detail=detail, page="automation")
    if project.paused:
        yield Need(
            kind="paused",
            text="Checks are paused",
            detail="There are no automatic checks until they are resumed.",
            page="automation",
        )


def _difference(score: Score | None, other: Score | None) -> float | None:
    if score is None or other is None or score.value is None or other.value is None:
        return None
    return score.value - other.value
