"""The outcome of a race, in a sentence with its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from core import ui
from core.records import LET_IN, Outcome
from core.services.automation.race_results import RaceResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The page's summary."""

    state: str
    word: str
    text: str


def of(race: RaceResult) -> Finding:
    """Who won, whether it was accepted, and why not."""
    cycle = race.cycle
    if cycle.status == "failed":
        text = f"**The race of cycle {cycle.id} failed.** {ui.plain(cycle.error or '')}"
        return Finding(state="failed", word="Failed", text=text)
    made, alone = _made(race), _alone(race)
    if cycle.outcome in LET_IN:
        text = f"**v{cycle.champion_after} won and was accepted: {made}.**{alone}"
        return Finding(state="well", word="Accepted", text=text)
    why = ui.plain(ui.sentence(cycle.verdict.reason if cycle.verdict else cycle.reason))
    if cycle.outcome == Outcome.ROLLED_BACK:
        return Finding(state="watch", word="Rolled back", text=f"**v{cycle.champion_after} serves again.** {why}")
    text = f"**{made[:1].upper() + made[1:]} did not beat the champion.** {why}{alone}"
    return Finding(state="unknown", word="Not accepted", text=text)


def _made(race: RaceResult) -> str:
    """What the race made: a committee, a single model, nothing."""
    if len(race.members) > 1:
        return f"a committee of {len(race.members)}"
    return ui.plain(race.members[0].name) if race.members else "nothing"


def _alone(race: RaceResult) -> str:
    best = race.best_alone
    if best is None:
        return " No candidate could be scored."
    return f" Best single candidate: {ui.plain(best.name)}, {ui.metric_label(race.metric)} {ui.score(best.score)}."
