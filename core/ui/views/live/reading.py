"""What the stage shows, read again each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core import ui
from core.plots import Point
from core.records import RACED, CycleReport, EventKind, Evidence, ProjectInfo
from core.services.automation.live import LiveInfo
from core.services.monitoring import monitoring
from core.services.monitoring.monitoring import LoopEvent

FEED = 40  # newest cycles that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The current state of a run."""

    project: ProjectInfo
    run: LiveInfo
    reports: Sequence[CycleReport]  # newest first
    points: Sequence[Point]  # of the policy's metric, one a batch
    never: Sequence[Point]  # of the first model, never retrained
    events: Sequence[LoopEvent]

    @property
    def newest(self) -> CycleReport | None:
        """The newest cycle."""
        return self.reports[0] if self.reports else None

    @property
    def drift(self) -> Evidence | None:
        """The evidence of the newest cycle that tested drift."""
        tested = (r.evidence for r in self.reports if r.evidence and r.evidence.share_drifted is not None)
        return next(tested, None)

    @property
    def by_retraining(self) -> float | None:
        """How much better the score is than the first model's; None before both are measured."""
        value = self.points[-1].value if self.points else None
        alone = self.never[-1].value if self.never else None
        return None if value is None or alone is None else value - alone

    @property
    def races(self) -> int:
        """How many there were, whatever the outcome."""
        return sum(event.kind in RACED for event in self.events)

    def happened(self, kind: EventKind) -> int:
        """How often it happened."""
        return sum(event.kind == kind for event in self.events)


def seen(ctx: ui.Context, run: LiveInfo) -> Seen:
    """The run's project as it is stored now."""
    project = ctx.refreshed()
    metric = project.policy.metric
    reports, _ = monitoring.cycles(ctx.ws, project.id, limit=FEED)
    return Seen(
        project=project,
        run=run,
        reports=reports,
        points=ui.measured(ctx, metric),
        never=ui.measured(ctx, metric, role="never"),
        events=monitoring.events(ctx.ws, project.id),
    )
