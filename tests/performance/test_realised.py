"""Realised performance: every metric against sklearn, intervals against published values and by counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from core.performance.realised import (
    METRICS,
    higher_is_better,
    mcnemar_exact,
    measure,
    metrics_of,
    paired_difference,
    wilson,
)

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


SKLEARN = {
    "accuracy": lambda t, p, q, c: reference.accuracy_score(t, p),
    "balanced_accuracy": lambda t, p, q, c: reference.balanced_accuracy_score(t, p),
    "kappa": lambda t, p, q, c: reference.cohen_kappa_score(t, p),
    "macro_f1": lambda t, p, q, c: reference.f1_score(t, p, average="macro"),
    "mcc": lambda t, p, q, c: reference.matthews_corrcoef(t, p),
    "log_loss": lambda t, p, q, c: reference.log_loss(t, q, labels=c),
    "brier": lambda t, p, q, c: reference.brier_score_loss(t, q, labels=c, scale_by_half="auto"),
    "roc_auc": lambda t, p, q, c: reference.roc_auc_score(t, q[:, 1]),
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
    assert score.method == ("Wilson 95 %" if metric == "accuracy" else "bootstrap 95 %")


def test_tied_scores_count_half_in_roc_auc() -> None:
    true = np.array([0, 1, 0, 1, 1, 0])
    last = np.array([0.2, 0.2, 0.7, 0.7, 0.9, 0.2])
    score = measure("binary", true, last > 0.5, np.column_stack([1 - last, last]), [0, 1], metrics=["roc_auc"])
    assert score.score("roc_auc").value == pytest.approx(reference.roc_auc_score(true, last), abs=1e-12)


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
        assert (score.value is None) == (METRICS[name].needs == "probabilities")
        assert score.value is not None or "probabilities" in score.reason


def test_what_cannot_be_told_is_none_with_a_reason() -> None:
    same = measure("binary", [1, 1, 1], [1, 1, 1], np.array([[0.1, 0.9]] * 3), [0, 1])
    assert same.score("roc_auc").value is None and "one class" in same.score("roc_auc").reason
    assert same.score("kappa").value is None and same.score("kappa").reason
    assert same.score("accuracy").value == 1.0
    one = measure("regression", [2.0], [3.0])
    assert one.score("r2").value is None and "2 rows" in one.score("r2").reason
    assert one.score("mae").value == 1.0
    flat = measure("regression", [2.0, 2.0], [3.0, 1.0])
    assert flat.score("r2").value is None and "variance" in flat.score("r2").reason


def test_a_class_that_the_model_does_not_know_has_probability_nought() -> None:
    report = measure("multiclass", ["a", "z"], ["a", "a"], np.array([[0.8, 0.2], [0.5, 0.5]]), ["a", "b"])
    expected = (-math.log(0.8) - math.log(np.finfo(float).eps)) / 2
    assert report.score("log_loss").value == pytest.approx(expected)
    assert report.score("accuracy").value == 0.5


def test_same_rows_and_seed_give_the_same_interval() -> None:
    true, pred, proba, classes = classified("binary")
    first = measure("binary", true, pred, proba, classes, seed=5)
    assert measure("binary", true, pred, proba, classes, seed=5) == first
    assert measure("binary", true, pred, proba, classes, seed=6).score("kappa") != first.score("kappa")


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


def test_paired_difference_tells_its_direction_and_has_a_width_when_models_agree() -> None:
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
