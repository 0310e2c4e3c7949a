"""Realised performance: every metric against sklearn, intervals against published values and by counting."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from core.drift.multivariate import delong
from core.performance.formulas import macro_auc
from core.performance.head_to_head import mcnemar_exact, paired_difference
from core.performance.proportions import wilson
from core.performance.realised import Intervals, measure, past_error, pooled
from core.records import METRICS, EstimatePoint, Score, because, higher_is_better, metrics_of
from core.text.reasons import sentence

CLASSES = {"binary": [0, 1], "multiclass": ["ant", "bee", "fly"]}


def classified(task: str, n: int = 300, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, list]:
    """Truth, predictions, probabilities and classes of an imaginary model that is right more often than not."""
    rng = np.random.default_rng(seed)
    classes = CLASSES[task]
    codes = rng.choice(len(classes), n, p=[0.6, 0.4] if task == "binary" else [0.5, 0.3, 0.2])
    proba = rng.dirichlet(np.ones(len(classes)), n) + 0.7 * np.eye(len(classes))[codes] * rng.random((n, 1))
    proba /= proba.sum(axis=1, keepdims=True)
    labels = np.asarray(classes)
    return labels[codes], labels[proba.argmax(axis=1)], proba, classes


METHODS = {
    "accuracy": "Wilson 95 %", "roc_auc": "DeLong, skew-corrected t 95 %", "log_loss": "Bayesian bootstrap 95 %",
    "brier": "Bayesian bootstrap 95 %", "mae": "skew-corrected t 95 %", "rmse": "skew-corrected t 95 %", "r2": "delta 95 %",
    **dict.fromkeys(("balanced_accuracy", "kappa", "macro_f1", "mcc"), "Dirichlet 95 %"),
}  # fmt: skip


SKLEARN = {
    "accuracy": lambda t, p, q, c: reference.accuracy_score(t, p),
    "balanced_accuracy": lambda t, p, q, c: reference.balanced_accuracy_score(t, p),
    "kappa": lambda t, p, q, c: reference.cohen_kappa_score(t, p),
    "macro_f1": lambda t, p, q, c: reference.f1_score(t, p, average="macro"),
    "mcc": lambda t, p, q, c: reference.matthews_corrcoef(t, p),
    "log_loss": lambda t, p, q, c: reference.log_loss(t, q, labels=c),
    "brier": lambda t, p, q, c: reference.brier_score_loss(t, q, labels=c, scale_by_half="auto"),
    "roc_auc": lambda t, p, q, c: reference.roc_auc_score(
        t, q[:, 1] if len(c) == 2 else q, multi_class="ovr", average="macro", labels=c
    ),
    "mae": lambda t, p, q, c: reference.mean_absolute_error(t, p),
    "rmse": lambda t, p, q, c: reference.root_mean_squared_error(t, p),
    "r2": lambda t, p, q, c: reference.r2_score(t, p),
}


@pytest.mark.parametrize(("metric", "task"), [(name, task) for name, m in METRICS.items() for task in m.tasks])
def test_every_metric_equals_sklearn_and_lies_in_its_interval(metric: str, task: str) -> None:
    if task == "regression":
        rng = np.random.default_rng(3)
        true = rng.normal(10, 4, 250)
        pred, proba, classes = true + rng.normal(0, 2, 250), None, None
    else:
        true, pred, proba, classes = classified(task)
    score = measure(task, true, pred, proba, classes).score(metric)
    assert score.value == pytest.approx(SKLEARN[metric](true, pred, proba, classes), abs=1e-12)
    assert score.low is not None and score.high is not None
    assert score.low < score.value < score.high
    assert score.n == len(true)
    assert score.method == METHODS[metric]


def test_tied_scores_count_half_in_roc_auc() -> None:
    true = np.array([0, 1, 0, 1, 1, 0])
    last = np.array([0.2, 0.2, 0.7, 0.7, 0.9, 0.2])
    score = measure("binary", true, last > 0.5, np.column_stack([1 - last, last]), [0, 1], metrics=["roc_auc"])
    assert score.score("roc_auc").value == pytest.approx(reference.roc_auc_score(true, last), abs=1e-12)


def test_text_labels_absent_classes_and_ties_agree_with_sklearn() -> None:
    rng = np.random.default_rng(11)
    classes = ["ant", "bee", "fly", "wasp"]
    true = rng.choice(["ant", "fly", "wasp"], 400)  # no bee occurs
    proba = np.round(rng.dirichlet(np.ones(4), 400) + 0.4 * (true[:, None] == np.array(classes)), 1)  # many ties
    proba /= proba.sum(axis=1, keepdims=True)
    pred = np.array(classes)[proba.argmax(axis=1)]
    found = measure("multiclass", true, pred, proba, classes)
    one_by_one = [reference.roc_auc_score(true == c, proba[:, classes.index(c)]) for c in ("ant", "fly", "wasp")]
    assert found.score("roc_auc").value == pytest.approx(np.mean(one_by_one), abs=1e-9)
    assert found.score("macro_f1").value == pytest.approx(reference.f1_score(true, pred, average="macro"), abs=1e-9)
    assert found.score("kappa").value == pytest.approx(reference.cohen_kappa_score(true, pred), abs=1e-9)
    assert found.score("mcc").value == pytest.approx(reference.matthews_corrcoef(true, pred), abs=1e-9)
    assert found.score("log_loss").value == pytest.approx(reference.log_loss(true, proba, labels=classes), abs=1e-9)
    recalls = reference.recall_score(true, pred, average=None, labels=["ant", "fly", "wasp"])
    assert found.score("balanced_accuracy").value == pytest.approx(recalls.mean(), abs=1e-9)
    two = np.where(true == "ant", "no", "yes")
    said = np.column_stack([proba[:, 0], 1 - proba[:, 0]])
    binary = measure("binary", two, np.where(said[:, 1] > 0.5, "yes", "no"), said, ["no", "yes"])
    assert binary.score("roc_auc").value == pytest.approx(reference.roc_auc_score(two, said[:, 1]), abs=1e-9)


def test_the_standard_error_of_an_auc_is_delongs() -> None:
    rng = np.random.default_rng(12)
    inside = rng.random(300) < 0.3
    score = np.round(rng.normal(size=300) + inside, 1)
    area, spread = macro_auc(inside[None], score[None])
    assert (area, spread) == pytest.approx(delong(score[inside], score[~inside]), abs=1e-12)
    # The two sides of one question are the same question: the mean of both is no surer than one.
    both = macro_auc(np.array([inside, ~inside]), np.array([score, -score]))
    assert both == pytest.approx((area, spread), abs=1e-12)


@pytest.mark.slow
def test_the_interval_of_a_macro_auc_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(13)

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
        codes = rng.choice(3, n, p=[0.5, 0.3, 0.2])
        raw = np.exp(rng.normal(size=(n, 3)) + 0.9 * np.eye(3)[codes])
        return codes, raw / raw.sum(axis=1, keepdims=True)

    def auc(n: int) -> Score:
        codes, proba = drawn(n)
        return measure("multiclass", codes, codes, proba, [0, 1, 2], metrics=["roc_auc"]).score("roc_auc")

    truth, runs = auc(400_000).value, 300
    assert truth is not None
    held = sum((s.low or 0.0) <= truth <= (s.high or 1.0) for s in (auc(200) for _ in range(runs)))
    # 95 % of 300, four standard deviations (3.8 runs each) allowed below; never so wide that it says nothing.
    assert held >= 0.95 * runs - 4 * math.sqrt(runs * 0.95 * 0.05)
    assert held < runs


def test_an_auc_without_spread_or_with_one_row_on_a_side_still_has_its_doubt() -> None:
    true = np.array([0] * 20 + [1] * 10)
    perfect = measure("binary", true, true, np.column_stack([1 - true, true]), [0, 1], metrics=["roc_auc"])
    found = perfect.score("roc_auc")
    assert (found.value, found.high, found.method) == (1.0, 1.0, "Wilson 95 % on pairs")
    assert found.low == pytest.approx(wilson(10, 10)[0])
    lone = np.array([0] * 20 + [1])
    last = np.r_[np.linspace(0.1, 0.9, 20), 0.8]
    single = measure("binary", lone, lone, np.column_stack([1 - last, last]), [0, 1], metrics=["roc_auc"])
    found = single.score("roc_auc")
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.low < 0.2 and found.high > 0.95


def test_an_auc_that_cannot_be_determined_says_why() -> None:
    def why(task: str, true: list, proba: object, classes: list) -> str:
        score = measure(task, true, true, proba, classes, metrics=["roc_auc"]).score("roc_auc")  # type: ignore[arg-type]
        assert score.value is None
        return sentence(score.reason)

    assert why("multiclass", ["a", "a"], np.full((2, 3), 1 / 3), ["a", "b", "c"]) == "These rows have only one class."
    assert (
        why("binary", ["a", "z"], np.full((2, 2), 0.5), ["a", "b"])
        == "Some rows have a class that the model does not know."
    )
    assert why("binary", ["a", "b"], np.ones((2, 1)), ["a"]) == "Needs two classes, the model knows 1."
    assert "not a finite number" in why("binary", ["a", "b"], np.full((2, 2), np.nan), ["a", "b"])


def test_a_class_unknown_to_the_model_is_ranked_by_chance() -> None:
    true = np.array(["a", "b", "z"] * 10)
    proba = np.tile([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]], (10, 1))
    found = measure("multiclass", true, true, proba, ["a", "b"], metrics=["roc_auc"]).score("roc_auc")
    assert found.value == pytest.approx((1 + 1 + 0.5) / 3)


def test_values_that_are_not_finite_are_reported_and_not_shown() -> None:
    found = measure("binary", [0, 1], [0, 1], np.full((2, 2), np.nan), [0, 1])
    assert found.score("log_loss").value is None and "not a finite number" in sentence(found.score("log_loss").reason)
    assert found.score("accuracy").value == 1.0


def test_r2_of_values_that_are_not_finite_does_not_call_them_equal() -> None:
    for true, pred in (([1.0, 2.0, 3.0], [1.0, np.inf, 3.0]), ([1.0, np.nan, 3.0], [1.0, 2.0, 3.0])):
        assert measure("regression", true, pred, metrics=["r2"]).score("r2").reason.code == "not_finite"
    assert measure("regression", [2.0] * 3, [1.0, 2.0, 3.0], metrics=["r2"]).score("r2").reason.code == "equal_values"


# --- several portions of rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "brier", "mae", "rmse"])
def test_portions_put_together_give_the_score_of_all_rows(metric: str) -> None:
    cuts = [0, 30, 31, 180, 400]
    if metric in ("mae", "rmse"):
        rng = np.random.default_rng(14)
        true = rng.normal(size=400)
        given: tuple = ("regression", true, true + rng.normal(0, 2, 400), None, None)
    else:
        true, pred, proba, classes = classified("multiclass", 400)
        given = ("multiclass", true, pred, proba, classes)

    def of(rows: slice) -> Score:
        task, true, pred, proba, classes = given
        part = None if proba is None else proba[rows]
        return measure(task, true[rows], pred[rows], part, classes, metrics=[metric]).score(metric)

    together = pooled([of(slice(a, b)) for a, b in itertools.pairwise(cuts)])
    whole = of(slice(None))
    assert together.value == pytest.approx(whole.value, abs=1e-12) and together.n == 400
    assert together.low is not None and together.high is not None and whole.low is not None and whole.high is not None
    assert together.high - together.low == pytest.approx(whole.high - whole.low, rel=0.25)


def test_a_metric_that_needs_all_rows_at_once_is_not_put_together() -> None:
    parts = [Score(metric="kappa", value=v, low=v - 0.1, high=v + 0.1, n=50) for v in (0.4, 0.6)]
    found = pooled(parts)
    assert found.value is None and found.n == 100 and "2 parts" in sentence(found.reason)
    assert pooled(parts[:1]) == parts[0]
    untold = Score(metric="mae", value=None, n=0, reason=because("no_labelled_row"))
    assert pooled([untold, untold]) == untold
    one = Score(metric="mae", value=2.0, n=1)
    assert pooled([one, one]) == Score(metric="mae", value=2.0, n=2)


def test_past_error_is_the_mean_distance_of_estimates_from_labels() -> None:
    def point(estimate: float | None, realised: float | None) -> EstimatePoint:
        return EstimatePoint(
            at=datetime(2026, 1, 1, tzinfo=UTC), rows_seen=0, n=100, batch_id=1, cycle_id=1, model_version=1, trust={},
            estimates={"accuracy": Score(metric="accuracy", value=estimate)},
            realised={} if realised is None else {"accuracy": realised},
        )  # fmt: skip

    found = past_error([point(0.8, 0.7), point(0.6, 0.9), point(0.5, None), point(None, 0.4)], "accuracy")
    assert found.value == pytest.approx(0.2) and found.n == 2
    never = past_error([point(0.5, None)], "accuracy")
    assert never.value is None and sentence(never.reason) == "No estimate has been checked against labels yet."


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_without_rows_every_metric_is_absent_and_says_why(task: str) -> None:
    report = measure(task, [], [])
    assert set(report.scores) == set(metrics_of(task))
    assert all(score.value is None and score.reason for score in report.scores.values())


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_without_probabilities_their_metrics_are_absent(task: str) -> None:
    true, pred, _, _ = classified(task)
    report = measure(task, true, pred)
    for name in metrics_of(task):
        score = report.score(name)
        assert (score.value is None) == (METRICS[name].needs in ("probabilities", "ranks"))
        assert score.value is not None or "probabilities" in sentence(score.reason)


def test_what_cannot_be_determined_is_none_with_a_reason() -> None:
    same = measure("binary", [1, 1, 1], [1, 1, 1], np.array([[0.1, 0.9]] * 3), [0, 1])
    assert same.score("roc_auc").value is None and "one class" in sentence(same.score("roc_auc").reason)
    assert same.score("kappa").value is None and same.score("kappa").reason
    assert same.score("accuracy").value == 1.0
    one = measure("regression", [2.0], [3.0])
    assert one.score("r2").value is None and "2 rows" in sentence(one.score("r2").reason)
    assert one.score("mae").value == 1.0
    flat = measure("regression", [2.0, 2.0], [3.0, 1.0])
    assert flat.score("r2").value is None and "variance" in sentence(flat.score("r2").reason)
    rounded = measure("regression", np.full(7, 0.1) * 3, np.full(7, 0.31))  # 0.1 * 3 differs from its mean by rounding
    assert rounded.score("r2").value is None and "variance" in sentence(rounded.score("r2").reason)


def test_a_class_that_the_model_does_not_know_has_probability_nought() -> None:
    report = measure("multiclass", ["a", "z"], ["a", "a"], np.array([[0.8, 0.2], [0.5, 0.5]]), ["a", "b"])
    expected = (-math.log(0.8) - math.log(np.finfo(float).eps)) / 2
    assert report.score("log_loss").value == pytest.approx(expected)
    assert report.score("accuracy").value == 0.5


def test_same_rows_and_seed_give_the_same_interval() -> None:
    true, pred, proba, classes = classified("binary")
    first = measure("binary", true, pred, proba, classes, intervals=Intervals(seed=5))
    assert measure("binary", true, pred, proba, classes, intervals=Intervals(seed=5)) == first
    assert measure("binary", true, pred, proba, classes, intervals=Intervals(seed=6)).score("kappa") != first.score(
        "kappa"
    )


def test_wilson_gives_the_published_intervals() -> None:
    # Newcombe 1998, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("wins_losses", [(0, 0), (5, 5), (10, 2), (0, 7), (300, 250), (1200, 1000)])
def test_mcnemar_equals_the_exact_binomial_test(wins_losses: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    wins, losses = wins_losses
    expected = binomtest(wins, wins + losses, 0.5).pvalue if wins + losses else 1.0
    assert mcnemar_exact(wins, losses) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(losses, wins) == mcnemar_exact(wins, losses)


def test_the_paired_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    held, runs = 0, 600
    for _ in range(runs):
        u = rng.random(80)
        a, b = u < 0.8, (u + rng.normal(0, 0.15, 80)) < 0.7
        score = paired_difference(a, b)
        assert score.low is not None and score.high is not None
        held += score.low <= TRUE_DIFFERENCE <= score.high
    # 95 % of 600, four standard deviations (5.3 runs each) allowed below.
    assert held >= 0.95 * runs - 4 * math.sqrt(runs * 0.95 * 0.05)


def _true_difference() -> float:
    rng = np.random.default_rng(8)
    u = rng.random(2_000_000)
    return 0.8 - float(((u + rng.normal(0, 0.15, len(u))) < 0.7).mean())


TRUE_DIFFERENCE = _true_difference()


def test_paired_difference_shows_its_direction_and_has_a_width_when_models_agree() -> None:
    right, wrong = np.ones(50, dtype=bool), np.zeros(50, dtype=bool)
    assert paired_difference(right, wrong).value == 1.0
    agreed = paired_difference(right, right)
    assert agreed.value == 0.0 and agreed.low is not None and agreed.low < 0 < (agreed.high or 0)
    errors = paired_difference(-np.array([1.0, 2.0, 3.0]), -np.array([2.0, 2.5, 5.0]), metric="mae")
    assert errors.value == pytest.approx(3.5 / 3) and errors.method == "paired normal 95 %"
    assert paired_difference(np.empty(0), np.empty(0)).value is None


def test_each_metric_knows_its_direction() -> None:
    assert {name for name in METRICS if not higher_is_better(name)} == {"log_loss", "brier", "mae", "rmse"}
    with pytest.raises(KeyError, match="regression has no metric 'kappa'"):
        measure("regression", [1.0], [1.0], metrics=["kappa"])


@pytest.mark.parametrize(
    "target",
    [
        np.full(7, 0.1) * 3,
        np.array([0.3, 0.1 + 0.2] * 5),
        np.full(30, 1e9 + 0.1),
        np.zeros(5),
        np.full(1_001, -1e-9 / 3),
    ],
)
def test_a_target_that_differs_by_rounding_alone_has_no_r2(target: np.ndarray) -> None:
    score = measure("regression", target, target * 1.03 + 0.01).score("r2")
    assert score.value is None and sentence(score.reason).startswith("All true values are equal")
    varies = target + np.linspace(0, 1e-3, len(target)) * max(1e-6, np.abs(target).max())
    assert measure("regression", varies, varies).score("r2").value == 1.0


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("right", [True, False])
def test_one_row_has_a_value_or_a_reason_in_every_metric(task: Any, right: bool) -> None:
    if task == "regression":
        report = measure(task, [2.0], [2.0 if right else 3.0])
    else:
        classes = ["a", "b", "c"][: 2 if task == "binary" else 3]
        proba = np.eye(len(classes))[[0]]
        report = measure(task, ["a" if right else "b"], ["a"], proba, classes)
    for score in report.scores.values():
        assert (score.value is None) == bool(score.reason)
        assert score.value is None or np.isfinite(score.value)
