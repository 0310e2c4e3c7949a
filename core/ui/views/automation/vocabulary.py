"""The words for what caused a cycle, what it decided, and for the parts of a policy."""

from __future__ import annotations

from core.learning.policy import AND

CAUSES = {
    "schedule": "the clock",
    "button": "a button",
    "api": "the API",
    "cli": "the command line",
    "live": "the live run",
}
DECISIONS = {"nothing": "✓ Nothing", "alert": "⚠ Alert", "retrain": "↻ Retrain"}
TRIGGER_WORDS = {
    "no_champion": "first race",
    "by_hand": "by hand",
    "below_threshold": "below the threshold",
    "below_recent_mean": "below its recent mean",
    "estimated_below": "estimate below the threshold",
    "change_found": "errors changed",
    "error_alarm": "ADWIN or Page-Hinkley",
    "drift_share": "share of drifted features",
    "new_labels": "new labels",
    "age": "age of the last race",
    "schedule": "on a schedule",
}
GATE_WORDS = {"none": "no gate", "held_back": "a held-back gate", "superior": "a strict gate"}


def trigger_words(entry: str) -> str:
    """A trigger in words, or several that have to fire together."""
    return " and ".join(TRIGGER_WORDS.get(name, name) for name in entry.split(AND))
