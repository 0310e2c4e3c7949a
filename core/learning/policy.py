"""When to retrain and what lets a challenger in: data (`Policy`), triggers, clauses, and the decisions made from them.

Everything here is a pure function of its arguments: a stored evidence replayed through `decide` gives the stored
decision. No sklearn: pages import this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from core.drift import words
from core.errors import BadInput, FieldProblem
from core.learning.change import most_by_chance
from core.performance.realised import METRICS, higher_is_better, metrics_of
from core.records import Clause, Comparison, Decision, Evidence, Firing, Policy, Task, Verdict, to_document

FIRST_RACE_ROWS = 20  # labelled rows from which the first race starts by itself
OLD_SIGMA = 2.33  # for evidence that does not tell how many rows its mean is over: that mean is taken as known
MCNEMAR_ALPHA = 0.05
EVIDENCE_NEEDED = 40.0  # x : 1 that one of two models is better, looked at after every batch: wrong at most once in 40
BY_HAND: tuple[str, ...] = ("by_hand", "no_champion")  # triggers that wait for neither rows, cooldown nor budget
AND = "+"  # joins triggers that have to fire together


# --- triggers ---------------------------------------------------------------------------------------------------


def _no_champion(evidence: Evidence, policy: Policy) -> Firing | None:
    if evidence.has_champion or evidence.labels_since_race < FIRST_RACE_ROWS:
        return None
    n = evidence.labels_since_race
    return Firing(
        trigger="no_champion", observed=n, threshold=FIRST_RACE_ROWS,
        reason=f"There is no champion yet and {n:,} labelled rows to learn from.",
    )  # fmt: skip


def _by_hand(evidence: Evidence, policy: Policy) -> Firing | None:
    if not evidence.forced:
        return None
    return Firing(trigger="by_hand", observed=1.0, threshold=1.0, reason="Somebody asked for it.")


def _below_threshold(evidence: Evidence, policy: Policy) -> Firing | None:
    if evidence.score is None or evidence.score_n < policy.min_rows:
        return None
    if not _worse(evidence.score, policy.threshold, evidence.metric):
        return None
    side = "below" if higher_is_better(evidence.metric) else "above"
    reason = f"{_name(evidence.metric)} {_number(evidence.score)} over {evidence.score_n:,} rows is {side} the threshold {_number(policy.threshold)}."
    return Firing(trigger="below_threshold", observed=evidence.score, threshold=policy.threshold, reason=reason)


def _below_recent_mean(evidence: Evidence, policy: Policy) -> Firing | None:
    """Worse than its own recent mean by more than chance, of which that mean has its part: it is over some rows only.

    Accuracy by the exact test of two counts, any other metric by its interval, widened by what the mean leaves open.
    """
    score, mean = evidence.score, evidence.recent_mean
    if score is None or mean is None or evidence.score_n < policy.min_rows:
        return None
    n, rows = evidence.score_n, evidence.recent_rows
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
        fires = _worse(score + (best - score) * wider, mean, evidence.metric)
    if not fires:
        return None
    reason = f"{_name(evidence.metric)} {_number(score)} is worse than its recent mean {_number(mean)} by more than chance (bound {_number(bound)})."
    return Firing(trigger="below_recent_mean", observed=score, threshold=bound, reason=reason)


def _estimated_below(evidence: Evidence, policy: Policy) -> Firing | None:
    """The estimate is beyond the threshold with its whole band, no label says otherwise, and labels did not refute it."""
    if evidence.estimate_trusted is False or (evidence.score is not None and evidence.score_n >= policy.min_rows):
        return None
    best = evidence.estimated_high if higher_is_better(evidence.metric) else evidence.estimated_low
    if evidence.estimated is None or best is None or not _worse(best, policy.threshold, evidence.metric):
        return None
    side = "below" if higher_is_better(evidence.metric) else "above"
    reason = f"{_name(evidence.metric)} is estimated at {_number(evidence.estimated)} without labels, with its whole band {side} the threshold {_number(policy.threshold)}."
    return Firing(trigger="estimated_below", observed=evidence.estimated, threshold=policy.threshold, reason=reason)


def _change_found(evidence: Evidence, policy: Policy) -> Firing | None:
    if not evidence.change_found:
        return None
    return Firing(
        trigger="change_found", observed=1.0, threshold=1.0,
        reason="The champion's errors changed to a higher rate inside these rows.",
    )  # fmt: skip


def _error_alarm(evidence: Evidence, policy: Policy) -> Firing | None:
    if not evidence.error_alarms:
        return None
    n = len(evidence.error_alarms)
    return Firing(trigger="error_alarm", observed=n, threshold=1, reason=f"{'; '.join(evidence.error_alarms)}.")


def _drift_share(evidence: Evidence, policy: Policy) -> Firing | None:
    share = evidence.share_drifted
    if share is None or share <= 0 or share < policy.drift_share:
        return None
    names = ", ".join(evidence.drifted[:3]) + (" and others" if len(evidence.drifted) > 3 else "")
    reason = f"{share:.0%} of the features drifted ({names}), the policy's limit is {policy.drift_share:.0%}."
    return Firing(trigger="drift_share", observed=share, threshold=policy.drift_share, reason=reason)


def _new_labels(evidence: Evidence, policy: Policy) -> Firing | None:
    n = evidence.labels_since_race
    if n < policy.new_labels:
        return None
    reason = f"{n:,} labelled rows since the last race, the policy races every {policy.new_labels:,}."
    return Firing(trigger="new_labels", observed=n, threshold=policy.new_labels, reason=reason)


def _age(evidence: Evidence, policy: Policy) -> Firing | None:
    age, limit = evidence.seconds_since_race, policy.max_age_s
    if age is None or limit <= 0 or age < limit:
        return None
    reason = f"The last race was {_duration(age)} ago, the policy races at least every {_duration(limit)}."
    return Firing(trigger="age", observed=age, threshold=limit, reason=reason)


def _schedule(evidence: Evidence, policy: Policy) -> Firing | None:
    if not evidence.schedule_due or not policy.schedule:
        return None
    reason = f"An instant of the schedule '{policy.schedule}' (UTC) has passed since the last race."
    return Firing(trigger="schedule", observed=1.0, threshold=1.0, reason=reason)


def next_scheduled(schedule: str, after: datetime) -> datetime | None:
    """The first instant of a crontab line (UTC) after `after`; None without a line, or when there is none."""
    from apscheduler.triggers.cron import CronTrigger

    if not schedule:
        return None
    trigger = CronTrigger.from_crontab(schedule, timezone="UTC")
    return trigger.get_next_fire_time(after, after)


# --- deciding ---------------------------------------------------------------------------------------------------


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
        waiting = f"The cooldown has {_duration(policy.cooldown_s - since)} to go."
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
        return f"No trigger fired; no labelled row to measure {_name(evidence.metric)} on."
    return f"No trigger fired: {_name(evidence.metric)} {_number(evidence.score)} over {evidence.score_n:,} rows."


# --- clauses and the verdict ------------------------------------------------------------------------------------


def _comparable(comparison: Comparison, policy: Policy) -> Clause:
    passed = comparison.n > 0
    reason = (
        f"Compared on {comparison.n:,} labelled rows that neither has seen."
        if passed
        else "There is no labelled row that neither has seen. Wait for new labels."
    )
    return Clause(name="comparable", passed=passed, reason=reason, observed=comparison.n, required=1)


def _right_more_often(comparison: Comparison, policy: Policy) -> Clause:
    """Better by the metric that the comparison could tell, by however little."""
    better = "nearer" if comparison.metric in metrics_of("regression") else "right"
    split = f"the challenger alone is {better} on {comparison.wins:,} rows, the champion alone on {comparison.losses:,}"
    found = comparison.difference
    if found is None or found.value is None:
        passed = comparison.wins > comparison.losses
        reason = f"{split[0].upper()}{split[1:]}."
        return Clause(name="right_more_often", passed=passed, reason=reason, observed=comparison.wins, required=comparison.losses + 1)  # fmt: skip
    reason = f"{split[0].upper()}{split[1:]}."
    if found.metric != "accuracy" or found.value * (comparison.wins - comparison.losses) <= 0 != found.value:
        way = "better" if found.value > 0 else "worse" if found.value < 0 else "no better"
        by = f" by {abs(found.value):.3f}" if found.value else ""
        reason = f"{_name(found.metric)} is {way}{by} than the champion's on the same {comparison.n:,} rows; {split}."
    return Clause(name="right_more_often", passed=found.value > 0, reason=reason, observed=found.value, required=0.0)


def _significantly_better(comparison: Comparison, policy: Policy) -> Clause:
    p = comparison.p if comparison.p is not None else 1.0
    found = comparison.difference
    ahead = found.value > 0 if found is not None and found.value is not None else comparison.wins > comparison.losses
    passed = ahead and p <= MCNEMAR_ALPHA
    reason = (
        f"Chance of so large a difference between equals: {p:.3f}, at most {MCNEMAR_ALPHA} allowed ({comparison.test})."
    )
    return Clause(name="significantly_better", passed=passed, reason=reason, observed=p, required=MCNEMAR_ALPHA)


def _fits_schema(comparison: Comparison, policy: Policy) -> Clause:
    passed = not comparison.problem
    reason = comparison.problem or "Its answers fit the project's schema: known classes, finite, one a row."
    return Clause(name="fits_schema", passed=passed, reason=reason)


def _not_worse(comparison: Comparison, policy: Policy) -> Clause:
    """The paired interval: fails only where the whole of it lies on the champion's side."""
    d = comparison.difference
    if d is None or d.value is None or d.high is None or d.low is None:
        return Clause(
            name="not_worse", passed=True, reason="There is no paired interval: too few rows, or no champion."
        )
    worse = d.high < 0  # in every task above 0 is better: errors are taken with a minus
    side = "all of it on the champion's side" if worse else "not all of it on the champion's side"
    reason = f"{_name(d.metric)}, challenger minus champion on the same rows: {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f}), {side}."
    return Clause(name="not_worse", passed=not worse, reason=reason, observed=d.value, required=0.0)


def _worst_slice(comparison: Comparison, policy: Policy) -> Clause:
    """Fails where the challenger is worse on some slice of the rows, beyond the chance of finding one among all tried."""
    found = comparison.worst_slice
    if found is None:
        return Clause(name="worst_slice", passed=True, reason="No slice has enough rows to be told.")
    allowed = MCNEMAR_ALPHA / found["tried"]
    passed = found["losses"] <= found["wins"] or found["p"] > allowed
    reason = (
        f"Where it does worst, {found['rule']} ({found['n']:,} rows), the challenger alone is right on {found['wins']:,}, "
        f"the champion alone on {found['losses']:,}: p {found['p']:.3f}, below {allowed:.4f} would count among {found['tried']} slices."
    )
    return Clause(name="worst_slice", passed=passed, reason=reason, observed=found["p"], required=allowed)


def _forgets(comparison: Comparison, policy: Policy) -> Clause:
    found = comparison.past
    if found is None:
        return Clause(name="forgetting", passed=True, reason="There is no past regime to forget yet.")
    limit = policy.max_forgetting
    passed = limit <= 0 or found["difference"] >= -limit or found["answers_change"]
    allowed = "no limit set" if limit <= 0 else f"it may lose {limit:g}"
    if limit > 0 and found["answers_change"]:
        allowed += ", or more: it answers a change"
    reason = (
        f"On {found['n']:,} rows of {found['regimes']} past regime{'s' if found['regimes'] > 1 else ''} that nothing learnt from: "
        f"challenger {_number(found['challenger'])}, champion {_number(found['champion'])}; {allowed}."
    )
    return Clause(
        name="forgetting",
        passed=passed,
        reason=reason,
        observed=found["difference"],
        required=-limit if limit > 0 else None,
    )


def _calibrated(comparison: Comparison, policy: Policy) -> Clause:
    found = comparison.calibration
    if found is None:
        return Clause(name="calibration", passed=True, reason="Its probabilities could not be told from the rows.")
    allowed = abs(found["champion"] or 0.0) + 2 * found["error"]
    passed = abs(found["challenger"]) <= allowed
    what = "bias in spreads" if comparison.metric in metrics_of("regression") else "confidence minus accuracy"
    beside = f", champion {found['champion']:+.3f}" if found["champion"] is not None else ""
    reason = f"{what.capitalize()}: challenger {found['challenger']:+.3f}{beside}; up to {allowed:.3f} either way is within what these rows can tell."
    return Clause(name="calibration", passed=passed, reason=reason, observed=found["challenger"], required=allowed)


def _quick_enough(comparison: Comparison, policy: Policy) -> Clause:
    if comparison.seconds is None:
        return Clause(
            name="prediction_time", passed=True, reason="Prediction time was not measured: no clock in a replay."
        )
    spent = 1_000 * comparison.seconds["challenger"]
    limit = policy.max_predict_ms
    passed = limit <= 0 or spent <= limit
    told = f"at most {limit:g} allowed" if limit > 0 else "no limit set"
    reason = f"It takes {spent:.1f} ms for 1,000 rows; {told}."
    return Clause(name="prediction_time", passed=passed, reason=reason, observed=spent, required=limit or None)


def verdict(
    comparison: Comparison | None,
    policy: Policy,
    *,
    first: bool = False,
    kind: Literal["promotion", "refresh"] = "promotion",
) -> Verdict:
    """Whether the challenger is let in. Every clause is told; those of the policy's gate decide.

    Args:
        comparison: None when the gate holds no rows back.
        first: there is no champion yet; whatever could be fitted is let in.
        kind: what letting it in would be called.
    """
    if first:
        return Verdict(
            promote=True, kind="promotion", reason="The first model of the project: there is nothing to beat."
        )
    names = GATES[policy.gate]
    if not names:
        return Verdict(promote=True, kind=kind, reason="This policy lets every new model in.")
    if comparison is None:
        raise ValueError(f"Gate '{policy.gate}' needs a comparison.")
    told = (check(comparison, policy) for check in CLAUSES.values())
    clauses = tuple(replace(clause, decides=clause.name in names) for clause in told)
    deciding = [clause for clause in clauses if clause.decides]
    failed = [clause for clause in deciding if not clause.passed]
    if failed:
        return Verdict(promote=False, kind="none", reason=failed[0].reason, clauses=clauses)
    won = next(clause for clause in deciding if clause.name == "right_more_often")
    return Verdict(promote=True, kind=kind, reason=won.reason, clauses=clauses)


# --- policies as data -------------------------------------------------------------------------------------------


def policy_named(name: str, **changes: Any) -> Policy:
    """One of the ready-made policies, with fields changed; "default" is "balanced".

    Raises:
        BadInput: no such policy, no such field, or a value out of range.
    """
    known = "balanced" if name == "default" else name
    if known not in POLICIES:
        raise BadInput(f"There is no policy '{name}'. Expected one of: default, {', '.join(POLICIES)}.")
    return policy_from_document({**policy_to_document(POLICIES[known]), **changes}) if changes else POLICIES[known]


def policy_to_document(policy: Policy) -> dict[str, Any]:
    """The policy as plain JSON values."""
    return to_document(policy)


def policy_from_document(document: Mapping[str, Any]) -> Policy:
    """The policy that a document describes; absent fields take their default.

    Raises:
        BadInput: with one problem a field: unknown, of the wrong type, or out of range.
    """
    if not isinstance(document, Mapping):
        raise BadInput(f"A policy is an object of fields, found {type(document).__name__}.")
    problems: list[FieldProblem] = []
    values: dict[str, Any] = {}
    for name, value in document.items():
        rule = _FIELDS.get(name)
        if rule is None:
            problems.append(FieldProblem(name, "unknown field", f"one of {', '.join(_FIELDS)}"))
            continue
        try:
            values[name] = rule(value)
        except (TypeError, ValueError) as error:
            problems.append(FieldProblem(name, repr(value), str(error)))
    if "name" not in document:
        problems.append(FieldProblem("name", "nothing", "text"))
    if problems:
        first = problems[0]
        raise BadInput(
            f"The policy cannot be taken: {first.field} is {first.seen}, expected {first.expected}.", tuple(problems)
        )
    return Policy(**values)


def metric_for(policy: Policy, task: Task) -> str:
    """The metric that the policy measures on this task: its own where the task has it, else accuracy or R2."""
    if policy.metric in metrics_of(task):
        return policy.metric
    return "r2" if task == "regression" else "accuracy"


def describe(policy: Policy) -> tuple[str, ...]:
    """The policy in sentences with its values, for a page."""
    lines = [_trigger_sentence(entry, policy) for entry in policy.triggers]
    if policy.cooldown_s > 0:
        lines.append(f"Races are at least {_duration(policy.cooldown_s)} apart.")
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


# --- words and checks -------------------------------------------------------------------------------------------


def _budget(policy: Policy) -> str:
    """The false-alarm budget as the end of a sentence."""
    n = policy.false_alarms_per_month
    if n <= 0:
        return ""
    return f", or above what the reference's own ups and downs would pass {n:g} {'time' if n == 1 else 'times'} a month"


def _worse(score: float, than: float, metric: str) -> bool:
    return score < than if higher_is_better(metric) else score > than


def _name(metric: str) -> str:
    return METRICS[metric].label


def _number(value: float) -> str:
    return words.score(value)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text")
    return value


def _metric(value: Any) -> str:
    if value not in METRICS:
        raise ValueError(f"one of {', '.join(METRICS)}")
    return value


def _one_of(table: Callable[[], Mapping[str, Any]]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in table():
            raise ValueError(f"one of {', '.join(table())}")
        return value

    return check


def _trigger(value: Any) -> str:
    check = _one_of(lambda: TRIGGERS)
    if not isinstance(value, str):
        raise ValueError("a trigger's name")
    return AND.join(check(name.strip()) for name in value.split(AND))


def _crontab(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a crontab line such as '0 3 * * *', or nothing")
    line = " ".join(value.split())
    if line:
        from apscheduler.triggers.cron import CronTrigger

        try:
            CronTrigger.from_crontab(line, timezone="UTC")
        except ValueError as error:
            raise ValueError(
                "a crontab line such as '0 3 * * *' (minute, hour, day, month, weekday), or nothing"
            ) from error
    return line


def _several(check: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    def check_all(value: Any) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ValueError("a list of names")
        return tuple(check(item) for item in value)

    return check_all


def _window(value: Any) -> str:
    text = str(value)
    if text not in ("change", "all") and not (text.isdecimal() and int(text) >= 2):
        raise ValueError('"change", "all" or a number of rows from 2')
    return text


def _number_in(low: float, high: float = math.inf) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not low <= value <= high
            or math.isinf(value)
        ):
            raise ValueError(f"a number from {low:g}" + (f" to {high:g}" if math.isfinite(high) else ""))
        return float(value)

    return check


def _whole(low: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < low:
            raise ValueError(f"a whole number from {low}")
        return int(value)

    return check


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

CLAUSES: dict[str, Callable[[Comparison, Policy], Clause]] = {
    "comparable": _comparable,
    "fits_schema": _fits_schema,
    "right_more_often": _right_more_often,
    "significantly_better": _significantly_better,
    "not_worse": _not_worse,
    "worst_slice": _worst_slice,
    "forgetting": _forgets,
    "calibration": _calibrated,
    "prediction_time": _quick_enough,
}

# Which clauses each gate asks for; without any, nothing is held back and everything is let in.
GATES: dict[str, tuple[str, ...]] = {
    "none": (),
    "held_back": ("comparable", "fits_schema", "right_more_often"),
    "superior": tuple(CLAUSES),
}

# Rows of the newest batch that a gate tests on. Random ones leave the newest for learning; the newest are nearer to what comes,
# and none of their neighbours in time was learnt from.
HOLD_OUTS: dict[str, str] = {"random": "a random quarter of the newest rows", "newest": "the very newest rows"}

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
        f"Retrains when the measured {_name(p.metric)} is {'below' if higher_is_better(p.metric) else 'above'} {p.threshold:g} over at least {p.min_rows:,} rows."
    ),
    "below_recent_mean": lambda p: (
        f"Retrains when the measured {_name(p.metric)} falls below its own recent mean by more than chance."
    ),
    "estimated_below": lambda p: (
        f"Where labels have not come, retrains when the estimated {_name(p.metric)} is {'below' if higher_is_better(p.metric) else 'above'} {p.threshold:g} "
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
        f"Retrains when the last race is older than {_duration(p.max_age_s)}."
        if p.max_age_s > 0
        else "Age alone does not retrain."
    ),
    "schedule": lambda p: (
        f"Retrains on the schedule '{p.schedule}' (crontab, UTC), where new labels have come."
        if p.schedule
        else "No schedule is set."
    ),
}

# The kinds of model that a policy may name, in words; `models.MODEL_FAMILIES` builds them. Here, because a page that
# offers them does not load sklearn.
FAMILY_LABELS: dict[str, str] = {
    "logistic": "logistic regression",
    "ridge": "ridge regression",
    "boosting": "gradient boosting",
    "dated_boosting": "gradient boosting with row number",
    "linear_boosting": "linear with boosting on its residuals",
    "extra_trees": "extra-trees",
    "neighbours": "nearest neighbours",
    "constant": "constant",
}

_FIELDS: dict[str, Callable[[Any], Any]] = {
    "name": _text,
    "metric": _metric,
    "threshold": _number_in(-math.inf),
    "triggers": _several(_trigger),
    "drift_share": _number_in(0, 1),
    "new_labels": _whole(1),
    "min_rows": _whole(1),
    "families": _several(_one_of(lambda: FAMILY_LABELS)),
    "windows": _several(_window),
    "max_fits": _number_in(0),
    "min_new_share": _number_in(0, 1),
    "max_train_rows": _whole(20),
    "gate": _one_of(lambda: GATES),
    "hold_out": _one_of(lambda: HOLD_OUTS),
    "fit_timeout_s": _number_in(0),
    "archive": _whole(0),
    "max_forgetting": _number_in(0),
    "max_predict_ms": _number_in(0),
    "shadow_rows": _whole(0),
    "cooldown_s": _number_in(0),
    "races_per_day": _whole(0),
    "schedule": _crontab,
    "max_age_s": _number_in(0),
    "drift_gate": _number_in(0, 1),
    "drift_alpha": _number_in(0, 1),
    "false_alarms_per_month": _number_in(0),
}

_ALWAYS = ("no_champion", "by_hand")
_WATCHFUL = (
    *_ALWAYS, "below_threshold", "below_recent_mean", "estimated_below", "change_found", "drift_share", "new_labels",
)  # fmt: skip

POLICIES: dict[str, Policy] = {
    # Races once, on the warm-up; what every other policy has to beat.
    "never": Policy(name="never", triggers=("no_champion",)),
    # The rule this project began with: below the threshold, the linear model is refitted on everything and let in.
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
