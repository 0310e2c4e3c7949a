"""From the evidence to nothing, an alert or a race: which triggers fired, and what holds a race back."""

from __future__ import annotations

from core.learning.policy.common import AND
from core.learning.policy.triggers import FIRST_RACE_ROWS, TRIGGERS
from core.records import Decision, Evidence, Firing, Policy
from core.words import duration, metric_in_reason, plain_score

BY_HAND: tuple[str, ...] = ("by_hand", "no_champion")  # triggers that wait for neither rows, cooldown nor budget


def decide(evidence: Evidence, policy: Policy) -> Decision:
    """What the policy makes of the evidence: nothing, an alert, or a retrain, with the triggers that fired.

    An alert means that a trigger fired and a race would be of no use or is not allowed yet: too few new labelled rows,
    the cooldown since the last race, or the day's races are spent.
    """
    found = (_fired(entry, evidence, policy) for entry in policy.triggers)
    firings = tuple(firing for firing in found if firing is not None)
    if not firings:
        return Decision(action="nothing", reason=_why_nothing(evidence, policy))
    told = " ".join(firing.reason for firing in firings)
    if any(firing.trigger in BY_HAND for firing in firings):
        return Decision(action="retrain", reason=told, firings=firings)
    if evidence.labels_since_race < min(policy.min_rows, policy.new_labels):
        waiting = f"Too few labelled rows since the last race to learn from: {evidence.labels_since_race:,} of {min(policy.min_rows, policy.new_labels):,}."
        return Decision(action="alert", reason=f"{told} {waiting}", firings=firings)
    since = evidence.seconds_since_race
    if since is not None and since < policy.cooldown_s:
        waiting = f"The cooldown has {duration(policy.cooldown_s - since)} to go."
        return Decision(action="alert", reason=f"{told} {waiting}", firings=firings)
    if evidence.in_shadow and not evidence.change_found:
        return Decision(action="alert", reason=f"{told} A challenger is being tried in the shadow.", firings=firings)
    if policy.races_per_day and evidence.races_last_day >= policy.races_per_day:
        spent = f"The budget is spent: {evidence.races_last_day} of {policy.races_per_day} races in 24 hours."
        return Decision(action="alert", reason=f"{told} {spent}", firings=firings)
    return Decision(action="retrain", reason=told, firings=firings)


def _fired(entry: str, evidence: Evidence, policy: Policy) -> Firing | None:
    """One entry of a policy's triggers: a trigger, or several that have to fire together."""
    parts = [TRIGGERS[name](evidence, policy) for name in entry.split(AND)]
    together = [part for part in parts if part is not None]
    if len(together) < len(parts):
        return None
    first = together[0]
    if len(together) == 1:
        return first
    reason = " ".join(part.reason for part in together)
    return Firing(trigger=entry, observed=first.observed, threshold=first.threshold, reason=reason)


def _why_nothing(evidence: Evidence, policy: Policy) -> str:
    if not evidence.has_champion:
        return f"No champion yet: {evidence.labels_since_race:,} of the {FIRST_RACE_ROWS} labelled rows that a first race needs."
    if evidence.score is None:
        return f"No trigger fired; no labelled row to measure {metric_in_reason(evidence.metric)} on."
    return f"No trigger fired: {metric_in_reason(evidence.metric)} {plain_score(evidence.score)} over {evidence.score_n:,} rows."
