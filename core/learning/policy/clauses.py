"""What lets a challenger in: clauses that are told of a comparison, the gates that ask for them, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from core.records import Clause, Comparison, Policy, Verdict, metrics_of
from core.words import metric_in_reason, plain_score

MCNEMAR_ALPHA = 0.05
EVIDENCE_NEEDED = 40.0  # x : 1 that one of two models is better, looked at after every batch: wrong at most once in 40


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
        reason = f"{metric_in_reason(found.metric)} is {way}{by} than the champion's on the same {comparison.n:,} rows; {split}."
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
    reason = f"{metric_in_reason(d.metric)}, challenger minus champion on the same rows: {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f}), {side}."
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
        f"challenger {plain_score(found['challenger'])}, champion {plain_score(found['champion'])}; {allowed}."
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
