"""From the evidence to nothing, an alert or a retrain: which triggers fired, and what prevents a race."""

from __future__ import annotations

from collections.abc import Sequence

from core.learning.policy.common import AND
from core.learning.policy.triggers import FIRST_RACE_ROWS, TRIGGERS
from core.records import NO_REASON, Decision, Evidence, Firing, Policy, Reason, because

BY_HAND: tuple[str, ...] = ("by_hand", "no_champion")  # triggers that ignore minimum rows, cooldown and daily budget


def decide(evidence: Evidence, policy: Policy) -> Decision:
    """The policy's decision on the evidence: nothing, an alert, or a retrain, with the triggers that fired.

    An alert means that a trigger fired and a race is useless or not allowed yet: too few new labelled rows, the
    cooldown since the last race, or an exhausted daily budget.
    """
    results = (_fired(entry, evidence, policy) for entry in policy.triggers)
    firings = tuple(firing for firing in results if firing is not None)
    if not firings:
        return Decision(action="nothing", reason=_why_nothing(evidence, policy))
    if any(firing.trigger in BY_HAND for firing in firings):
        return Decision(action="retrain", reason=_together(firings), firings=firings)
    held = _held_back(evidence, policy)
    return Decision(action="alert" if held else "retrain", reason=_together(firings, held), firings=firings)


def same_decision(a: Decision, b: Decision) -> bool:
    """Whether both do the same because of the same triggers and numbers, regardless of their wording."""
    return a.action == b.action and [f.facts for f in a.firings] == [f.facts for f in b.firings]


def _together(firings: Sequence[Firing], held: Reason = NO_REASON) -> Reason:
    """The reasons of what fired, then of what prevents a race."""
    reasons = [*(firing.reason for firing in firings), *([held] if held else [])]
    return reasons[0] if len(reasons) == 1 else because("together", parts=reasons)


def _held_back(evidence: Evidence, policy: Policy) -> Reason:
    """Why there is no race though a trigger fired; NO_REASON if nothing prevents it."""
    needed = min(policy.min_rows, policy.new_labels)
    if evidence.labels_since_race < needed:
        return because("too_few_new_rows", rows=evidence.labels_since_race, needed=needed)
    since = evidence.seconds_since_race
    if since is not None and since < policy.cooldown_s:
        return because("cooldown", seconds=policy.cooldown_s - since)
    if evidence.in_shadow and not evidence.change_found:
        return because("in_shadow")
    if policy.races_per_day and evidence.races_last_day >= policy.races_per_day:
        return because("budget_spent", races=evidence.races_last_day, budget=policy.races_per_day)
    return NO_REASON


def _fired(entry: str, evidence: Evidence, policy: Policy) -> Firing | None:
    """One entry of a policy's triggers: a trigger, or several that have to fire together."""
    parts = [TRIGGERS[name](evidence, policy) for name in entry.split(AND)]
    together = [part for part in parts if part is not None]
    if len(together) < len(parts):
        return None
    first = together[0]
    if len(together) == 1:
        return first
    return Firing(trigger=entry, observed=first.observed, threshold=first.threshold, reason=_together(together))


def _why_nothing(evidence: Evidence, policy: Policy) -> Reason:
    if not evidence.has_champion:
        return because("too_few_for_the_first", rows=evidence.labels_since_race, needed=FIRST_RACE_ROWS)
    if evidence.score is None:
        return because("nothing_measured", metric=evidence.metric)
    return because("nothing_fired", metric=evidence.metric, score=evidence.score, rows=evidence.score_n)
