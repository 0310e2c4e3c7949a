"""What promotes a challenger: the clauses checked on a comparison, the gates that require them, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Literal

from core.records import Clause, Comparison, Policy, Verdict, as_written, because, metrics_of

MCNEMAR_ALPHA = 0.05
EVIDENCE_NEEDED = 40.0  # x : 1 that one of two models is better, checked after every batch: wrong at most once in 40


def _comparable(comparison: Comparison, policy: Policy) -> Clause:
    passed = comparison.n > 0
    reason = because("comparable", rows=comparison.n) if passed else because("not_comparable")
    return Clause(name="comparable", passed=passed, reason=reason, observed=comparison.n, required=1)


def _right_more_often(comparison: Comparison, policy: Policy) -> Clause:
    """Better by the metric of the comparison, by any amount."""
    split = {
        "regression": comparison.metric in metrics_of("regression"),
        "wins": comparison.wins,
        "losses": comparison.losses,
    }
    reason, d = because("right_more_often", **split), comparison.difference
    if d is None or d.value is None:
        passed = comparison.wins > comparison.losses
        return Clause(name="right_more_often", passed=passed, reason=reason, observed=comparison.wins, required=comparison.losses + 1)  # fmt: skip
    if d.metric != "accuracy" or d.value * (comparison.wins - comparison.losses) <= 0 != d.value:
        reason = because("better_by_metric", metric=d.metric, by=d.value, rows=comparison.n, **split)
    return Clause(name="right_more_often", passed=d.value > 0, reason=reason, observed=d.value, required=0.0)


def _significantly_better(comparison: Comparison, policy: Policy) -> Clause:
    p = comparison.p if comparison.p is not None else 1.0
    d = comparison.difference
    ahead = d.value > 0 if d is not None and d.value is not None else comparison.wins > comparison.losses
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
    worse = d.high < 0  # above 0 is better in every task: errors are negated
    reason = because("not_worse", metric=d.metric, value=d.value, low=d.low, high=d.high, worse=worse)
    return Clause(name="not_worse", passed=not worse, reason=reason, observed=d.value, required=0.0)


def _worst_slice(comparison: Comparison, policy: Policy) -> Clause:
    """Fails where the challenger is worse on some slice of the rows, significantly, corrected for the number of slices tried (Bonferroni)."""
    worst = comparison.worst_slice
    if worst is None:
        return Clause(name="worst_slice", passed=True, reason=because("no_slice"))
    allowed = MCNEMAR_ALPHA / worst.tried
    passed = worst.losses <= worst.wins or worst.p > allowed
    reason = because("worst_slice", **asdict(worst), allowed=allowed)
    return Clause(name="worst_slice", passed=passed, reason=reason, observed=worst.p, required=allowed)


def _forgets(comparison: Comparison, policy: Policy) -> Clause:
    past = comparison.past
    if past is None:
        return Clause(name="forgetting", passed=True, reason=because("no_past"))
    limit = policy.max_forgetting
    passed = limit <= 0 or past.difference >= -limit or past.answers_change
    reason = because("forgetting", **asdict(past), limit=limit)
    return Clause(
        name="forgetting",
        passed=passed,
        reason=reason,
        observed=past.difference,
        required=-limit if limit > 0 else None,
    )


def _calibrated(comparison: Comparison, policy: Policy) -> Clause:
    gap = comparison.calibration
    if gap is None:
        return Clause(name="calibration", passed=True, reason=because("no_calibration"))
    allowed = abs(gap.champion or 0.0) + 2 * gap.error
    passed = abs(gap.challenger) <= allowed
    regression = comparison.metric in metrics_of("regression")
    reason = because("calibration", **asdict(gap), allowed=allowed, regression=regression)
    return Clause(name="calibration", passed=passed, reason=reason, observed=gap.challenger, required=allowed)


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
    """Whether the challenger is promoted. Every clause is reported; those of the policy's gate decide.

    Args:
        comparison: None when the gate holds out no rows.
        first: there is no champion yet; whatever could be fitted is promoted.
        kind: of the event if it is promoted.
    """
    if first:
        return Verdict(promote=True, kind="promotion", reason=because("first_model"))
    names = GATES[policy.gate]
    if not names:
        return Verdict(promote=True, kind=kind, reason=because("no_gate"))
    if comparison is None:
        raise ValueError(f"Gate '{policy.gate}' needs a comparison.")
    checked = (check(comparison, policy) for check in CLAUSES.values())
    clauses = tuple(replace(clause, decides=clause.name in names) for clause in checked)
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

# Clauses that each gate requires; without any, no rows are held out and every challenger is promoted.
GATES: dict[str, tuple[str, ...]] = {
    "none": (),
    "held_back": ("comparable", "fits_schema", "right_more_often"),
    "superior": tuple(CLAUSES),
}

# Rows of the newest batch that a gate tests on. Random ones leave the newest for learning; the newest are nearer to future
# rows, and none of their neighbours in time was trained on.
HOLD_OUTS: dict[str, str] = {"random": "a random quarter of the newest rows", "newest": "the very newest rows"}
