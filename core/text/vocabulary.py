"""The texts and signs of each outcome of a cycle and each kind of event: the one table for every page, chart and message.

Signs mean the same everywhere: \u2713 all is well, \u2715 something is bad, \u2013 a challenger was not promoted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.records import EventKind, Outcome

UP, DOWN, ROUND, HALF, CROSS, DIAMOND, TICK, STROKE = (
    "\u25b2", "\u25bc", "\u21bb", "\u25d0", "\u2715", "\u25c6", "\u2713", "\u2013",
)  # fmt: skip
UNKNOWN = "\u00b7"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeText:
    """The texts of an outcome. In them, {v} is the version that serves afterwards."""

    sign: str
    state: str  # of a verdict: well | watch | bad | failed | unknown
    word: str  # in a column of outcomes; "" = nothing to show
    happened: str  # in a list of events
    inline: str  # within a sentence, in lower case
    race: str  # of a race in a list of races
    live: str = ""  # the sentence after the score on Live
    champion: str = ""  # where the serving version changed: the predicate of a sentence about it
    message: str | None = None  # kind of message that reports it; None = none
    origin: str = ""  # of the serving version: why it serves
    changes: tuple[str, str] = ("", "")  # one such change of the champion, and several

    @property
    def short(self) -> str:
        """Sign and word; nothing where there is no word."""
        return f"{self.sign} {self.word}" if self.word else ""

    @property
    def line(self) -> str:
        """Sign and what happened; nothing before it is known."""
        return f"{self.sign} {self.happened}" if self.happened else ""


OUTCOMES: dict[Outcome, OutcomeText] = {
    Outcome.NONE: OutcomeText(
        sign=TICK, state="unknown", word="", happened="Nothing to do", inline="nothing to do", race="none"
    ),
    Outcome.PROMOTED: OutcomeText(
        sign=UP,
        state="well",
        word="Promoted",
        happened="Promoted",
        inline="promoted",
        race="v{v} promoted",
        live="v{v} won its race and was **promoted**.",
        champion="was promoted",
        message="promotion",
        origin="promoted",
        changes=("promotion", "promotions"),
    ),
    Outcome.REFRESHED: OutcomeText(
        sign=ROUND,
        state="well",
        word="Refreshed",
        happened="Refreshed",
        inline="refreshed",
        race="v{v} refreshed",
        live="v{v} takes over: the same members, trained on newer rows.",
        origin="a refresh",
        changes=("refresh", "refreshes"),
    ),
    Outcome.REJECTED: OutcomeText(
        sign=STROKE,
        state="unknown",
        word="Rejected",
        happened="Challenger rejected",
        inline="rejected",
        race="challenger rejected",
        live="A challenger was trained and **rejected**; v{v} stays champion.",
        message="refused",
    ),
    # Its message is sent where the shadow changes, since a person may change it too.
    Outcome.SHADOWED: OutcomeText(
        sign=HALF,
        state="unknown",
        word="In shadow mode",
        happened="Challenger in shadow mode",
        inline="in shadow mode",
        race="challenger in shadow mode",
        live="A challenger was trained and runs **in shadow mode** next to v{v}.",
    ),
    Outcome.ROLLED_BACK: OutcomeText(
        sign=DOWN,
        state="watch",
        word="Rolled back",
        happened="Rolled back",
        inline="rolled back",
        race="rolled back",
        live="**Rolled back** to v{v}: it performed better.",
        champion="serves again after a rollback",
        message="rollback",
        origin="restored by a rollback",
        changes=("rollback", "rollbacks"),
    ),
    # A failed check is recognised by its status; a race without a usable candidate also ends with this.
    Outcome.FAILED: OutcomeText(
        sign=CROSS, state="failed", word="Failed", happened="Check failed", inline="failed", race="failed"
    ),
}


def outcome(key: str) -> OutcomeText:
    """The texts of an outcome: empty where there is none yet, and the key itself for an unknown one."""
    if key in OUTCOMES:
        return OUTCOMES[Outcome(key)]
    text = key.replace("_", " ")
    return OutcomeText(sign=UNKNOWN, state="unknown", word=key, happened=key, inline=text or "nothing to do", race=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMark:
    """How a kind of event is drawn over time."""

    sign: str
    role: str  # colour of the palette
    rank: int  # the lower one stays where two signs would overlap
    words: str  # in the hover
    named: bool = False  # its text is shown beside the sign
    tick: bool = False  # routine: a tick on the axis instead of a line
    legend: str = ""  # below the chart; "" = sign and words


EVENTS: dict[EventKind, EventMark] = {
    EventKind.PROMOTED: EventMark(sign=UP, role="well", rank=2, named=True, words="promoted"),
    EventKind.RETRAIN: EventMark(
        sign=ROUND, role="current", rank=4, words="retrained", legend=f"{ROUND} retrained, not promoted"
    ),
    EventKind.ROLLED_BACK: EventMark(sign=DOWN, role="second", rank=1, named=True, words="rolled back"),
    EventKind.DRIFT: EventMark(sign=DIAMOND, role="watch", rank=3, words="drift detected"),
    EventKind.FAILED: EventMark(sign=CROSS, role="bad", rank=0, words="check failed"),
    EventKind.REFRESHED: EventMark(
        sign=ROUND, role="well", rank=5, tick=True, words="refreshed", legend="green ticks: refreshed"
    ),
    EventKind.REJECTED: EventMark(sign=ROUND, role="current", rank=4, words="retrained, challenger rejected"),
    EventKind.SHADOWED: EventMark(sign=HALF, role="current", rank=4, words="retrained, challenger in shadow mode"),
    EventKind.INCIDENT: EventMark(sign=CROSS, role="bad", rank=0, named=True, words="incident"),
}


def legend(kinds: Iterable[str]) -> list[str]:
    """What the signs of these kinds mean, in the table's order."""
    there = set(kinds)
    return [mark.legend or f"{mark.sign} {mark.words}" for kind, mark in EVENTS.items() if kind in there]
