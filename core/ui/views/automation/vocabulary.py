"""The words for causes and decisions of cycles, and for the parts of a policy."""

from __future__ import annotations

from core.learning.policy import AND

CAUSES = {
    "schedule": "the scheduler",
    "button": "a button",
    "api": "the API",
    "cli": "the command line",
    "live": "the live run",
}
DECISIONS = {"nothing": "✓ Nothing", "alert": "⚠ Alert", "retrain": "↻ Retrain"}
TRIGGER_WORDS = {
    "no_champion": "first race",
    "by_hand": "manual request",
    "below_threshold": "below the threshold",
    "below_recent_mean": "below its recent mean",
    "estimated_below": "estimate below the threshold",
    "change_found": "rise of errors",
    "error_alarm": "ADWIN or Page-Hinkley",
    "drift_share": "share of drifted features",
    "new_labels": "new labels",
    "age": "age of the last race",
    "schedule": "on a schedule",
}
GATE_WORDS = {"none": "no gate", "held_back": "a held-out gate", "superior": "a strict gate"}


def trigger_words(entry: str) -> str:
    """A trigger in words, or several that have to fire together."""
    return " and ".join(TRIGGER_WORDS.get(name, name) for name in entry.split(AND))
