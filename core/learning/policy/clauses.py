"""What lets a challenger in: clauses that are told of a comparison, the gates that ask for them, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Literal

from core.records import Clause, Comparison, Policy, Verdict, as_written, because, metrics_of

MCNEMAR_ALPHA = 0.05
EVIDENCE_NEEDED = 40.0  # x : 1 that one of two models is better, looked at after every batch: wrong at most once in 40


def _comparable(comparison: Comparison, policy: Policy) -> Clause:
    passed = comparison.n > 0
    reason = because("comparable", rows=comparison.n) if passed else because("not_comparable")
    return Clause(name="comparable", passed=passed, reason=reason, observed=comparison.n, required=1)


def _right_more_often(comparison: Comparison, policy: Policy) -> Clause:
    """Better by the metric that the comparison could tell, by however little."""
    split = {
        "regression": comparison.metric in metrics_of("regression"),
        "wins": comparison.wins,
        "losses": comparison.losses,
    }
    reason, found = because("right_more_often", **split), comparison.difference
    if found is None or found.value is None:
        passed = comparison.wins > comparison.losses
        return Clause(name="right_more_often", passed=passed, reason=reason, observed=comparison.wins, required=comparison.losses + 1)  # fmt: skip
    if found.metric != "accuracy" or found.value * (comparison.wins - comparison.losses) <= 0 != found.value:
        reason = because("better_by_metric", metric=found.metric, by=found.value, rows=comparison.n, **split)
    return Clause(name="right_more_often", passed=found.value > 0, reason=reason, observed=found.value, required=0.0)


def _significantly_better(comparison: Comparison, policy: Policy) -> Clause:
    p = comparison.p if comparison.p is not None else 1.0
    found = comparison.difference
    ahead = found.value > 0 if found is not None and found.value is not None else comparison.wins > comparison.losses
    passed = ahead and p <= MCNEMAR_ALPHA
    reason = because("significantly_better", p=p, allowed=MCNEMAR_ALPHA, test=comparison.test)
    return Clause(name="significantly_better", passed=passed, reason=reason, observed=p, required=MCNEMAR_ALPHA)


def _fits_schema(comparison: Comparison, policy: Policy) -> Clause:
    passed = not comparison.problem
    reason = because("fits_schema") if passed else as_written(comparison.problem)
    return Clause(name="fits_schema", passed=passed, reason=reason)


def _not_worse(comparison: Comparison, policy: Policy) -> Clause:
    """The paired interval: fails only where the whole of it lies on the champion's side."""
    d = comparison.difference
    if d is None or d.value is None or d.high is None or d.low is None:
        return Clause(name="not_worse", passed=True, reason=because("no_paired_interval"))
    worse = d.high < 0  # in every task above 0 is better: errors are taken with a minus
    reason = because("not_worse", metric=d.metric, value=d.value, low=d.low, high=d.high, worse=worse)
    return Clause(name="not_worse", passed=not worse, reason=reason, observed=d.value, required=0.0)


def _worst_slice(comparison: Comparison, policy: Policy) -> Clause:
    """Fails where the challenger is worse on some slice of the rows, beyond the chance of finding one among all tried."""
    found = comparison.worst_slice
    if found is None:
        return Clause(name="worst_slice", passed=True, reason=because("no_slice"))
    allowed = MCNEMAR_ALPHA / found.tried
    passed = found.losses <= found.wins or found.p > allowed
    reason = because("worst_slice", **asdict(found), allowed=allowed)
    return Clause(name="worst_slice", passed=passed, reason=reason, observed=found.p, required=allowed)


def _forgets(comparison: Comparison, policy: Policy) -> Clause:
    found = comparison.past
    if found is None:
        return Clause(name="forgetting", passed=True, reason=because("no_past"))
    limit = policy.max_forgetting
    passed = limit <= 0 or found.difference >= -limit or found.answers_change
    reason = because("forgetting", **asdict(found), limit=limit)
    return Clause(
        name="forgetting",
        passed=passed,
        reason=reason,
        observed=found.difference,
        required=-limit if limit > 0 else None,
    )


def _calibrated(comparison: Comparison, policy: Policy) -> Clause:
    found = comparison.calibration
    if found is None:
        return Clause(name="calibration", passed=True, reason=because("no_calibration"))
    allowed = abs(found.champion or 0.0) + 2 * found.error
    passed = abs(found.challenger) <= allowed
    regression = comparison.metric in metrics_of("regression")
    reason = because("calibration", **asdict(found), allowed=allowed, regression=regression)
    return Clause(name="calibration", passed=passed, reason=reason, observed=found.challenger, required=allowed)


def _quick_enough(comparison: Comparison, policy: Policy) -> Clause:
    if comparison.seconds is None:
        return Clause(name="prediction_time", passed=True, reason=because("not_timed"))
    spent = 1_000 * comparison.seconds["challenger"]
    limit = policy.max_predict_ms
    passed = limit <= 0 or spent <= limit
    reason = because("prediction_time", milliseconds=spent, limit=limit)
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
        return Verdict(promote=True, kind="promotion", reason=because("first_model"))
    names = GATES[policy.gate]
    if not names:
        return Verdict(promote=True, kind=kind, reason=because("no_gate"))
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
