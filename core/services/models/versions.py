"""The registered versions of a project: which one serves, which served when, and which of two is better.

Reads only; versions are created, promoted and tested elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal, NamedTuple

from core.learning import policy
from core.records import Comparison, ModelVersion, ProjectInfo, Reason, Score, Verdict
from core.storage import registry
from core.storage.workspace import Workspace


class Span(NamedTuple):
    """How long a version served, and how it became champion."""

    version: int
    since: datetime
    until: datetime | None  # None = it still serves
    event: str  # promoted | refreshed | rolled_back
    reason: Reason | None  # a text where a person gave it


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A snapshot of a project's registered versions."""

    versions: list[ModelVersion]  # newest first
    spans: list[Span]  # oldest first

    @property
    def champion(self) -> ModelVersion | None:
        """The serving version."""
        return self._with("champion")

    @property
    def previous(self) -> ModelVersion | None:
        """The version that a rollback restores."""
        return self._with("previous")

    def find(self, version: int | None) -> ModelVersion | None:
        """The version with that number."""
        return next((v for v in self.versions if v.version == version), None)

    def rivals(self) -> tuple[int, int] | None:
        """Two versions to compare first: the champion, else the oldest, and the newest other one."""
        numbers = [v.version for v in self.versions]
        if len(numbers) < 2:
            return None
        first = self.champion.version if self.champion is not None else numbers[-1]
        return first, next(n for n in numbers if n != first)

    def changes(self) -> dict[str, int]:
        """How often the champion changed since the first one, by event."""
        events = [span.event for span in self.spans[1:]]
        return {event: events.count(event) for event in dict.fromkeys(events)}

    def _with(self, alias: str) -> ModelVersion | None:
        return next((v for v in self.versions if alias in v.aliases), None)


def registered(ws: Workspace, project: ProjectInfo) -> Registered:
    """Versions and serving spans of a project."""
    with ws.database.read() as session:
        return Registered(
            versions=registry.list_versions(session, project.id),
            spans=[Span(*span) for span in registry.serving_spans(session, project.id)],
        )


def artefact(ws: Workspace, project: ProjectInfo, version: int) -> bytes:
    """The stored file of a version.

    Raises:
        NotFound: no such version, or its artefact was removed.
        StorageError: missing or damaged.
    """
    return registry.artefact_path(ws, project.id, version).read_bytes()


def first_day(spans: Sequence[Span], zone: tzinfo) -> date:
    """The day on which a version first served."""
    return spans[0].since.astimezone(zone).date()


def served_on(spans: Sequence[Span], day: date, zone: tzinfo, *, now: datetime) -> list[tuple[int, datetime | None]]:
    """Every version that served on a day of a zone, in order, with the instant from which; None = since before it."""
    begin = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    end = min(begin + timedelta(days=1), now)
    return [
        (span.version, span.since if span.since > begin else None)
        for span in spans
        if span.since < end and (span.until is None or span.until > begin)
    ]


def significant_direction(difference: Score | None) -> Literal["better", "worse", "unclear", "unknown"]:
    """Whether an interval of a difference shows the second version to be better; unknown without rows."""
    if difference is None or difference.value is None:
        return "unknown"
    if difference.low is not None and difference.low > 0:
        return "better"
    if difference.high is not None and difference.high < 0:
        return "worse"
    return "unclear"


def judge(project: ProjectInfo, comparison: Comparison) -> Verdict:
    """The verdict of the project's policy on a comparison, clause by clause."""
    return policy.verdict(comparison, project.policy)
