"""A false-alarm budget raises the gates of features that wander by themselves, and keeps its promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from core.drift.budget import budget_gates
from core.drift.univariate import measure_drift
from core.records import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="wanders", kind="numeric"),
        Feature(name="steady", kind="numeric"),
        Feature(name="site", kind="categorical"),
    ),
)
ASKED = {"current_rows": 200, "checks_per_month": 30.0, "alarms_per_month": 1.0, "gate": 0.02, "seed": 0}


def rows(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """A feature that goes up and down by itself over some hundred rows, one that does not, and sites that come in runs."""
    level = np.convolve(rng.normal(size=n + 199), np.ones(200), "valid") / np.sqrt(200)
    site = np.repeat(rng.choice(["a", "b", "c"], n // 20 + 1), 20)[:n]
    return pd.DataFrame(
        {
            "wanders": level + rng.normal(size=n),
            "steady": rng.normal(size=n),
            "site": pd.Series(site, dtype="str"),
        }
    )


def test_demo_the_gate_of_a_wandering_feature_is_raised_most() -> None:
    gates = budget_gates(rows(np.random.default_rng(0), 4_000), SCHEMA, **ASKED)
    assert gates["wanders"] > 2 * gates["steady"]
    assert gates["site"] > gates["steady"] > 0.02


@pytest.mark.slow
def test_the_budget_is_kept_where_the_plain_gate_breaks_it() -> None:
    rng = np.random.default_rng(1)
    alarms = plain = 0
    months, checks = 10, 30
    for _ in range(months):
        reference = rows(rng, 4_000)
        gates = budget_gates(reference, SCHEMA, **ASKED)
        for _ in range(checks):
            current = rows(rng, 200)
            alarms += bool(measure_drift(reference, current, SCHEMA, gate=0.02, gates=gates).drifted)
            plain += bool(measure_drift(reference, current, SCHEMA, gate=0.02).drifted)
    assert plain > 0.3 * months * checks
    # One a month on average; more than this has a chance of 1 in 1,000.
    assert alarms <= binom.ppf(0.999, months * checks, 1 / checks)


def test_a_real_change_still_passes_the_raised_gate() -> None:
    rng = np.random.default_rng(2)
    reference = rows(rng, 4_000)
    gates = budget_gates(reference, SCHEMA, **ASKED)
    moved = rows(rng, 200).assign(steady=rng.normal(2, 1, 200))
    report = measure_drift(reference, moved, SCHEMA, gate=0.02, gates=gates)
    assert "steady" in report.drifted
    (score,) = [s for s in report.scores if s.name == "steady"]
    assert score.gate == pytest.approx(gates["steady"])


def test_too_short_a_reference_raises_nothing() -> None:
    assert budget_gates(rows(np.random.default_rng(3), 500), SCHEMA, **ASKED) == {}


def test_columns_that_hold_nothing_usable_are_left_at_the_common_gate() -> None:
    frame = rows(np.random.default_rng(4), 4_000).assign(wanders=np.nan, steady="text")
    gates = budget_gates(frame, SCHEMA, **ASKED)
    assert set(gates) <= {"site"}
    assert budget_gates(frame, SCHEMA, **{**ASKED, "current_rows": 0}) == {}


def test_the_same_rows_and_seed_give_the_same_gates() -> None:
    frame = rows(np.random.default_rng(5), 3_000)
    assert budget_gates(frame, SCHEMA, **ASKED) == budget_gates(frame, SCHEMA, **ASKED)
