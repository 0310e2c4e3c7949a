"""Estimates without labels: near the truth while the concept holds, refuted by labels when it does not."""

from __future__ import annotations

import copy
import functools
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from core.errors import BadInput
from core.performance.estimated import ESTIMATED, LIMITS_Z, Estimator, fit_estimator, trust_of, width_of
from core.text.reasons import sentence

N, CHUNK = 2_000, 800


def rows(rng: np.random.Generator, n: int, task: str, *, shift: float = 0.0, flipped: bool = False) -> Any:
    """Features and labels of one concept; `flipped` turns it round."""
    X = rng.normal(size=(n, 3)) + np.array([shift, 0.0, 0.0])
    signal = (X[:, 0] - X[:, 1]) * (-1 if flipped else 1)
    if task == "regression":
        return X, signal + rng.normal(size=n) * (0.3 + 0.4 * np.abs(X[:, 0]))
    if task == "binary":
        return X, (rng.random(n) < 1 / (1 + np.exp(-1.5 * signal))).astype(int)
    odds = np.exp(np.stack([1.5 * signal, X[:, 2], -1.2 * signal], axis=1))
    return X, ((odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


class Model:
    """A plain model of the concept, learnt from rows that no test uses."""

    def __init__(self, task: str) -> None:
        self.task = task
        X, y = rows(np.random.default_rng(99), 2_000, task)
        if task == "regression":
            self.weights = np.linalg.lstsq(X, y, rcond=None)[0]
        else:
            self.line = LogisticRegression().fit(X, y)

    def table(self, X: np.ndarray, y: np.ndarray) -> pd.DataFrame:
        frame = pd.DataFrame(X, columns=["a", "b", "c"])
        if self.task == "regression":
            return frame.assign(y_pred=X @ self.weights, y_true=y)
        proba = self.line.predict_proba(X)
        if self.task == "binary":
            frame["p"] = proba[:, 1]
        else:
            frame[["p_0", "p_1", "p_2"]] = proba
        return frame.assign(y_pred=proba.argmax(axis=1), y_true=y)


def realised(chunk: pd.DataFrame, task: str, metric: str) -> float:
    y, pred = chunk["y_true"], chunk["y_pred"]
    if metric == "mae":
        return float((y - pred).abs().mean())
    if metric == "rmse":
        return float(np.sqrt(((y - pred) ** 2).mean()))
    if metric == "accuracy":
        return float((y == pred).mean())
    if metric == "kappa":
        return float(cohen_kappa_score(y, pred))
    if metric in ("f1", "macro_f1"):
        return float(f1_score(y, pred, average="binary" if task == "binary" else "macro"))
    if task == "binary":
        proba = np.stack([1 - chunk["p"], chunk["p"]], axis=1)
        if metric == "roc_auc":
            return float(roc_auc_score(y, chunk["p"]))
    else:
        proba = chunk[["p_0", "p_1", "p_2"]].to_numpy()
        if metric == "roc_auc":
            return float(roc_auc_score(y, proba, multi_class="ovr"))
    return float(-np.log(np.clip(proba[np.arange(len(y)), y.to_numpy().astype(int)], 1e-5, 1)).mean())


@functools.cache
def _fitted(task: str) -> tuple[Model, Estimator]:
    model = Model(task)
    return model, fit_estimator(model.table(*rows(np.random.default_rng(0), N, task)), task=task)


def fitted(task: str) -> tuple[Model, Estimator]:
    """A model and an estimator without grades."""
    return copy.deepcopy(_fitted(task))


def test_demo_an_estimate_and_its_grade() -> None:
    model, estimator = fitted("binary")
    chunk = model.table(*rows(np.random.default_rng(1), CHUNK, "binary", shift=1.0))
    found = estimator.estimate(chunk.drop(columns="y_true"), "accuracy")
    assert found.value is not None and found.low is not None and found.high is not None
    truth = realised(chunk, "binary", "accuracy")
    assert found.low < truth < found.high and abs(found.value - truth) < 0.04
    trust = estimator.grade(chunk, "accuracy", truth)
    assert trust.trusted and trust.n_chunks == 1 and "agree" in sentence(trust.reason)


@pytest.mark.slow
@pytest.mark.parametrize("task", ESTIMATED)
def test_the_band_covers_the_truth_and_grades_hold_under_covariate_shift(task: str) -> None:
    model, estimator = fitted(task)
    covered: list[bool] = []
    refuted: list[bool] = []
    for seed in range(0, 12, 2):
        chunk = model.table(*rows(np.random.default_rng(50 + seed), 500, task, shift=seed / 10))
        for metric in ESTIMATED[task]:
            found = estimator.estimate(chunk, metric)
            truth = realised(chunk, task, metric)
            assert found.low is not None and found.high is not None
            covered.append(found.low <= truth <= found.high)
            refuted.append(estimator.grade(chunk, metric, truth).trusted is False)
    assert np.mean(covered) >= 0.9
    assert not any(refuted)


@pytest.mark.slow
@pytest.mark.parametrize("task", ESTIMATED)
def test_a_turned_concept_is_not_trusted_by_the_second_labelled_chunk(task: str) -> None:
    model, estimator = fitted(task)
    for i in range(2):
        chunk = model.table(*rows(np.random.default_rng(70 + i), CHUNK, task, flipped=True))
        trusted = {m: estimator.grade(chunk, m, realised(chunk, task, m)) for m in ESTIMATED[task]}
    assert all(
        t.trusted is False and t.n_chunks == 2 and sentence(t.reason).startswith("Not trusted")
        for t in trusted.values()
    )


def test_a_moved_prior_is_followed() -> None:
    model, estimator = fitted("binary")
    X, y = rows(np.random.default_rng(3), 20_000, "binary")
    keep = np.r_[np.flatnonzero(y == 0)[:1_800], np.flatnonzero(y == 1)[:200]]
    chunk = model.table(X[keep], y[keep])
    found = estimator.estimate(chunk, "f1")
    assert found.value is not None
    truth, before = realised(chunk, "binary", "f1"), realised(model.table(X, y), "binary", "f1")
    assert abs(found.value - truth) < 0.25 * abs(before - truth)


@pytest.mark.slow
def test_a_moved_prior_is_followed_where_features_say_too_little_for_a_classifier() -> None:
    """The domain classifier sees nothing in rows whose features hardly know the label; the answers' shares do."""
    rng = np.random.default_rng(12)

    def weak(n: int, positives: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        X = rng.normal(size=(20 * n, 8))
        y = (rng.random(20 * n) < 1 / (1 + np.exp(1.4 - 0.45 * X[:, 0] - 0.3 * X[:, 1]))).astype(int)
        share = y.mean() if positives is None else positives
        ones = rng.choice(np.flatnonzero(y == 1), round(n * share), replace=False)
        keep = rng.permutation(np.r_[ones, rng.choice(np.flatnonzero(y == 0), n - len(ones), replace=False)])
        return X[keep], y[keep]

    model = LogisticRegression().fit(*weak(3_000))

    def table(X: np.ndarray, y: np.ndarray) -> pd.DataFrame:
        p = model.predict_proba(X)[:, 1]
        return pd.DataFrame(X, columns=[f"f{j}" for j in range(8)]).assign(p=p, y_pred=(p > 0.5).astype(int), y_true=y)

    estimator = fit_estimator(table(*weak(6_000)), task="binary")
    held, errors, still = [], [], []
    for _ in range(8):
        chunk = table(*weak(800, positives=0.5))
        found, truth = (
            estimator.estimate(chunk.drop(columns="y_true"), "accuracy"),
            realised(chunk, "binary", "accuracy"),
        )
        assert found.value is not None and found.low is not None and found.high is not None
        held.append(found.low <= truth <= found.high)
        errors.append(abs(found.value - truth))
        still.append(abs(float(np.where(chunk["y_pred"] == 1, chunk["p"], 1 - chunk["p"]).mean()) - truth))
    assert np.mean(errors) < 0.5 * np.mean(still), "what the model's own probabilities say"
    assert sum(held) >= 6


def test_bands_widen_as_the_graded_ones_show_they_should() -> None:
    assert width_of([]) == width_of([0.5, -0.3, 1.0]) == 1.0
    assert width_of([3.0] * 20) == pytest.approx(np.sqrt((3 + 180) / 23))
    assert width_of([9.0, *[0.0] * 20]) == 1.0, "what is long past does not count"
    assert width_of([30.0]) == width_of([-4.0]) == pytest.approx(np.sqrt((3 + 16) / 4)), (
        "a changed concept widens no further"
    )
    model, estimator = fitted("binary")
    chunk = model.table(*rows(np.random.default_rng(1), CHUNK, "binary"))
    before = estimator.estimate(chunk, "accuracy")
    first = estimator.grade(chunk, "accuracy", before.high)
    second = estimator.grade(chunk, "accuracy", 1.0)
    after = estimator.estimate(chunk, "accuracy")
    assert after.value == before.value
    assert after.high - after.low > before.high - before.low  # type: ignore[operator]
    assert first.z == pytest.approx(1.96, abs=0.01) and second.trusted is False, "grades are by the band of the rows"


def test_labels_in_the_chunk_are_not_looked_at() -> None:
    model, estimator = fitted("multiclass")
    chunk = model.table(*rows(np.random.default_rng(5), CHUNK, "multiclass"))
    wrong = chunk.assign(y_true=0)
    for metric in ESTIMATED["multiclass"]:
        assert estimator.estimate(chunk, metric) == estimator.estimate(wrong, metric)


def test_what_the_metrics_share_is_computed_once_a_chunk() -> None:
    model, estimator = fitted("binary")
    chunk = model.table(*rows(np.random.default_rng(6), CHUNK, "binary"))
    started = time.process_time()
    for metric in ESTIMATED["binary"]:
        estimator.estimate(chunk, metric)
    whole = time.process_time() - started
    assert estimator._last is not None and estimator._last[0] is chunk
    assert whole < 2.0  # 0.15 s on a quiet machine with one thread


def test_same_rows_and_seed_same_estimate() -> None:
    model = Model("binary")
    reference, chunk = (model.table(*rows(np.random.default_rng(k), 300, "binary")) for k in (7, 8))
    values = [fit_estimator(reference.copy(), task="binary", seed=3).estimate(chunk, "f1") for _ in range(2)]
    assert values[0] == values[1]


# --- what cannot be estimated -------------------------------------------------------------------------------------


def binary(n: int, seed: int = 0, **columns: Any) -> pd.DataFrame:
    return Model("binary").table(*rows(np.random.default_rng(seed), n, "binary")).assign(**columns)


def test_a_small_reference_an_empty_chunk_and_one_class_are_named() -> None:
    chunk = binary(50)
    few = fit_estimator(binary(60), task="binary").estimate(chunk, "accuracy")
    assert few.value is None and sentence(few.reason) == "The reference has 60 labelled rows; needs 100."
    one = fit_estimator(binary(300, y_true=1), task="binary").estimate(chunk, "accuracy")
    assert one.value is None and "one class" in sentence(one.reason)
    estimator = fit_estimator(binary(300), task="binary")
    assert sentence(estimator.estimate(chunk.head(0), "f1").reason) == "The chunk has no rows."
    holes = estimator.estimate(chunk.assign(p=np.nan), "f1")
    assert holes.value is None and "50 of 50 rows have no prediction" in sentence(holes.reason)
    assert estimator.grade(chunk.head(0), "f1", 0.5).trusted is None
    assert estimator.grade(chunk, "f1", None).n_chunks == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"a": np.nan},
        {"a": np.inf},
        {"c": "always the same"},
        {"p": 0.5},
        {"p": 1.0, "y_pred": 1},
        {"p": 0.0, "y_pred": 0},
        {"b": 1e300},
    ],
)
def test_odd_columns_give_a_band_or_a_reason_and_never_nan(changes: dict[str, Any]) -> None:
    estimator = fit_estimator(binary(400), task="binary")
    odd = fit_estimator(binary(400, seed=2, **changes), task="binary")
    for made, chunk in ((estimator, binary(120, seed=1, **changes)), (odd, binary(120, seed=1))):
        for metric in ESTIMATED["binary"]:
            found = made.estimate(chunk, metric)
            if found.value is None:
                assert found.reason
            else:
                assert found.low is not None and found.high is not None and found.low <= found.value <= found.high
                assert np.isfinite([found.value, found.low, found.high]).all()


def test_one_row_and_text_features_and_new_categories_are_answered() -> None:
    sites = np.random.default_rng(0).choice(["east", "west"], 400)
    estimator = fit_estimator(binary(400, site=sites, flag=sites == "east"), task="binary")
    chunk = binary(30, seed=1, site=["moon"] * 29 + [None], flag=True)
    assert estimator.estimate(chunk, "accuracy").value is not None
    single = estimator.estimate(chunk.head(1), "accuracy")
    assert single.value is not None and single.low is not None and single.high is not None
    assert single.high - single.low > 0.1
    assert estimator.estimate(chunk.drop(columns="site"), "accuracy").value is not None


def test_without_any_feature_the_scores_alone_are_enough() -> None:
    bare = fit_estimator(binary(500)[["p", "y_pred", "y_true"]], task="binary")
    found = bare.estimate(binary(300, seed=1)[["p", "y_pred"]], "accuracy")
    assert found.value == pytest.approx(realised(binary(300, seed=1), "binary", "accuracy"), abs=0.06)


@pytest.mark.slow
def test_ten_classes_one_of_which_the_reference_lacks() -> None:
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(10), 1_500)
    y = (proba.cumsum(axis=1) > rng.random((1_500, 1))).argmax(axis=1)
    table = pd.DataFrame(proba, columns=[f"p_{k}" for k in range(10)]).assign(y_pred=proba.argmax(axis=1), y_true=y)
    estimator = fit_estimator(table[table["y_true"] != 9].head(1_000), task="multiclass")
    for metric in ESTIMATED["multiclass"]:
        found = estimator.estimate(table.tail(400), metric)
        assert found.value is not None and np.isfinite(found.value)


def test_wrong_names_are_refused_with_what_was_expected() -> None:
    with pytest.raises(BadInput, match="Choose one of binary, multiclass, regression"):
        fit_estimator(binary(200), task="ranking")
    with pytest.raises(BadInput, match="The reference has no column y_true"):
        fit_estimator(binary(200).drop(columns="y_true"), task="binary")
    estimator = fit_estimator(binary(200), task="binary")
    with pytest.raises(BadInput, match="no estimate of 'mae' in binary"):
        estimator.estimate(binary(50), "mae")
    with pytest.raises(BadInput, match="The chunk has no column p"):
        estimator.estimate(binary(50).drop(columns="p"), "f1")


# --- trust --------------------------------------------------------------------------------------------------------


def test_trust_rests_on_the_newest_three_chunks() -> None:
    assert trust_of([]).trusted is None
    assert trust_of([LIMITS_Z[0] + 0.1]).trusted is False
    assert trust_of([LIMITS_Z[0] - 0.1]).trusted is True
    assert trust_of([9.0, 9.0, 0.1, -0.1, 0.2]).trusted is True
    refuted = trust_of([0.0, -4.0, -4.0, -4.0])
    assert (
        refuted.trusted is False and refuted.z == -4.0 and "4.0 standard deviations below" in sentence(refuted.reason)
    )
