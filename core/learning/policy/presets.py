"""The ready-made policies by name."""

from __future__ import annotations

from typing import Any

from core.errors import BadInput
from core.learning.policy.documents import policy_from_document, policy_to_document
from core.records import Policy


def policy_named(name: str, **changes: Any) -> Policy:
    """One of the ready-made policies, with fields changed; "default" is "balanced".

    Raises:
        BadInput: no such policy, no such field, or a value out of range.
    """
    known = "balanced" if name == "default" else name
    if known not in POLICIES:
        raise BadInput(f"There is no policy '{name}'. Expected one of: default, {', '.join(POLICIES)}.")
    return policy_from_document({**policy_to_document(POLICIES[known]), **changes}) if changes else POLICIES[known]


_ALWAYS = ("no_champion", "by_hand")
_WATCHFUL = (
    *_ALWAYS, "below_threshold", "below_recent_mean", "estimated_below", "change_found", "drift_share", "new_labels",
)  # fmt: skip

POLICIES: dict[str, Policy] = {
    # Races once, on the warm-up; the baseline for every other policy.
    "never": Policy(name="never", triggers=("no_champion",)),
    # The rule this project began with: below the threshold, the linear model is refitted on all rows and promoted.
    "original": Policy(
        name="original",
        triggers=(*_ALWAYS, "below_threshold"),
        families=("logistic", "ridge"),
        windows=("all",),
        min_new_share=0.0,
        max_fits=1_000.0,
        gate="none",
    ),
    "careful": Policy(
        name="careful", triggers=_WATCHFUL, new_labels=500, max_fits=2.0, gate="superior", hold_out="newest"
    ),
    "balanced": Policy(name="balanced", triggers=_WATCHFUL, new_labels=100, min_rows=50),
    "fast": Policy(name="fast", triggers=_WATCHFUL, new_labels=50, min_rows=30, max_fits=6.0, gate="none"),
}
