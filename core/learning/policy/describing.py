"""A policy in sentences with its values."""

from __future__ import annotations

from collections.abc import Callable

from core.learning.policy.clauses import EVIDENCE_NEEDED, GATES, HOLD_OUTS, MCNEMAR_ALPHA
from core.learning.policy.common import AND, FAMILY_LABELS
from core.records import Policy, sides
from core.words import duration, metric_in_reason


def describe(policy: Policy) -> tuple[str, ...]:
    """The policy in sentences with its values, for a page."""
    lines = [_trigger_sentence(entry, policy) for entry in policy.triggers]
    if policy.cooldown_s > 0:
        lines.append(f"Races are at least {duration(policy.cooldown_s)} apart.")
    if policy.races_per_day > 0:
        lines.append(f"At most {policy.races_per_day:,} races in 24 hours, excluding manual ones.")
    families = (
        ", ".join(FAMILY_LABELS[name] for name in policy.families)
        if policy.families
        else "all families that fit the task"
    )
    windows = ", ".join(policy.windows) if policy.windows else "the windows that work best for each"
    lines.append(
        f"Candidates: {families}; trained on {windows}, never on more than the newest {policy.max_train_rows:,} rows."
    )
    lines.append(
        f"At most {policy.max_fits:g} fits per 500 incoming rows; unused ones are saved for when the data changes."
    )
    lines.append(_GATE_SENTENCES[policy.gate])
    if policy.gate != "none":
        lines.append(
            f"It is tested on {HOLD_OUTS[policy.hold_out]}, at most 100, which are held out of training until then."
        )
    if policy.gate != "none":
        lines.append(
            f"A new champion is monitored: when the evidence on later rows that its predecessor is better reaches {EVIDENCE_NEEDED:g} : 1, it is rolled back."
        )
    if policy.shadow_rows > 0:
        lines.append(
            f"Before it serves, a challenger that does better on held-out rows predicts {policy.shadow_rows:,} labelled rows in shadow mode."
        )
    if policy.archive > 0:
        lines.append(
            f"The best model of each of the last {policy.archive:,} regimes is kept and tried again, in case an old regime returns."
        )
    if policy.max_predict_ms > 0:
        lines.append(
            f"A challenger may take {policy.max_predict_ms:g} ms for 1,000 rows{'' if 'prediction_time' in GATES[policy.gate] else '; reported, not enforced'}."
        )
    return tuple(lines)


def _trigger_sentence(entry: str, policy: Policy) -> str:
    """One entry of the triggers in a sentence."""
    parts = [_SENTENCES[name](policy) for name in entry.split(AND)]
    return parts[0] if len(parts) == 1 else "Only when all of these hold: " + " ".join(parts)


def _budget(policy: Policy) -> str:
    """The false-alarm budget as the end of a sentence."""
    n = policy.false_alarms_per_month
    if n <= 0:
        return ""
    return (
        f", or above what normal variation of the reference would exceed {n:g} {'time' if n == 1 else 'times'} a month"
    )


_GATE_SENTENCES = {
    "none": "Every new model is promoted.",
    "held_back": "A new model is promoted when it does better than the champion by the policy's metric on recent rows that neither has seen.",
    "superior": (
        f"A new model is promoted when it is significantly better than the champion on recent rows that neither has seen (p at most {MCNEMAR_ALPHA}), "
        "no worse on any slice, as well calibrated, and has not forgotten past regimes."
    ),
}

_SENTENCES: dict[str, Callable[[Policy], str]] = {
    "no_champion": lambda p: "The first race starts as soon as there are labelled rows.",
    "by_hand": lambda p: "A race can be requested manually at any time.",
    "below_threshold": lambda p: (
        f"Retrains when the measured {metric_in_reason(p.metric)} is {sides(p.metric)[0]} {p.threshold:g} over at least {p.min_rows:,} rows."
    ),
    "below_recent_mean": lambda p: (
        f"Retrains when the measured {metric_in_reason(p.metric)} is significantly worse than its own recent mean."
    ),
    "estimated_below": lambda p: (
        f"Where labels are missing, retrains when the estimated {metric_in_reason(p.metric)} is {sides(p.metric)[0]} {p.threshold:g} "
        "with its whole band; disabled while labels contradict the estimate."
    ),
    "change_found": lambda p: "Retrains when the champion's error rate rises.",
    "error_alarm": lambda p: (
        "Retrains when ADWIN or Page-Hinkley detects a rise of the error rate in the prediction stream."
    ),
    "drift_share": lambda p: (
        f"Retrains when {p.drift_share:.0%} or more of the features drifted: a change counts when it is significant (false alarms in at most {p.drift_alpha:.2%} of checks) "
        f"and its size is above {p.drift_gate:g}{_budget(p)}."
    ),
    "new_labels": lambda p: f"Retrains every {p.new_labels:,} newly labelled rows.",
    "age": lambda p: (
        f"Retrains when the last race is older than {duration(p.max_age_s)}."
        if p.max_age_s > 0
        else "Age alone does not retrain."
    ),
    "schedule": lambda p: (
        f"Retrains on the schedule '{p.schedule}' (crontab, UTC), if there are new labels."
        if p.schedule
        else "No schedule is set."
    ),
}
