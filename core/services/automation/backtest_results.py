"""The results of a backtest over the stored history, read from its job's document, and the best policy in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from core.records import higher_is_better


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One policy over the whole history."""

    name: str
    score: float | None  # None: no labelled row
    races: int
    fits: int
    promotions: int
    refreshes: int
    rollbacks: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """Several policies side by side."""

    metric: str
    turns: int  # replayed checks
    rows: int  # rows of those checks
    policies: tuple[Replayed, ...]
    document: Mapping[str, Any]  # the document of `backtests.compare_policies`, with every turn

    def policy(self, name: str) -> Replayed:
        """The policy of that name, which must be among them."""
        return next(p for p in self.policies if p.name == name)

    def against_best(self, name: str) -> tuple[Replayed, Replayed] | None:
        """The policy of that name, else the first, and the best of the others; None if either was not scored."""
        own = next((p for p in self.policies if p.name == name), self.policies[0])
        scored = {p.score: p for p in reversed(self.policies) if p.score is not None and p.name != own.name}
        if own.score is None or not scored:
            return None
        best = max if higher_is_better(self.metric) else min
        return own, scored[best(scored)]

    def has_scored_turns(self) -> bool:
        """Whether any check had labels to score."""
        return any(turn.get(self.metric) is not None for p in self.document["policies"] for turn in p["turns"])


def read(document: Mapping[str, Any]) -> Backtest:
    """A backtest from its document."""
    names = [field.name for field in fields(Replayed)]
    return Backtest(
        metric=document["metric"],
        turns=document["turns"],
        rows=document["rows"],
        policies=tuple(Replayed(**{name: p[name] for name in names}) for p in document["policies"]),
        document=document,
    )
