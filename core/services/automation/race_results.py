"""What came of a race: its entrants in order, who makes the committee, who is best alone. Reads records only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.records import Candidate, CycleReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """A race that is over, or as far as it came."""

    cycle: CycleReport
    ranked: tuple[Candidate, ...]  # by weight, then by loss; those that dropped out last

    @property
    def members(self) -> tuple[Candidate, ...]:
        """The committee: those that carry weight in the vote, the heaviest first.

        One whose refit failed is among them where its earlier model was kept, as in the version that was stored.
        """
        return tuple(c for c in self.ranked if c.weight)

    @property
    def fitted(self) -> tuple[Candidate, ...]:
        """Those that were fitted in this race, not kept from before."""
        return tuple(c for c in self.ranked if c.fitted)

    @property
    def fit_seconds(self) -> float:
        """What these fits took together."""
        return sum(c.seconds or 0.0 for c in self.fitted)

    @property
    def dropped_out(self) -> tuple[Candidate, ...]:
        """Those that could not be fitted and carry no weight, each with its error."""
        return tuple(c for c in self.ranked if _dropped_out(c))

    @property
    def kept_unfitted(self) -> tuple[Candidate, ...]:
        """Members whose refit failed, each with its error: their earlier models vote."""
        return tuple(c for c in self.members if c.error is not None)

    @property
    def best_alone(self) -> Candidate | None:
        """The one with the lowest loss on the shared rows."""
        scored = [c for c in self.cycle.candidates if not _dropped_out(c) and c.loss is not None]
        return min(scored, key=_loss, default=None)

    @property
    def metric(self) -> str:
        """What they were scored by."""
        return self.cycle.candidates[0].score.metric


def result_of(cycle: CycleReport) -> RaceResult:
    """The race of a cycle that had candidates."""
    ranked = sorted(cycle.candidates, key=lambda c: (_dropped_out(c), -(c.weight or 0.0), _loss(c)))
    return RaceResult(cycle=cycle, ranked=tuple(ranked))


def chosen(races: Sequence[CycleReport], asked: str) -> CycleReport:
    """The race of the cycle whose number was asked for, else the first one."""
    named = int(asked) if asked.isdecimal() else None
    return next((race for race in races if race.id == named), races[0])


def _dropped_out(candidate: Candidate) -> bool:
    return candidate.error is not None and not candidate.weight


def _loss(candidate: Candidate) -> float:
    return math.inf if candidate.loss is None else candidate.loss
