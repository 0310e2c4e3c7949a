"""Streams as they come: classes that appear late or vanish, one class only, nothing new to learn from, no labels at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.learning.backtest import ReplayReport
from core.learning.policy import policy_named
from core.learning.replay import Pace, replay
from core.performance.realised import measure

LIGHT = policy_named("balanced", families=("logistic", "ridge", "neighbours"), new_labels=50, min_rows=20)
CUT = Pace(batch_rows=50, warmup_rows=200)


def rows(n: int, *, seed: int = 0, classes: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    value = frame["a"] + 0.5 * frame["b"] + rng.normal(0, 0.2, n)
    edges = np.quantile(value, np.linspace(0, 1, classes + 1)[1:-1])
    frame["y"] = np.array(["ant", "bee", "fly"])[np.digitize(value, edges)]
    return frame


def of(report: ReplayReport, frame: pd.DataFrame, part: slice) -> float:
    truth = frame["y"].to_numpy()[CUT.warmup_rows :][part]
    value = (
        measure("multiclass", truth, report.predictions[part], metrics=["accuracy"], intervals=None)
        .score("accuracy")
        .value
    )
    assert value is not None
    return value


@pytest.mark.slow
def test_a_class_that_first_appears_at_batch_forty_is_learnt() -> None:
    frame = rows(3_000, classes=3)
    late = frame["y"].eq("fly") & (np.arange(len(frame)) < 2_200)
    frame.loc[late, "y"] = "bee"
    report = replay(frame, "y", policy=LIGHT, pace=CUT)
    assert "fly" not in report.predictions[:2_000]
    assert "fly" in report.predictions[2_050:2_200]
    assert of(report, frame, slice(2_200, None)) > 0.8
    assert len(report.per_batch) == 56


@pytest.mark.slow
def test_a_class_that_vanishes_takes_nothing_along() -> None:
    frame = rows(2_000, classes=3)
    frame = frame[(frame["y"] != "ant") | (np.arange(len(frame)) < 900)].reset_index(drop=True)
    report = replay(frame, "y", policy=LIGHT, pace=CUT)
    assert of(report, frame, slice(900, None)) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("start", [300, 1_000])
def test_batches_of_one_class_are_gone_through(start: int) -> None:
    frame = rows(1_500)
    frame.loc[start : start + 199, "y"] = "bee"
    report = replay(frame, "y", policy=LIGHT, pace=CUT)
    assert report.rows_scored == 1_300
    assert of(report, frame, slice(start + 200, None)) > 0.8


@pytest.mark.slow
def test_one_class_at_first_and_constant_or_empty_features() -> None:
    frame = rows(1_200)
    frame.loc[:399, "y"] = "ant"
    frame["same"], frame["gone"], frame["word"] = 1.0, np.nan, "x"
    report = replay(
        frame,
        "y",
        policy=policy_named("balanced", new_labels=50, min_rows=20, families=("boosting", "extra_trees", "logistic")),
        pace=CUT,
    )
    assert of(report, frame, slice(500, None)) > 0.75


@pytest.mark.parametrize("policy", ["balanced", "original", "careful", "fast"])
def test_batches_of_one_row_and_a_last_one_of_three(policy: str) -> None:
    light = policy_named(policy, families=("logistic",), new_labels=20, min_rows=5)
    report = replay(rows(243), "y", policy=light, pace=Pace(batch_rows=1, warmup_rows=200))
    assert report.batches == report.rows_scored == 43
    report = replay(rows(243), "y", policy=light, pace=Pace(batch_rows=40, warmup_rows=200))
    assert [b.rows for b in report.per_batch] == [40, 3]


def test_careful_lets_a_clearly_better_regression_in() -> None:
    frame = rows(2_000)
    turned = np.where(np.arange(2_000) < 800, 1.0, -1.0)
    frame["y"] = turned * (frame["a"] + 0.5 * frame["b"]) + np.random.default_rng(3).normal(0, 0.1, 2_000)
    policy = policy_named("careful", families=("ridge",), new_labels=100, min_rows=50)
    report = replay(frame, "y", policy=policy, pace=Pace(batch_rows=100, warmup_rows=300))
    assert report.promotions >= 1
    assert report.scores["r2"] is not None and report.scores["r2"] > 0.6


def test_a_stream_without_labels_after_the_warm_up_keeps_its_model_and_says_so() -> None:
    report = replay(rows(800), "y", policy=LIGHT, pace=replace(CUT, label_fraction=0.0))
    assert report.fits == 0 and {b.outcome for b in report.per_batch} == {"none"}
    assert {b.decision for b in report.per_batch} == {"nothing"}
    assert report.scores["accuracy"] is not None and report.scores["accuracy"] > 0.8


@pytest.mark.slow
def test_labels_that_contradict_each_other_end_nothing() -> None:
    frame = pd.DataFrame(
        {"a": np.ones(900), "b": np.zeros(900), "y": np.random.default_rng(0).choice(["no", "yes"], 900)}
    )
    report = replay(frame, "y", policy=LIGHT, pace=CUT)
    assert report.rows_scored == 700 and report.scores["kappa"] is not None
    assert abs(report.scores["kappa"]) < 0.15
    same = pd.concat([rows(300), rows(300)] * 3, ignore_index=True)
    same.loc[900:1_199, "y"] = np.where(same.loc[900:1_199, "y"] == "ant", "bee", "ant")
    assert replay(same, "y", policy=LIGHT, pace=CUT).rows_scored == 1_600


@pytest.mark.slow
def test_a_stationary_stream_promotes_hardly_ever_and_loses_nothing() -> None:
    frame = rows(12_000, seed=5)
    flip = np.random.default_rng(1).random(len(frame)) < 0.1
    frame.loc[flip, "y"] = np.where(frame.loc[flip, "y"] == "ant", "bee", "ant")
    policy = policy_named("balanced", families=("boosting", "logistic", "neighbours"))
    report = replay(frame, "y", policy=policy, pace=Pace(batch_rows=500, warmup_rows=1_000))
    fixed = replay(
        frame, "y", policy=policy_named("never", families=("logistic",)), pace=Pace(batch_rows=500, warmup_rows=1_000)
    )
    assert report.promotions <= report.batches / 20
    assert report.scores["kappa"] is not None and fixed.scores["kappa"] is not None
    assert report.scores["kappa"] >= fixed.scores["kappa"] - 0.01


@pytest.mark.slow
def test_rows_shuffled_inside_their_batch_are_answered_as_well() -> None:
    frame = rows(3_000, seed=2, classes=3)
    frame.loc[1_500:, "y"] = frame.loc[1_500:, "y"].map({"ant": "fly", "bee": "bee", "fly": "ant"})
    rng = np.random.default_rng(4)
    order = np.arange(len(frame))
    for start in range(CUT.warmup_rows, len(frame), CUT.batch_rows):
        rng.shuffle(order[start : start + CUT.batch_rows])
    plain, shuffled = (
        replay(f, "y", policy=LIGHT, pace=CUT) for f in (frame, frame.iloc[order].reset_index(drop=True))
    )
    assert plain.scores["kappa"] is not None and shuffled.scores["kappa"] is not None
    assert abs(plain.scores["kappa"] - shuffled.scores["kappa"]) <= 0.03
