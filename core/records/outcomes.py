"""What a turn of the loop comes to, and what belongs on a chart over time: the keys as they are stored and sent.

A member is its text: databases, JSON and the API hold that and nothing else. What is said of each is in
`core.text.vocabulary`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Kind = Literal["promotion", "refresh", "rollback", "none"]  # of a change of the champion


class Outcome(StrEnum):
    """What a cycle ended with. Those of SERVING are also the events of a project's versions."""

    NONE = "none"
    PROMOTED = "promoted"
    REFRESHED = "refreshed"
    REJECTED = "rejected"
    SHADOWED = "shadowed"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


class EventKind(StrEnum):
    """What happened at an instant of a project's history."""

    PROMOTED = "promoted"
    RETRAIN = "retrain"  # and nobody was let in
    ROLLED_BACK = "rolled_back"
    DRIFT = "drift"
    FAILED = "failed"
    REFRESHED = "refreshed"
    REJECTED = "rejected"
    SHADOWED = "shadowed"
    INCIDENT = "incident"


LET_IN = (Outcome.PROMOTED, Outcome.REFRESHED)  # the challenger serves from then on
SERVING = (*LET_IN, Outcome.ROLLED_BACK)  # another version than before serves from then on
RACED = (EventKind.RETRAIN, EventKind.PROMOTED, EventKind.REFRESHED)  # what comes of a race


def outcome_of(kind: Literal["promotion", "refresh"]) -> Outcome:
    """What a cycle ends with that lets its challenger in."""
    return Outcome.PROMOTED if kind == "promotion" else Outcome.REFRESHED
