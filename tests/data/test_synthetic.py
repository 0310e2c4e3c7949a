"""Generated rows follow the stated rule, and drift does what its kind and shape say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.data import synthetic
from core.data.synthetic import DRIFT_KINDS, DRIFT_SHAPES, DriftSpec, Recipe, drift_from_document
from core.errors import BadInput

N = 4000


def generate(rows: int, *, seed: int, start_row: int = 0, **recipe: Any) -> pd.DataFrame:
    return synthetic.generate(rows, Recipe(**recipe), seed=seed, start_row=start_row)


def agreement(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Share of rows that have the same label."""
    return float((a["target"] == b["target"]).mean())


def test_the_default_is_the_originals_data() -> None:
    frame = generate(1000, seed=1)
    assert frame.columns.tolist() == ["feature1", "feature2", "target"]
    assert set(frame["target"]) == {0, 1}
    assert len(frame) == 1000


@given(st.integers(0, 2**40), st.integers(1, 50), st.integers(2, 4), st.sampled_from([None, *DRIFT_KINDS]))
def test_the_same_seed_gives_the_same_rows(seed: int, rows: int, features: int, kind: Any) -> None:
    drift = None if kind is None else DriftSpec(kind=kind)
    first = generate(rows, features=features, seed=seed, drift=drift)
    pd.testing.assert_frame_equal(first, generate(rows, features=features, seed=seed, drift=drift))
    assert not first["feature1"].equals(generate(rows, features=features, seed=seed + 1)["feature1"])


@hypothesis_settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.02, 0.98), st.floats(0, 1), st.integers(1, 5))
def test_the_balance_is_kept_within_binomial_bounds(seed: int, balance: float, noise: float, features: int) -> None:
    ones = generate(N, features=features, seed=seed, balance=balance, noise=noise)["target"].sum()
    # Six standard deviations: a miss in fewer than one of a hundred million tries.
    assert abs(ones - N * balance) <= 6 * math.sqrt(N * balance * (1 - balance)) + 1


def test_batches_of_other_seeds_share_the_rule() -> None:
    """A rule learnt by least squares on one batch holds on the next, up to the stated noise."""
    first, second = generate(N, seed=1, noise=0.1), generate(N, seed=2, noise=0.1)
    columns = ["feature1", "feature2"]
    rule, *_ = np.linalg.lstsq(first[columns].to_numpy(), first["target"].to_numpy() - 0.5, rcond=None)
    accuracy = ((second[columns].to_numpy() @ rule > 0) == second["target"]).mean()
    assert accuracy == pytest.approx(0.95, abs=0.02)
    other = generate(N, seed=2, noise=0.1, concept_seed=7)
    assert ((other[columns].to_numpy() @ rule > 0) == other["target"]).mean() < 0.9


def test_noise_draws_labels_without_looking_at_the_features() -> None:
    assert agreement(generate(N, seed=3, noise=0.0), generate(N, seed=3, noise=1.0)) == pytest.approx(0.5, abs=0.04)


def test_each_kind_of_drift_changes_what_it_names() -> None:
    plain = generate(N, seed=5)
    shifted = generate(N, seed=5, drift=DriftSpec(kind="mean_shift", size=0.7))
    assert np.allclose(shifted["feature1"] - plain["feature1"], 0.7)
    scaled = generate(N, seed=5, drift=DriftSpec(kind="scale", size=1.0))
    assert np.allclose(scaled["feature2"], 2 * plain["feature2"])
    flipped = generate(N, seed=5, drift=DriftSpec(kind="label_flip", size=0.3))
    assert agreement(plain, flipped) == pytest.approx(0.7, abs=0.04)
    assert flipped["feature1"].equals(plain["feature1"])
    reversed_ = generate(N, seed=5, noise=0.0, drift=DriftSpec(kind="concept_rotation", size=2.0))
    assert agreement(generate(N, seed=5, noise=0.0), reversed_) < 0.001
    turned = generate(N, seed=5, noise=0.0, drift=DriftSpec(kind="concept_rotation", size=1.0))
    assert agreement(generate(N, seed=5, noise=0.0), turned) == pytest.approx(0.5, abs=0.04)


def test_sudden_gradual_and_recurring_drift_lie_where_they_are_put() -> None:
    sudden = DriftSpec(kind="mean_shift", at=0.5).amount(10, 0)
    assert sudden.tolist() == [0.0] * 5 + [1.0] * 5
    gradual = DriftSpec(kind="mean_shift", shape="gradual", at=2, width=4).amount(8, 0)
    assert gradual.tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    recurring = DriftSpec(kind="mean_shift", shape="recurring", at=1, period=2).amount(8, 0)
    assert recurring.tolist() == [0, 1, 1, 0, 0, 1, 1, 0]


@given(st.sampled_from(DRIFT_SHAPES), st.integers(0, 60), st.integers(1, 40), st.integers(1, 59))
def test_drift_at_a_row_goes_on_over_the_next_call(shape: Any, at: int, width: int, cut: int) -> None:
    drift = DriftSpec(kind="mean_shift", shape=shape, at=at, width=width, period=width)
    parts = [drift.amount(cut, 0), drift.amount(60 - cut, cut)]
    assert np.array_equal(np.concatenate(parts), drift.amount(60, 0))


def test_shares_become_rows_when_the_drift_is_anchored() -> None:
    fixed = DriftSpec(kind="scale", shape="gradual", at=0.5).anchored(rows=100, start_row=1000)
    assert (fixed.at, fixed.width, fixed.period) == (1050, 50, 25)
    assert fixed.amount(100, 1100).min() == 1.0


def test_regression_has_a_number_as_its_target() -> None:
    frame = generate(N, seed=1, task="regression", noise=0.0)
    assert frame["target"].std() == pytest.approx(1.0, abs=0.06)
    mirrored = generate(N, seed=1, task="regression", noise=0.0, drift=DriftSpec(kind="label_flip"))
    assert np.allclose(mirrored["target"], -frame["target"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": 1_000_001}, "rows"),
        ({"rows": 2.5}, "rows"),
        ({"rows": True}, "rows"),
        ({"features": 0}, "features"),
        ({"features": 1001}, "features"),
        ({"rows": 1_000_000, "features": 1000}, "rows"),
        ({"seed": -1}, "seed"),
        ({"noise": 1.1}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"balance": 0}, "balance"),
        ({"balance": "half"}, "balance"),
        ({"start_row": -1}, "start_row"),
        ({"task": "multiclass"}, "task"),
        ({"features": 1, "drift": DriftSpec(kind="concept_rotation")}, "drift.kind"),
    ],
)
def test_an_argument_out_of_range_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=field) as caught:
        generate(**{"rows": 10, "seed": 0, **change})
    assert [p.field for p in caught.value.problems] == [field]


def test_a_drift_comes_from_json() -> None:
    assert drift_from_document({"kind": "scale"}) == DriftSpec(kind="scale")
    full = {"kind": "mean_shift", "shape": "gradual", "at": 500, "size": 2, "width": 0.5, "period": None}
    assert drift_from_document(full) == DriftSpec(kind="mean_shift", shape="gradual", at=500, size=2.0, width=0.5)
    assert drift_from_document({"kind": "scale", "at": 500.0}).at == 500


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "drift.kind"),
        ({"kind": "shift"}, "drift.kind"),
        ({"kind": ["scale"]}, "drift.kind"),
        ({"kind": "scale", "shape": "slow"}, "drift.shape"),
        ({"kind": "scale", "sise": 1}, "drift.sise"),
        ({"kind": "scale", "size": -1}, "drift.size"),
        ({"kind": "scale", "size": "big"}, "drift.size"),
        ({"kind": "label_flip", "size": 1.5}, "drift.size"),
        ({"kind": "scale", "at": -1}, "drift.at"),
        ({"kind": "scale", "at": 1.5}, "drift.at"),
        ({"kind": "scale", "at": True}, "drift.at"),
        ({"kind": "scale", "width": 0}, "drift.width"),
        ({"kind": "scale", "period": float("inf")}, "drift.period"),
        ("scale", "drift"),
    ],
)
def test_a_drift_that_cannot_be_made_is_refused_by_its_field(document: Any, field: str) -> None:
    with pytest.raises(BadInput, match="drift") as caught:
        drift_from_document(document)
    assert [p.field for p in caught.value.problems] == [field]
