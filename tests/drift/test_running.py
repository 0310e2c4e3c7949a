"""Evidence over many batches: steady ones alarm no more often than is said, and a shift adds up to one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, binom, poisson

from core.drift.profile import EMPTY, Profile, profile
from core.drift.running import NEEDED, ROWS, Running, running, upper_bound
from core.records import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        *(Feature(name=f"x{n}", kind="numeric") for n in range(3)),
        Feature(name="c", kind="categorical"),
    ),
)


def rows(rng: np.random.Generator, n: int, *, shift: float = 0.0, c: float = 0.3, missing: float = 0.1) -> Profile:
    """Three numbers, of which x0 may move and x1 fall silent, and a category."""
    frame = pd.DataFrame({f"x{i}": rng.normal(shift if i == 0 else 0.0, 1.0, n) for i in range(3)})
    frame.loc[rng.random(n) < missing, "x1"] = np.nan
    frame["c"] = pd.Series(np.where(rng.random(n) < c, "a", rng.choice(["b", "d"], n)), dtype="str")
    return profile(frame, SCHEMA)


def found(series: dict[str, Running]) -> set[str]:
    """Features whose evidence ever reached what is needed."""
    return {name for name, r in series.items() if max(e or 0.0 for e in r.evidence) >= NEEDED}


@pytest.mark.parametrize(("size", "batches"), [(500, 40), (50, 120)])
def test_steady_batches_alarm_no_more_often_than_is_said(size: int, batches: int) -> None:
    alarms, runs = 0, 12
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        reference = rows(rng, 1000)
        alarms += bool(found(running([rows(rng, size) for _ in range(batches)], reference, SCHEMA, gate=0.0)))
    # Once in 50,000 rows at most, and the reference itself misleads in at most one of a hundred runs.
    assert alarms <= poisson.ppf(0.999, runs * (size * batches / (NEEDED * ROWS) + 0.01))


def test_a_reference_of_few_rows_that_scored_low_is_no_drift() -> None:
    # 40 rows of .5 show .3 or less in one of a hundred: every later batch differs from it, and none has moved.
    schema = FeatureSchema(task="binary", target="y", features=(Feature(name="c", kind="categorical"),))
    rng = np.random.default_rng(0)
    reference = profile(pd.DataFrame({"c": pd.Series(["a"] * 12 + ["b"] * 28, dtype="str")}), schema)
    later = [
        profile(pd.DataFrame({"c": pd.Series(rng.choice(["a", "b"], 500), dtype="str")}), schema) for _ in range(50)
    ]
    assert not found(running(later, reference, schema, gate=0.0))


@pytest.mark.parametrize(
    ("change", "name"), [({"shift": 0.5}, "x0"), ({"c": 0.6}, "c"), ({"missing": 0.35}, "x1"), ({"shift": -0.5}, "x0")]
)
def test_what_moved_is_found_with_its_first_batch_and_nothing_else(change: dict[str, float], name: str) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        reference = rows(rng, 2000)
        batches = [rows(rng, 200) for _ in range(8)] + [rows(rng, 200, **change) for _ in range(8)]
        series = running(batches, reference, SCHEMA, gate=0.02)
        assert found(series) == {name}
        assert series[name].since == pytest.approx(8, abs=1)
        assert max(e or 0.0 for e in series[name].evidence[:8]) < NEEDED


def test_small_steps_that_no_batch_of_fifty_shows_add_up() -> None:
    rng = np.random.default_rng(3)
    reference = rows(rng, 5000)
    series = running([rows(rng, 50, shift=0.5) for _ in range(20)], reference, SCHEMA, gate=0.02)
    assert (series["x0"].evidence[0] or 0.0) < 1.0
    assert found(series) == {"x0"}


def test_what_the_gate_lets_pass_is_no_drift_however_long_it_lasts() -> None:
    rng = np.random.default_rng(4)
    reference = rows(rng, 20_000)
    batches = [rows(rng, 500, shift=0.2) for _ in range(60)]  # a KS distance of .08
    assert not found(running(batches, reference, SCHEMA, gate=0.09))
    assert found(running(batches, reference, SCHEMA, gate=0.09, gates={"x0": 0.0})) == {"x0"}


def test_evidence_ends_when_the_feature_is_back() -> None:
    rng = np.random.default_rng(5)
    reference = rows(rng, 2000)
    batches = [rows(rng, 500, shift=1.0) for _ in range(5)] + [rows(rng, 500) for _ in range(10)]
    series = running(batches, reference, SCHEMA, gate=0.02)["x0"]
    assert (series.evidence[4] or 0.0) >= NEEDED
    assert series.since is None
    assert (series.evidence[-1] or 0.0) < NEEDED


def test_what_says_nothing_is_a_gap_and_a_feature_without_reference_is_left_out() -> None:
    rng = np.random.default_rng(6)
    whole = rows(rng, 500)
    without = Profile(rows=500, features={name: part for name, part in whole.features.items() if name != "x2"})
    assert running([EMPTY, whole], whole, SCHEMA, gate=0.02)["x0"].evidence[0] is None
    assert running([without], whole, SCHEMA, gate=0.02)["x2"] == Running(evidence=(None,), since=None)
    assert set(running([whole], without, SCHEMA, gate=0.02)) == {"x0", "x1", "c"}
    assert running([], whole, SCHEMA, gate=0.02)["x0"] == Running(evidence=(), since=None)


@pytest.mark.parametrize("n", [10, 200, 5000])
def test_the_upper_bound_holds_for_every_count_and_is_close_to_the_exact_one(n: int) -> None:
    hits = np.arange(n + 1) if n <= 200 else np.arange(0, n + 1, 97)
    high = upper_bound(hits / n, n, 0.001)
    # The chance of so few hits, were the share any higher, is at most what is allowed.
    assert (binom.cdf(hits, n, high) <= 0.001 + 1e-9)[hits < n].all()
    exact = beta.ppf(1 - 0.001, hits + 1, n - hits)
    assert (high >= exact - 1e-9)[hits < n].all()
    assert float(np.max((high - exact)[hits < n])) <= 1.2 / np.sqrt(n)
