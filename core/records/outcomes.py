"""Outcomes of cycles, and kinds of events on charts over time: the keys as stored and sent.

A member is its text: databases, JSON and the API hold only that. The display texts are in `core.text.vocabulary`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Kind = Literal["promotion", "refresh", "rollback", "none"]  # of a change of the champion


class Outcome(StrEnum):
    """How a cycle ended. Those in SERVING are also events of a project's versions."""

    NONE = "none"
    PROMOTED = "promoted"
    REFRESHED = "refreshed"
    REJECTED = "rejected"
    SHADOWED = "shadowed"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


class EventKind(StrEnum):
    """The kind of an event in a project's history."""

    PROMOTED = "promoted"
    RETRAIN = "retrain"  # without a promotion
    ROLLED_BACK = "rolled_back"
    DRIFT = "drift"
    FAILED = "failed"
    REFRESHED = "refreshed"
    REJECTED = "rejected"
    SHADOWED = "shadowed"
    INCIDENT = "incident"


LET_IN = (Outcome.PROMOTED, Outcome.REFRESHED)  # the challenger serves from then on
SERVING = (*LET_IN, Outcome.ROLLED_BACK)  # another version than before serves from then on
RACED = (EventKind.RETRAIN, EventKind.PROMOTED, EventKind.REFRESHED)  # events that result from a race


def outcome_of(kind: Literal["promotion", "refresh"]) -> Outcome:
    """The outcome of a cycle that promotes its challenger."""
    return Outcome.PROMOTED if kind == "promotion" else Outcome.REFRESHED
