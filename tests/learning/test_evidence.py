"""Two models on the same rows by any metric: once (paired tests) and looked at after every batch (evidence)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats

from core.learning.evidence import STAKES, Bets, bet, counted, prepared
from core.learning.policy import EVIDENCE_NEEDED, policy_named
from core.learning.replay import replay
from core.performance.paired import ModelOutput, gains, influence, paired
from core.performance.realised import measure
from core.records import METRICS

BINARY = ("accuracy", "balanced_accuracy", "kappa", "macro_f1", "mcc", "log_loss", "brier", "roc_auc")
VALUES = ("mae", "rmse", "r2")


def classified(
    rng: np.random.Generator, n: int, *accuracies: float, positives: float = 0.1, alike: float = 0.7
) -> tuple[np.ndarray, list[ModelOutput]]:
    """Labels, and models of a given accuracy that are often right on the same rows."""
    y = (rng.random(n) < positives).astype(int)
    base, models = rng.random(n), []
    for accuracy in accuracies:
        right = np.where(rng.random(n) < alike, base, rng.random(n)) < accuracy
        of_truth = np.where(right, 0.51, 0.49) + np.where(right, 1, -1) * 0.4 * rng.random(n)
        second = np.where(y == 1, of_truth, 1 - of_truth)
        models.append(
            ModelOutput(answers=(second > 0.5).astype(int), proba=np.column_stack([1 - second, second]), classes=(0, 1))
        )
    return y, models


def valued(rng: np.random.Generator, n: int, *spreads: float) -> tuple[np.ndarray, list[ModelOutput]]:
    y = rng.normal(size=n)
    shared = rng.normal(size=n)
    return y, [ModelOutput(answers=y + s * (0.7 * shared + 0.7 * rng.normal(size=n))) for s in spreads]


def some(
    rng: np.random.Generator, metric: str, n: int, first: float, second: float
) -> tuple[str, np.ndarray, ModelOutput, ModelOutput]:
    regression = metric in VALUES
    y, (a, b) = valued(rng, n, first, second) if regression else classified(rng, n, first, second)
    return "regression" if regression else "binary", y, a, b


def part(given: ModelOutput, rows: Any) -> ModelOutput:
    proba = None if given.proba is None else given.proba[rows]
    return ModelOutput(answers=given.answers[rows], proba=proba, classes=given.classes)


def most_of(repetitions: int, chance: float, beyond: float = 1e-4) -> int:
    """Hits that so many independent tries with that chance pass only once in ten thousand times."""
    return int(stats.binom.isf(beyond, repetitions, chance))


# --- once ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [*BINARY, *VALUES])
def test_the_difference_is_that_of_the_two_scores_better_being_above_zero(metric: str) -> None:
    task, y, a, b = some(np.random.default_rng(3), metric, 200, 0.9, 0.7)
    found = paired(task, metric, y, a, b).difference  # type: ignore[arg-type]
    scores = [
        measure(task, y, g.answers, g.proba, list(g.classes), metrics=[metric]).scores[metric].value  # type: ignore[arg-type]
        for g in (a, b)
    ]
    expected = (scores[0] - scores[1]) * (1 if METRICS[metric].higher_is_better else -1)  # type: ignore[operator]
    assert found.metric == metric
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low <= found.value <= found.high  # type: ignore[operator]
    swapped = paired(task, metric, y, b, a).difference  # type: ignore[arg-type]
    assert swapped.value == pytest.approx(-expected, abs=1e-12)


@pytest.mark.parametrize("metric", [*BINARY, *VALUES])
def test_equal_models_differ_significantly_no_oftener_than_stated(metric: str) -> None:
    rng, repetitions = np.random.default_rng(11), 150
    level = 0.8 if metric in VALUES else 0.85
    hits = 0
    for _ in range(repetitions):
        task, y, a, b = some(rng, metric, 100, level, level)
        hits += paired(task, metric, y, a, b, seed=int(rng.integers(1 << 31))).p <= 0.05  # type: ignore[arg-type]
    assert hits <= most_of(repetitions, 0.07 if metric == "roc_auc" else 0.05)  # DeLong's is right for many rows


def test_models_that_answer_alike_are_not_distinguished() -> None:
    y, (a, _) = classified(np.random.default_rng(0), 60, 0.8, 0.8)
    for metric in BINARY:
        found = paired("binary", metric, y, a, a)
        assert (found.difference.value, found.p) == (0.0, 1.0)
    assert (
        paired("binary", "macro_f1", y, a, a).difference.low < 0 < paired("binary", "macro_f1", y, a, a).difference.high
    )  # type: ignore[operator]


def test_a_metric_that_the_rows_do_not_determine_gives_way_to_accuracy() -> None:
    y = np.zeros(30, dtype=int)
    _, (a, b) = classified(np.random.default_rng(1), 30, 0.9, 0.6)
    assert paired("binary", "roc_auc", y, a, b).difference.metric == "accuracy"
    bare = [ModelOutput(answers=g.answers) for g in (a, b)]
    assert paired("binary", "log_loss", y, *bare).difference.metric == "accuracy"


def test_rows_chosen_where_the_champion_is_unsure_do_not_make_an_equal_challenger_better() -> None:
    """Unweighted, the champion's errors are over-represented: equal models then differ in one direction."""
    rng, repetitions, better, plain, mean = np.random.default_rng(5), 200, 0, 0, 0.0
    for _ in range(repetitions):
        y, (new, old) = classified(rng, 2_000, 0.85, 0.85, positives=0.4)
        unsure = rng.random(2_000) + 2.0 * (old.answers != y)  # it is mostly unsure where it errs
        chance = np.minimum(0.3 * 150 / 2_000 + 0.7 * 150 * unsure / unsure.sum(), 1.0)
        rows = np.flatnonzero(rng.random(2_000) < chance)
        found = paired("binary", "accuracy", y[rows], part(new, rows), part(old, rows), weights=1.0 / chance[rows])
        better += found.p <= 0.05 and found.difference.value > 0  # type: ignore[operator]
        mean += found.difference.value / repetitions  # type: ignore[operator]
        plain += paired("binary", "accuracy", y[rows], part(new, rows), part(old, rows)).difference.value > 0  # type: ignore[operator]
    assert plain > repetitions * 0.6, "the selection matters here"
    assert better <= most_of(repetitions, 0.04)
    assert abs(mean) < 0.012


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_a_threshold_that_costs_accuracy_is_accepted_where_the_metric_gains(metric: str) -> None:
    """One row in fourteen is positive: the likelier class is always "no", which plain right rows would defend for ever."""
    rng = np.random.default_rng(0)
    X = DataFrame(rng.normal(size=(4_000, 3)), columns=["a", "b", "c"])
    yes = rng.random(4_000) < 1 / (1 + np.exp(2.9 - 1.1 * X["a"] - 0.6 * X["b"]))
    frame = X.assign(y=np.where(yes, "yes", "no"))

    def served(gate: str) -> float:
        policy = policy_named("balanced", metric=metric, gate=gate, families=("logistic",))
        given = replay(frame, "y", policy=policy).predictions
        found = measure("binary", frame["y"].to_numpy()[-len(given) :], given, metrics=[metric]).scores[metric].value
        assert found is not None
        return found

    assert served("held_back") > served("none") - 0.03
    assert served("held_back") > (0.6 if metric == "balanced_accuracy" else 0.57)  # always "no": 0.5 and 0.48


# --- row by row -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["balanced_accuracy", "kappa", "macro_f1", "mcc"])
def test_gains_add_up_to_about_the_difference(metric: str) -> None:
    rng = np.random.default_rng(2)
    y, (a, b) = classified(rng, 4_000, 0.86, 0.84, positives=0.3)
    table = {(i, j): float(((y == i) & (g == j)).sum()) for i in (0, 1) for j in (0, 1) for g in [a.answers]}
    values, bound = gains("binary", metric, y, a, b, table)
    assert bound is not None and np.abs(values).max() <= bound
    difference = paired("binary", metric, y, a, b).difference.value
    assert values.mean() == pytest.approx(difference, rel=0.15)


def test_the_influence_of_accuracy_is_right_or_wrong() -> None:
    worth = influence("accuracy", np.array([[30.0, 5.0], [3.0, 60.0]]))
    assert worth[0, 0] - worth[0, 1] == pytest.approx(1.0, abs=1e-5)
    assert worth[1, 1] - worth[1, 0] == pytest.approx(1.0, abs=1e-5)


def test_bets_on_accuracy_rest_on_the_two_counts_alone() -> None:
    y, (a, b) = classified(np.random.default_rng(4), 500, 0.9, 0.8)
    bets = Bets()
    for start in range(0, 500, 37):
        rows = slice(start, start + 37)
        bets = bet(bets, "binary", "accuracy", y[rows], part(a, rows), part(b, rows))
    wins, losses = int(((a.answers == y) & (b.answers != y)).sum()), int(((a.answers != y) & (b.answers == y)).sum())
    assert bets.for_better == pytest.approx(counted(wins, losses).for_better)
    expected = float(np.mean((1 + STAKES) ** wins * (1 - STAKES) ** losses))
    assert bets.for_better == pytest.approx(expected)
    assert bets.mean_gain == pytest.approx((wins - losses) / 500)


@pytest.mark.parametrize("size", [10, 100])
@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "log_loss", "roc_auc", "rmse"])
def test_an_equal_model_is_called_better_at_most_once_in_forty_however_often_one_looks(metric: str, size: int) -> None:
    rng, repetitions, hits = np.random.default_rng(8), 120, 0
    level = 0.8 if metric in VALUES else 0.85
    for _ in range(repetitions):
        task, y, a, b = some(rng, metric, 1_200, level, level)
        head = slice(0, 200)
        bets = prepared(task, metric, y[head], part(a, head), part(b, head))  # type: ignore[arg-type]
        for start in range(200, 1_200, size):
            rows = slice(start, start + size)
            bets = bet(bets, task, metric, y[rows], part(a, rows), part(b, rows))  # type: ignore[arg-type]
            if bets.for_better >= EVIDENCE_NEEDED:
                hits += 1
                break
    assert hits <= most_of(repetitions, 1 / EVIDENCE_NEEDED)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "kappa", "macro_f1", "mcc", "brier", "rmse"])
def test_a_clearly_better_model_is_called_so(metric: str) -> None:
    levels = (0.5, 1.0) if metric in VALUES else (0.9, 0.7)
    task, y, a, b = some(np.random.default_rng(6), metric, 1_200, *levels)
    head = slice(0, 200)
    bets = prepared(task, metric, y[head], part(a, head), part(b, head))  # type: ignore[arg-type]
    bets = bet(bets, task, metric, y[200:], part(a, slice(200, None)), part(b, slice(200, None)))  # type: ignore[arg-type]
    assert bets.for_better >= EVIDENCE_NEEDED > 1 > bets.for_worse
    assert bets.mean_gain is not None and bets.mean_gain > 0


def test_the_first_rows_set_what_a_row_is_worth_and_are_not_bet_on() -> None:
    y, (a, b) = classified(np.random.default_rng(9), 300, 0.9, 0.8)
    first = bet(Bets(), "binary", "macro_f1", y, a, b)
    assert (first.rows, first.for_better) == (0, 1.0)
    assert sum(rows for *_, rows in first.table) == 600
    assert bet(first, "binary", "macro_f1", y, a, b).rows == 300
    assert bet(first, "binary", "macro_f1", y[:0], part(a, slice(0)), part(b, slice(0))) == first


def test_evidence_that_is_overwhelming_stays_a_number() -> None:
    assert math.isfinite(counted(100_000, 0).for_better)
    assert counted(0, 100_000).for_better == pytest.approx(0.0)
