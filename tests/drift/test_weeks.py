"""Weeks in which nothing happens: how often the default gates alarm, and what they still find."""

from __future__ import annotations

import numpy as np
import pytest
from pandas import DataFrame
from scipy.signal import lfilter

from core.drift.budget import budget_gates
from core.drift.rules import DriftRules
from core.drift.univariate import measure_drift
from core.learning.policy import policy_named
from core.records import DriftReport, Feature, FeatureSchema

FEATURES, ROWS, REFERENCE, FIRST = 20, 500, 5_000, 14  # a day's rows; the first day that is checked
SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=tuple(Feature(name=f"x{i}", kind="numeric") for i in range(FEATURES)),
    classes=("a", "b"),
)
POLICY = policy_named("default")


def stream(kind: str, days: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of all days, shape (days * ROWS, FEATURES), of one law: independent, hanging together, or in a season."""
    noise, day = rng.normal(size=(days * ROWS, FEATURES)), np.arange(days * ROWS)[:, None] / ROWS
    if kind == "hanging together":
        return np.asarray(lfilter([np.sqrt(0.19)], [1, -0.9], noise, axis=0))
    if kind == "weekly":
        return noise + 0.8 * np.sin(2 * np.pi * (day / 7 + rng.random(FEATURES)))
    if kind == "daily":
        return noise + 0.8 * np.sin(2 * np.pi * (day + rng.random(FEATURES)))
    return noise


def check(rows: np.ndarray, day: int) -> DriftReport:
    """One day against the rows before, as the loop checks it where the champion learnt from those."""
    names = list(SCHEMA.names)
    before = DataFrame(rows[day * ROWS - REFERENCE : day * ROWS], columns=names)
    now = DataFrame(rows[day * ROWS : (day + 1) * ROWS], columns=names)
    gates = budget_gates(
        before, SCHEMA, current_rows=ROWS, checks_per_month=30, alarms_per_month=POLICY.false_alarms_per_month,
        gate=POLICY.drift_gate,
    )  # fmt: skip
    return measure_drift(
        before, now, SCHEMA, rules=DriftRules(alpha=POLICY.drift_alpha, gate=POLICY.drift_gate, gates=gates)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["independent", "hanging together", "weekly", "daily"])
def test_weeks_in_which_nothing_happens_bring_at_most_one_message_a_month(kind: str) -> None:
    days = FIRST + 30
    rows = stream(kind, days, np.random.default_rng(21))
    shares = [check(rows, day).share_drifted or 0.0 for day in range(FIRST, days)]
    assert sum(share >= POLICY.drift_share for share in shares) <= 1


@pytest.mark.slow
def test_a_shift_of_a_third_of_the_spread_in_two_features_is_found_within_two_days() -> None:
    rng, found = np.random.default_rng(22), 0
    for _ in range(12):
        rows = stream("independent", FIRST + 2, rng)
        rows[FIRST * ROWS :, :2] += 0.3
        found += any({"x0", "x1"} <= set(check(rows, day).drifted) for day in (FIRST, FIRST + 1))
    assert found >= 10
