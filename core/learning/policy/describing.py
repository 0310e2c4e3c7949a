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
        lines.append(f"At most {policy.races_per_day:,} races in 24 hours, those by hand aside.")
    families = (
        ", ".join(FAMILY_LABELS[name] for name in policy.families)
        if policy.families
        else "every family that suits the task"
    )
    windows = ", ".join(policy.windows) if policy.windows else "the windows each of them is best on"
    lines.append(
        f"Candidates: {families}; trained on {windows}, never on more than the newest {policy.max_train_rows:,} rows."
    )
    lines.append(
        f"At most {policy.max_fits:g} fits for every 500 rows that come; unused ones are saved up for a change."
    )
    lines.append(_GATE_SENTENCES[policy.gate])
    if policy.gate != "none":
        lines.append(f"It is tested on {HOLD_OUTS[policy.hold_out]}, at most 100, which nothing learns from before.")
    if policy.gate != "none":
        lines.append(
            f"A new champion is watched: when the evidence on later rows that the one it replaced is better reaches {EVIDENCE_NEEDED:g} : 1, that one comes back."
        )
    if policy.shadow_rows > 0:
        lines.append(
            f"Before it serves, a challenger that does better on rows held back answers {policy.shadow_rows:,} labelled rows in the shadow of the champion."
        )
    if policy.archive > 0:
        lines.append(
            f"The best model of each of the last {policy.archive:,} regimes is kept and asked again: what was may come back."
        )
    if policy.max_predict_ms > 0:
        lines.append(
            f"A challenger may take {policy.max_predict_ms:g} ms for 1,000 rows{'' if 'prediction_time' in GATES[policy.gate] else '; told, not decided'}."
        )
    return tuple(lines)


def _trigger_sentence(entry: str, policy: Policy) -> str:
    """One entry of the triggers in a sentence."""
    parts = [_SENTENCES[name](policy) for name in entry.split(AND)]
    return parts[0] if len(parts) == 1 else "Only when all of this is so: " + " ".join(parts)


def _budget(policy: Policy) -> str:
    """The false-alarm budget as the end of a sentence."""
    n = policy.false_alarms_per_month
    if n <= 0:
        return ""
    return f", or above what the reference's own ups and downs would pass {n:g} {'time' if n == 1 else 'times'} a month"


_GATE_SENTENCES = {
    "none": "Every new model is let in.",
    "held_back": "A new model is let in when it does better by the policy's metric than the champion on newest rows that neither has seen.",
    "superior": (
        f"A new model is let in when it is significantly better than the champion on newest rows that neither has seen (p at most {MCNEMAR_ALPHA}), "
        "no worse on any slice, as well calibrated, and has not forgotten past regimes."
    ),
}

_SENTENCES: dict[str, Callable[[Policy], str]] = {
    "no_champion": lambda p: "The first race starts as soon as there are labelled rows.",
    "by_hand": lambda p: "Somebody can ask for a race at any time.",
    "below_threshold": lambda p: (
        f"Retrains when the measured {metric_in_reason(p.metric)} is {sides(p.metric)[0]} {p.threshold:g} over at least {p.min_rows:,} rows."
    ),
    "below_recent_mean": lambda p: (
        f"Retrains when the measured {metric_in_reason(p.metric)} falls below its own recent mean by more than chance."
    ),
    "estimated_below": lambda p: (
        f"Where labels have not come, retrains when the estimated {metric_in_reason(p.metric)} is {sides(p.metric)[0]} {p.threshold:g} "
        "with its whole band; off while labels contradict the estimate."
    ),
    "change_found": lambda p: "Retrains when the champion's errors change to a higher rate.",
    "error_alarm": lambda p: "Retrains when ADWIN or Page-Hinkley sees the error rate rise in the stream of answers.",
    "drift_share": lambda p: (
        f"Retrains when {p.drift_share:.0%} or more of the features drifted: a change counts when chance would make any in only {p.drift_alpha:.2%} of the checks "
        f"and its size is above {p.drift_gate:g}{_budget(p)}."
    ),
    "new_labels": lambda p: f"Retrains every {p.new_labels:,} newly labelled rows.",
    "age": lambda p: (
        f"Retrains when the last race is older than {duration(p.max_age_s)}."
        if p.max_age_s > 0
        else "Age alone does not retrain."
    ),
    "schedule": lambda p: (
        f"Retrains on the schedule '{p.schedule}' (crontab, UTC), where new labels have come."
        if p.schedule
        else "No schedule is set."
    ),
}
