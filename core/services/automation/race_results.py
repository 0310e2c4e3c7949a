"""The results of a race: its candidates in order, the committee, the best single one. Reads records only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.records import Candidate, CycleReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """A finished race, or an unfinished one so far."""

    cycle: CycleReport
    ranked: tuple[Candidate, ...]  # by weight, then by loss; dropped ones last

    @property
    def members(self) -> tuple[Candidate, ...]:
        """The committee: the candidates with a weight in the vote, largest first.

        One whose refit failed is included if its earlier model was kept, as in the stored version.
        """
        return tuple(c for c in self.ranked if c.weight)

    @property
    def fitted(self) -> tuple[Candidate, ...]:
        """Those fitted in this race, not kept from earlier ones."""
        return tuple(c for c in self.ranked if c.fitted)

    @property
    def fit_seconds(self) -> float:
        """The total duration of these fits in seconds."""
        return sum(c.seconds or 0.0 for c in self.fitted)

    @property
    def dropped_out(self) -> tuple[Candidate, ...]:
        """Those that could not be fitted and have no weight, each with its error."""
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
        """The metric of their scores."""
        return self.cycle.candidates[0].score.metric


def result_of(cycle: CycleReport) -> RaceResult:
    """The race of a cycle that had candidates."""
    ranked = sorted(cycle.candidates, key=lambda c: (_dropped_out(c), -(c.weight or 0.0), _loss(c)))
    return RaceResult(cycle=cycle, ranked=tuple(ranked))


def chosen(races: Sequence[CycleReport], requested: str) -> CycleReport:
    """The race of the requested cycle, else the first one."""
    named = int(requested) if requested.isdecimal() else None
    return next((race for race in races if race.id == named), races[0])


def _dropped_out(candidate: Candidate) -> bool:
    return candidate.error is not None and not candidate.weight


def _loss(candidate: Candidate) -> float:
    return math.inf if candidate.loss is None else candidate.loss
