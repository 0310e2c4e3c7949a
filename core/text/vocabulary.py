"""What is said and drawn of each outcome of a cycle and each kind of event: the one table of it for every page, chart and message.

Signs mean the same everywhere: \u2713 all is well, \u2715 something is bad, \u2013 a challenger stayed outside.
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
class Said:
    """What is said of an outcome. In texts, {v} is the version that serves afterwards."""

    sign: str
    state: str  # of a verdict: well | watch | bad | failed | unknown
    word: str  # in a column of outcomes; "" = there is nothing to say
    happened: str  # in a list of whatever happened
    spoken: str  # within a sentence, in small letters
    race: str  # of a race in a list of races
    live: str = ""  # the sentence behind the score on Live
    champion: str = ""  # where it is news who serves: what the version has done, behind its name
    message: str | None = None  # kind of message that tells it; None = no news
    came: str = ""  # of a version that serves: how it came to
    changes: tuple[str, str] = ("", "")  # one such change of the champion, and several

    @property
    def short(self) -> str:
        """Sign and word; nothing where there is nothing to say."""
        return f"{self.sign} {self.word}" if self.word else ""

    @property
    def line(self) -> str:
        """Sign and what happened; nothing before it is known."""
        return f"{self.sign} {self.happened}" if self.happened else ""


OUTCOMES: dict[Outcome, Said] = {
    Outcome.NONE: Said(
        sign=TICK, state="unknown", word="", happened="Nothing to do", spoken="nothing to do", race="none"
    ),
    Outcome.PROMOTED: Said(
        sign=UP,
        state="well",
        word="Promoted",
        happened="Promoted",
        spoken="promoted",
        race="v{v} promoted",
        live="v{v} was raced and **promoted**.",
        champion="was promoted",
        message="promotion",
        came="promoted",
        changes=("promotion", "promotions"),
    ),
    Outcome.REFRESHED: Said(
        sign=ROUND,
        state="well",
        word="Refreshed",
        happened="Refreshed",
        spoken="refreshed",
        race="v{v} refreshed",
        live="v{v} takes over: the same members on newer rows.",
        came="a refresh",
        changes=("refresh", "refreshes"),
    ),
    Outcome.REJECTED: Said(
        sign=STROKE,
        state="unknown",
        word="Rejected",
        happened="Challenger rejected",
        spoken="rejected",
        race="challenger rejected",
        live="A challenger was raced and **rejected**; v{v} stays.",
        message="refused",
    ),
    # Its message is sent where the shadow changes, for a person may change it too.
    Outcome.SHADOWED: Said(
        sign=HALF,
        state="unknown",
        word="In the shadow",
        happened="Challenger in the shadow",
        spoken="shadowed",
        race="challenger in the shadow",
        live="A challenger was raced and tries itself **in the shadow** of v{v}.",
    ),
    Outcome.ROLLED_BACK: Said(
        sign=DOWN,
        state="watch",
        word="Rolled back",
        happened="Rolled back",
        spoken="rolled back",
        race="rolled back",
        live="**Rolled back** to v{v}: it proved better.",
        champion="serves again after a rollback",
        message="rollback",
        came="brought back by a rollback",
        changes=("rollback", "rollbacks"),
    ),
    # A check that failed is told by its status: this is also what a race without a usable candidate ends with.
    Outcome.FAILED: Said(
        sign=CROSS, state="failed", word="Failed", happened="Check failed", spoken="failed", race="failed"
    ),
}


def outcome(key: str) -> Said:
    """What is said of an outcome: nothing where there is none yet, and the key itself of one that is not known."""
    if key in OUTCOMES:
        return OUTCOMES[Outcome(key)]
    spoken = key.replace("_", " ")
    return Said(sign=UNKNOWN, state="unknown", word=key, happened=key, spoken=spoken or "nothing to do", race=spoken)


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
    EventKind.DRIFT: EventMark(sign=DIAMOND, role="watch", rank=3, words="drift found"),
    EventKind.FAILED: EventMark(sign=CROSS, role="bad", rank=0, words="check failed"),
    EventKind.REFRESHED: EventMark(
        sign=ROUND, role="well", rank=5, tick=True, words="refreshed", legend="green ticks: refreshed"
    ),
    EventKind.REJECTED: EventMark(sign=ROUND, role="current", rank=4, words="retrained, challenger rejected"),
    EventKind.SHADOWED: EventMark(sign=HALF, role="current", rank=4, words="retrained, challenger put into the shadow"),
    EventKind.INCIDENT: EventMark(sign=CROSS, role="bad", rank=0, named=True, words="incident"),
}


def legend(kinds: Iterable[str]) -> list[str]:
    """What the signs of these kinds mean, in the table's order."""
    there = set(kinds)
    return [mark.legend or f"{mark.sign} {mark.words}" for kind, mark in EVENTS.items() if kind in there]
