"""What a model leans on, and whether that changed between two windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.drift.attribution import Importance, Shuffles, attribution_drift, permutation_importance
from core.errors import BadInput, NotEnoughRows
from core.records import Feature, FeatureSchema
from core.text.reasons import sentence


def schema(task: Any = "binary", features: int = 4) -> FeatureSchema:
    return FeatureSchema(
        task=task,
        target="y",
        classes=() if task == "regression" else (0, 1),
        features=tuple(Feature(name=f"x{j}", kind="numeric") for j in range(features)),
    )


def window(seed: int, n: int = 800, leading: str = "x0") -> tuple[pd.DataFrame, np.ndarray]:
    """Labels that follow one feature, and x1 a little."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=[f"x{j}" for j in range(4)])
    return X, (2 * X[leading] + X["x1"] + rng.normal(0, 0.5, n) > 0).to_numpy(dtype=np.int64)


def labels(X: pd.DataFrame) -> np.ndarray:
    return (2 * X["x0"] + X["x1"] > 0).to_numpy(dtype=np.int64)


def probabilities(X: pd.DataFrame) -> np.ndarray:
    p = 1 / (1 + np.exp(-3 * (2 * X["x0"] + X["x1"])))
    return np.column_stack([1 - p, p])


def test_a_model_that_lost_its_leading_feature_is_found() -> None:
    before, after = (
        permutation_importance(labels, *w, schema(), shuffling=Shuffles(seed=0))
        for w in (window(1), window(2, leading="x2"))
    )
    assert list(before) == ["x0", "x1", "x2", "x3"] and before["x0"].mean > before["x1"].mean > 0
    report = attribution_drift(before, after)
    assert report.drifted and report.scores[0].name == "x0" and report.scores[0].drifted
    assert (report.scores[0].difference or 0) < 0 and abs(report.scores[0].z or 0) > 5
    assert sentence(report.finding).startswith("The model relies less on x0: importance 0.")


@pytest.mark.parametrize("proba", [None, probabilities])
def test_importance_is_the_loss_that_shuffling_adds(proba: Any) -> None:
    found = permutation_importance(
        labels, *window(3, 2_000), schema(), predict_proba=proba, shuffling=Shuffles(repeats=8, seed=1)
    )
    assert found["x2"] == found["x3"] == Importance(mean=0.0, sd=0.0, error=0.0)
    X, y = window(3, 2_000)
    rng = np.random.default_rng(9)
    shuffled = X.assign(x0=rng.permutation(X["x0"]))

    def loss(frame: pd.DataFrame) -> float:
        if proba is None:
            return float((labels(frame) != y).mean())
        return float(-np.log(np.clip(proba(frame)[np.arange(len(y)), y], 1e-6, 1)).mean())

    assert found["x0"].mean == pytest.approx(loss(shuffled) - loss(X), rel=0.1)


def test_only_the_features_that_are_asked_for_are_shuffled() -> None:
    asked: list[int] = []

    def counted(X: pd.DataFrame) -> np.ndarray:
        assert list(X.columns) == ["x0", "x1", "x2", "x3"]
        asked.append(len(X))
        return labels(X)

    found = permutation_importance(
        counted, *window(1), schema(), shuffling=Shuffles(repeats=2, only=["x2", "x0"], seed=0)
    )
    assert list(found) == ["x0", "x2"]
    assert found["x0"].mean > 0.1 and found["x2"].mean == 0
    assert sum(asked) == 800 * (1 + 2 * 2)


def test_the_error_is_how_much_the_mean_varies_between_windows() -> None:
    found = [
        permutation_importance(labels, *window(s, 300), schema(), shuffling=Shuffles(seed=s))["x0"] for s in range(100)
    ]
    spread = float(np.std([f.mean for f in found], ddof=1))
    # The standard deviation of 100 draws is uncertain by 7 %; the error is meant to be a little too large.
    assert 0.9 * spread < np.mean([f.error for f in found]) < 1.5 * spread
    # The mean is of five shuffles, and their noise is only a part of its own.
    assert 0 < np.mean([f.sd for f in found]) / np.sqrt(5) < spread


def test_equal_windows_are_seldom_called_drift() -> None:
    alarms = 0
    for seed in range(40):
        a, b = (
            permutation_importance(labels, *window(1_000 + 2 * seed + k, 300), schema(), shuffling=Shuffles(seed=k))
            for k in (0, 1)
        )
        alarms += any(
            s.reason.code != "importance_by_chance" and s.z is not None for s in attribution_drift(a, b).scores
        )
    # At most 5 % by Holm: 2 expected, 9 or more have a chance of 1e-4.
    assert alarms < 9


def test_regression_takes_the_absolute_error() -> None:
    X, _ = window(4)
    y = 3 * X["x0"].to_numpy() + 1
    found = permutation_importance(lambda f: 3 * f["x0"] + 1, X, y, schema("regression"), shuffling=Shuffles(seed=0))
    # Two independent standard normals are 2 / sqrt(pi) apart on average.
    assert found["x0"].mean == pytest.approx(3 * 2 / np.sqrt(np.pi), rel=0.1) and found["x1"].mean == 0


def test_text_columns_and_missing_cells_are_shuffled_like_others() -> None:
    rng = np.random.default_rng(5)
    X = pd.DataFrame(
        {
            "site": pd.Series(rng.choice(["east", "west"], 400), dtype="str"),
            "x": pd.array(rng.normal(size=400), dtype="Float64"),
        }
    )
    X.loc[::7, "site"] = None
    y = (X["site"] == "east").fillna(False).map({True: "yes", False: "no"}).to_numpy()
    two = FeatureSchema(
        task="binary", target="y", classes=("no", "yes"),
        features=(Feature(name="site", kind="categorical"), Feature(name="x", kind="numeric")),
    )  # fmt: skip
    found = permutation_importance(
        lambda f: np.where((f["site"] == "east").fillna(False), "yes", "no"), X, y, two, shuffling=Shuffles(seed=0)
    )
    assert found["site"].mean > 0.3 and found["x"].mean == 0


def test_rows_without_labels_are_left_out_and_many_rows_drawn_from() -> None:
    X, y = window(6, 5_000)
    late = y.astype(object)
    late[::2] = None
    sizes = []

    def counted(frame: pd.DataFrame) -> np.ndarray:
        sizes.append(len(frame))
        return labels(frame)

    permutation_importance(counted, X, late, schema(), shuffling=Shuffles(repeats=3, seed=0))
    assert sizes == [2_000, 2_000 * 3 * 4]
    with pytest.raises(NotEnoughRows, match="needs 50 rows, found 20"):
        permutation_importance(labels, X.head(40), late[:40], schema(), shuffling=Shuffles(seed=0))


def test_a_label_that_the_model_has_never_seen_is_a_certain_miss() -> None:
    X, _ = window(7, 400)
    found = permutation_importance(
        labels, X, np.full(400, 7), schema(), predict_proba=probabilities, shuffling=Shuffles(seed=0)
    )
    assert all(f == Importance(mean=0.0, sd=0.0, error=0.0) for f in found.values())


def test_the_same_seed_gives_the_same_importance() -> None:
    assert permutation_importance(labels, *window(8), schema(), shuffling=Shuffles(seed=3)) == permutation_importance(
        labels, *window(8), schema(), shuffling=Shuffles(seed=3)
    )


def test_bad_input_is_refused_by_name() -> None:
    X, y = window(9, 100)
    with pytest.raises(BadInput, match="no column x3"):
        permutation_importance(labels, X.drop(columns="x3"), y, schema(), shuffling=Shuffles(seed=0))
    with pytest.raises(BadInput, match="100 rows but 99 labels"):
        permutation_importance(labels, X, y[:99], schema(), shuffling=Shuffles(seed=0))
    with pytest.raises(BadInput, match="repeats is 0"):
        permutation_importance(labels, X, y, schema(), shuffling=Shuffles(repeats=0, seed=0))
    with pytest.raises(BadInput, match="predictions of the shape"):
        permutation_importance(lambda f: labels(f)[:-1], X, y, schema(), shuffling=Shuffles(seed=0))
    with pytest.raises(BadInput, match="probabilities of the shape"):
        permutation_importance(
            labels, X, y, schema(), predict_proba=lambda f: probabilities(f)[:, :1], shuffling=Shuffles(seed=0)
        )
    with pytest.raises(BadInput, match="needs numbers"):
        permutation_importance(lambda f: ["a"] * len(f), X, y, schema("regression"), shuffling=Shuffles(seed=0))
    with pytest.raises(BadInput, match="needs numbers"):
        permutation_importance(lambda f: [10**400] * len(f), X, y, schema("regression"), shuffling=Shuffles(seed=0))
    with pytest.raises(BadInput, match="not finite"):
        permutation_importance(lambda f: [np.nan] * len(f), X, y, schema("regression"), shuffling=Shuffles(seed=0))
    with pytest.raises(BadInput, match="Only one of the windows has b"):
        attribution_drift({"a": importance(0.1)}, {"a": importance(0.1), "b": importance(0.1)})


def importance(mean: float, error: float = 0.01) -> Importance:
    return Importance(mean=mean, sd=error / 2, error=error)


def test_a_sure_but_small_difference_is_no_drift() -> None:
    report = attribution_drift(
        {"a": importance(0.5, 0.001), "b": importance(0.2, 0.001)},
        {"a": importance(0.5, 0.001), "b": importance(0.22, 0.001)},
    )
    assert not report.drifted and sentence(report.scores[0].reason).startswith(
        "significant but small: importance 0.200 → 0.220"
    )


def test_an_order_that_turned_round_has_a_negative_rank_correlation() -> None:
    before = {name: importance(0.1 * k) for k, name in enumerate("abcd", start=1)}
    after = {name: importance(0.5 - 0.1 * k) for k, name in enumerate("abcd", start=1)}
    report = attribution_drift(before, after)
    assert report.rank_correlation == pytest.approx(-1) and report.drifted
    assert sentence(report.finding).endswith(
        "the order of the features is largely unrelated to the earlier one (rank correlation -1.00)"
    )
    same = attribution_drift(before, before)
    assert same.rank_correlation == pytest.approx(1) and not same.drifted
    assert sentence(same.finding).startswith("The model relies on its features as before (4 features compared)")


def test_what_cannot_be_compared_is_said() -> None:
    nothing = {"a": importance(0.0, 0.0), "b": importance(0.0, 0.0)}
    report = attribution_drift(nothing, nothing)
    assert report.scores[0].z is None and report.scores[0].reason.code == "not_judged"
    assert report.rank_correlation is None and "order not compared" in sentence(report.finding)
    assert attribution_drift({}, {}).scores == ()
