"""A false-alarm budget raises the gates of features that wander by themselves, and keeps its promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from core.drift.budget import Gates, budget_gates
from core.drift.rules import DriftRules
from core.drift.univariate import measure_drift
from core.records import Feature, FeatureSchema
from core.text.reasons import sentence

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
    gates = budget_gates(rows(np.random.default_rng(0), 4_000), SCHEMA, **ASKED).values
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
            alarms += bool(measure_drift(reference, current, SCHEMA, rules=DriftRules(gate=0.02, gates=gates)).drifted)
            plain += bool(measure_drift(reference, current, SCHEMA, rules=DriftRules(gate=0.02)).drifted)
    assert plain > 0.3 * months * checks
    # One a month on average; more than this has a chance of 1 in 1,000.
    assert alarms <= binom.ppf(0.999, months * checks, 1 / checks)


def test_a_real_change_still_passes_the_raised_gate() -> None:
    rng = np.random.default_rng(2)
    reference = rows(rng, 4_000)
    gates = budget_gates(reference, SCHEMA, **ASKED)
    moved = rows(rng, 200).assign(steady=rng.normal(2, 1, 200))
    report = measure_drift(reference, moved, SCHEMA, rules=DriftRules(gate=0.02, gates=gates))
    assert "steady" in report.drifted
    (score,) = [s for s in report.scores if s.name == "steady"]
    assert score.gate == pytest.approx(gates.values["steady"])


def test_too_short_a_reference_raises_nothing() -> None:
    assert budget_gates(rows(np.random.default_rng(3), 500), SCHEMA, **ASKED) == Gates()


def test_columns_that_hold_nothing_usable_are_left_at_the_common_gate() -> None:
    frame = rows(np.random.default_rng(4), 4_000).assign(wanders=np.nan, steady="text")
    gates = budget_gates(frame, SCHEMA, **ASKED)
    assert set(gates.values) | set(gates.categories) <= {"site"}
    assert budget_gates(frame, SCHEMA, **{**ASKED, "current_rows": 0}) == Gates()


def test_the_same_rows_and_seed_give_the_same_gates() -> None:
    frame = rows(np.random.default_rng(5), 3_000)
    assert budget_gates(frame, SCHEMA, **ASKED) == budget_gates(frame, SCHEMA, **ASKED)


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_a_column_that_wanders_and_falls_silent_is_seen(share: float) -> None:
    rng = np.random.default_rng(6)
    level = np.zeros(4_000)
    for i in range(1, len(level)):
        level[i] = 0.98 * level[i - 1] + rng.normal()
    frame = rows(rng, 4_000).assign(wanders=np.where(rng.random(4_000) < share, np.nan, level))
    gates = budget_gates(frame, SCHEMA, **ASKED)
    # Of 200 independent rows the miss rate is off by sqrt(.05 * .95 / 200) = .015, and never by seven times as much.
    assert gates.values["wanders"] > 0.3 and gates.missing.get("wanders", 0.02) < 0.11
    current = frame[-200:].reset_index(drop=True)
    silent = current.assign(wanders=current["wanders"].where(rng.random(200) > 0.25))
    score = measure_drift(frame, silent, SCHEMA, rules=DriftRules(gate=0.02, gates=gates)).scores[0]
    assert score.drifted and "missing in" in sentence(score.reason)


def test_cells_that_are_missing_in_runs_and_categories_that_come_and_go_have_raised_gates() -> None:
    rng = np.random.default_rng(7)
    run = np.arange(4_000) // 100
    frame = rows(rng, 4_000)
    frame["steady"] = frame["steady"].where((rng.random(40) > 0.2)[run])
    frame["site"] = pd.Series(np.where(rng.random(4_000) < 0.5, "common", run.astype(str)), dtype="str")
    gates = budget_gates(frame, SCHEMA, **ASKED)
    assert gates.missing["steady"] > 0.3 and set(gates.missing) == {"steady"}
    # Half the rows of a block are of runs that nobody else has, and no category occurs once.
    assert gates.categories["site"] > 0.3 and set(gates.categories) == {"site"}
