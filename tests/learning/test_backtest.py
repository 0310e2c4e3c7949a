"""Replay: prequential, reproducible, blind to the future, and honest in what it reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pandas import DataFrame
from sklearn.metrics import cohen_kappa_score, f1_score, r2_score

from core.errors import BadInput, NotEnoughRows
from core.learning.policy import policy_named
from core.learning.replay import Pace, replay

PACE = Pace(batch_rows=100, warmup_rows=200)
QUICK = policy_named("balanced", families=["logistic", "ridge", "neighbours"], new_labels=100, min_rows=50)


def stream(task: str, n: int, *, turn: int | None = None, seed: int = 0) -> DataFrame:
    """A linear concept that is reversed at row `turn`."""
    rng = np.random.default_rng(seed)
    frame = DataFrame({"x0": rng.normal(size=n), "x1": rng.normal(size=n), "c0": rng.choice(["a", "b"], n)})
    value = frame["x0"].to_numpy() + 0.5 * frame["x1"].to_numpy() + rng.normal(0, 0.2, n)
    if turn is not None:
        value[turn:] *= -1
    frame["y"] = (
        value
        if task == "regression"
        else (np.where(value > 0, "yes", "no") if task == "text" else (value > 0).astype(int))
    )
    return frame


@pytest.mark.slow
@pytest.mark.parametrize("task", ["numbers", "text", "regression"])
def test_the_loop_recovers_from_a_reversal_that_breaks_a_fixed_model(task: str) -> None:
    frame = stream(task, 1000, turn=450)
    options = {"pace": PACE}
    adaptive = replay(frame, "y", policy=QUICK, **options)
    fixed = replay(frame, "y", policy="never", **options)
    name = "r2" if task == "regression" else "kappa"
    assert adaptive.scores[name] is not None and fixed.scores[name] is not None
    assert adaptive.scores[name] > fixed.scores[name] + 0.4
    assert (fixed.fits, fixed.promotions, fixed.refreshes, fixed.rollbacks) == (0, 0, 0, 0)
    changes = [b.change_at for b in adaptive.per_batch if b.change_at is not None]
    assert any(abs(row - 450) <= 30 for row in changes)


def test_shuffled_future_labels_change_no_earlier_prediction() -> None:
    frame = stream("text", 700)
    changed = frame.copy()
    labels = changed["y"].to_numpy().copy()
    labels[500:] = np.random.default_rng(1).permutation(labels[500:])
    changed["y"] = labels
    options = {"pace": PACE, "policy": QUICK}
    one, two = replay(frame, "y", **options), replay(changed, "y", **options)
    # Rows 500 to 599 are predicted before any of the shuffled labels is known.
    assert one.predictions[:400].tolist() == two.predictions[:400].tolist()


def _third_class(frame: DataFrame) -> None:
    frame.loc[frame.index[-10:], "y"] = "perhaps"


def _other_labels(frame: DataFrame) -> None:
    frame.loc[500:, "y"] = frame.loc[500:, "y"].to_numpy()[::-1]


def _other_features(frame: DataFrame) -> None:
    frame.loc[600:, ["x0", "x1"]] *= -7.0


def _text_for_numbers(frame: DataFrame) -> None:
    frame["x1"] = frame["x1"].astype(object)
    frame.loc[frame.index[-5:], "x1"] = "broken"


def _many_categories(frame: DataFrame) -> None:
    frame.loc[600:, "c0"] = [f"site {i}" for i in range(100)]


def _empty_column(frame: DataFrame) -> None:
    frame.loc[600:, "x0"] = np.nan


def _constant_from_now_on(frame: DataFrame) -> None:
    frame.loc[600:, "c0"] = "a"


@pytest.mark.parametrize(
    "changed",
    [
        _third_class,
        _other_labels,
        _other_features,
        _text_for_numbers,
        _many_categories,
        _empty_column,
        _constant_from_now_on,
    ],
)
def test_nothing_that_comes_later_changes_an_earlier_prediction_or_decision(
    changed: Callable[[DataFrame], None],
) -> None:
    policy = policy_named("balanced", families=["boosting", "logistic"], new_labels=100, min_rows=50)
    frame = stream("text", 700)
    other = frame.copy()
    changed(other)
    options = {"pace": PACE, "policy": policy}
    one, two = replay(frame, "y", **options), replay(other, "y", **options)
    # Rows 600 to 699 are the first that can look different: 400 scored ones lie before, and 300 before the last labels.
    n = 300 if changed is _other_labels else 400
    assert one.predictions[:n].tolist() == two.predictions[:n].tolist()
    batches = n // 100 - (changed is _other_labels)
    assert one.per_batch[:batches] == two.per_batch[:batches]
    if changed is _text_for_numbers:  # the loop refuses such a file
        assert two.rows_scored == one.rows_scored - 100
        assert [p.count for p in two.problems if p.code == "batch_refused"] == [100]


def test_same_seed_same_report_and_it_is_plain_json() -> None:
    frame = stream("numbers", 600, turn=400)
    options = {"pace": replace(PACE, seed=3), "policy": QUICK}
    one, two = (replay(frame, "y", **options).to_document() for _ in "ab")
    assert json.dumps(one, allow_nan=False) == json.dumps(two, allow_nan=False)


def test_the_report_can_be_recomputed_from_its_predictions() -> None:
    frame = stream("text", 650, turn=400)
    report = replay(frame, "y", policy=QUICK, pace=PACE)
    truth = frame["y"].to_numpy()[200:]
    assert report.rows_scored == 450
    assert report.batches == len(report.per_batch) == 5
    assert [b.rows for b in report.per_batch] == [100, 100, 100, 100, 50]
    assert report.scores["kappa"] == pytest.approx(cohen_kappa_score(truth, report.predictions), abs=1e-12)
    assert report.scores["macro_f1"] == pytest.approx(f1_score(truth, report.predictions, average="macro"), abs=1e-12)
    assert report.fits == sum(b.fits for b in report.per_batch)
    outcomes = [b.outcome for b in report.per_batch]
    counted = (outcomes.count("promoted"), outcomes.count("refreshed"), outcomes.count("rolled_back"))
    assert counted == (report.promotions, report.refreshes, report.rollbacks)


def test_regression_reports_errors_and_r2() -> None:
    frame = stream("regression", 500)
    report = replay(frame, "y", policy=QUICK, pace=PACE)
    assert set(report.scores) == {"mae", "rmse", "r2"}
    assert report.scores["r2"] == pytest.approx(r2_score(frame["y"][200:], report.predictions), abs=1e-12)


def test_admissions_show_what_was_replaced_how_it_did_and_how_it_ended() -> None:
    report = replay(stream("text", 1000, turn=450), "y", policy=QUICK, pace=PACE)
    admissions = report.to_document()["admissions"]
    assert len(admissions) == report.promotions + report.refreshes > 0
    answered = next(a for a in admissions if a["kind"] == "promotion")
    assert answered["wins"] > answered["losses"] and answered["p"] < 0.05
    for i, admission in enumerate(admissions):
        assert admission["wins"] + admission["losses"] <= admission["judged"] == min(1000, 1000 - admission["row"])
        last = i == len(admissions) - 1
        assert admission["ended_by"] in ((None, "rollback") if last else ("replaced", "rollback"))
        assert (admission["ended_row"] is None) == (admission["ended_by"] is None)
        assert admission["replaced"] < admission["version"]


@pytest.mark.slow
def test_delayed_and_partial_labels_reach_the_loop_later_and_in_part() -> None:
    frame = stream("text", 800, turn=400)
    options = {"pace": PACE, "policy": QUICK}
    prompt, late = (
        replay(frame, "y", **options),
        replay(frame, "y", **{**options, "pace": replace(PACE, label_delay=2)}),
    )
    none = replay(frame, "y", **{**options, "pace": replace(PACE, label_fraction=0.0)})
    assert late.rows_scored == prompt.rows_scored == none.rows_scored == 600
    assert (none.fits, none.promotions + none.refreshes) == (0, 0)
    first = [next(b for b, x in enumerate(r.per_batch) if x.change_at is not None) for r in (prompt, late)]
    assert first[1] == first[0] + 2
    assert prompt.scores["kappa"] > late.scores["kappa"] > none.scores["kappa"]


def test_rows_without_a_label_are_left_out() -> None:
    frame = stream("text", 500)
    frame.loc[::5, "y"] = None
    assert replay(frame, "y", policy=QUICK, pace=PACE).rows_scored == 200


@pytest.mark.parametrize(
    "options", [{"batch_rows": 0}, {"warmup_rows": 1}, {"label_delay": -1}, {"label_fraction": 1.5}]
)
def test_arguments_out_of_range_are_refused_by_name(options: dict) -> None:
    with pytest.raises(BadInput, match="expected"):
        Pace(**options)


def test_a_policy_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"[Ee]xpected"):
        replay(stream("text", 300), "y", pace=Pace(warmup_rows=100), policy="bold")


def test_a_stream_no_longer_than_its_warmup_is_refused() -> None:
    with pytest.raises(NotEnoughRows, match="needs 301 rows, found 300"):
        replay(stream("text", 300), "y", pace=Pace(warmup_rows=300))
