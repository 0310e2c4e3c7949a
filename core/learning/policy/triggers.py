"""What may start a race: functions from the evidence and a policy to a firing, or to None. `TRIGGERS` names them."""

from __future__ import annotations

import math
from collections.abc import Callable

from core.learning.change import most_by_chance
from core.learning.rising import NEEDED as RISE_NEEDED
from core.records import Evidence, Firing, Policy, because, higher_is_better, is_worse

FIRST_RACE_ROWS = 20  # labelled rows from which the first race starts automatically
NAMED = 3  # drifted features listed in a reason
OLD_SIGMA = 2.33  # for stored evidence without the number of rows of its mean: that mean is taken as exact


def _no_champion(evidence: Evidence, policy: Policy) -> Firing | None:
    if evidence.has_champion or evidence.labels_since_race < FIRST_RACE_ROWS:
        return None
    n = evidence.labels_since_race
    return Firing(
        trigger="no_champion", observed=n, threshold=FIRST_RACE_ROWS,
        reason=because("no_champion", rows=n),
    )  # fmt: skip


def _by_hand(evidence: Evidence, policy: Policy) -> Firing | None:
    if not evidence.forced:
        return None
    return Firing(trigger="by_hand", observed=1.0, threshold=1.0, reason=because("by_hand"))


def _below_threshold(evidence: Evidence, policy: Policy) -> Firing | None:
    if evidence.score is None or evidence.score_n < policy.min_rows:
        return None
    if not is_worse(evidence.score, policy.threshold, evidence.metric):
        return None
    reason = because(
        "below_threshold",
        metric=evidence.metric,
        score=evidence.score,
        rows=evidence.score_n,
        threshold=policy.threshold,
    )
    return Firing(trigger="below_threshold", observed=evidence.score, threshold=policy.threshold, reason=reason)


def _below_recent_mean(evidence: Evidence, policy: Policy) -> Firing | None:
    """Significantly worse than its own recent mean, whose own sampling error is included.

    Accuracy by the exact test of two counts, any other metric by its interval, widened by the sampling error of the mean.
    """
    score, mean = evidence.score, evidence.recent_mean
    if score is None or mean is None or evidence.score_n < policy.min_rows:
        return None
    # Sampled rows represent others: their number is not the number of independent rows.
    n, rows = evidence.score_rows or evidence.score_n, evidence.recent_rows
    if evidence.metric == "accuracy" and rows:
        bound = 1.0 - most_by_chance(rows, 1.0 - mean, n, inflated=evidence.recent_inflation) / n
        fires = score < bound - 0.5 / n  # half a row: the shares are rounded
    elif evidence.metric == "accuracy":
        bound = mean - OLD_SIGMA * math.sqrt(max(mean * (1 - mean), 0.0) / n)
        fires = score < bound
    else:
        best = evidence.score_high if higher_is_better(evidence.metric) else evidence.score_low
        if best is None:
            return None
        wider = math.sqrt(evidence.recent_inflation * (1.0 + n / rows)) if rows else 1.0
        bound = mean if not rows else mean - (best - score) * wider
        fires = is_worse(score + (best - score) * wider, mean, evidence.metric)
    if not fires:
        return None
    reason = because("below_recent_mean", metric=evidence.metric, score=score, mean=mean, bound=bound)
    return Firing(trigger="below_recent_mean", observed=score, threshold=bound, reason=reason)


def _estimated_below(evidence: Evidence, policy: Policy) -> Firing | None:
    """The whole interval of the estimate is beyond the threshold, no labelled score exists, and labels did not refute such estimates."""
    if evidence.estimate_trusted is False or (evidence.score is not None and evidence.score_n >= policy.min_rows):
        return None
    best = evidence.estimated_high if higher_is_better(evidence.metric) else evidence.estimated_low
    if evidence.estimated is None or best is None or not is_worse(best, policy.threshold, evidence.metric):
        return None
    reason = because(
        "estimated_below", metric=evidence.metric, estimated=evidence.estimated, threshold=policy.threshold
    )
    return Firing(trigger="estimated_below", observed=evidence.estimated, threshold=policy.threshold, reason=reason)


def _change_found(evidence: Evidence, policy: Policy) -> Firing | None:
    if not evidence.change_found:
        return None
    if evidence.rise is None:  # a check older than stored evidence
        return Firing(trigger="change_found", observed=1.0, threshold=1.0, reason=because("errors_changed"))
    return Firing(
        trigger="change_found", observed=evidence.rise, threshold=RISE_NEEDED,
        reason=because("errors_rose", evidence=evidence.rise, needed=RISE_NEEDED),
    )  # fmt: skip


def _error_alarm(evidence: Evidence, policy: Policy) -> Firing | None:
    if not evidence.error_alarms:
        return None
    reason = because("error_alarm", alarms=evidence.error_alarms)
    return Firing(trigger="error_alarm", observed=len(evidence.error_alarms), threshold=1, reason=reason)


def _drift_share(evidence: Evidence, policy: Policy) -> Firing | None:
    share = evidence.share_drifted
    if share is None or share <= 0 or share < policy.drift_share:
        return None
    reason = because(
        "drift_share",
        share=share,
        names=evidence.drifted[:NAMED],
        drifted=len(evidence.drifted),
        limit=policy.drift_share,
    )
    return Firing(trigger="drift_share", observed=share, threshold=policy.drift_share, reason=reason)


def _new_labels(evidence: Evidence, policy: Policy) -> Firing | None:
    n = evidence.labels_since_race
    if n < policy.new_labels:
        return None
    reason = because("new_labels", rows=n, every=policy.new_labels)
    return Firing(trigger="new_labels", observed=n, threshold=policy.new_labels, reason=reason)


def _age(evidence: Evidence, policy: Policy) -> Firing | None:
    age, limit = evidence.seconds_since_race, policy.max_age_s
    if age is None or limit <= 0 or age < limit:
        return None
    return Firing(trigger="age", observed=age, threshold=limit, reason=because("age", age=age, limit=limit))


def _schedule(evidence: Evidence, policy: Policy) -> Firing | None:
    if not evidence.schedule_due or not policy.schedule:
        return None
    reason = because("schedule", schedule=policy.schedule)
    return Firing(trigger="schedule", observed=1.0, threshold=1.0, reason=reason)


TRIGGERS: dict[str, Callable[[Evidence, Policy], Firing | None]] = {
    "no_champion": _no_champion,
    "by_hand": _by_hand,
    "below_threshold": _below_threshold,
    "below_recent_mean": _below_recent_mean,
    "estimated_below": _estimated_below,
    "change_found": _change_found,
    "error_alarm": _error_alarm,
    "drift_share": _drift_share,
    "new_labels": _new_labels,
    "age": _age,
    "schedule": _schedule,
}
