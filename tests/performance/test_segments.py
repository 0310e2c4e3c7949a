"""Weak slices, confusion and calibration, on rows whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from core.errors import BadInput
from core.performance.realised import wilson
from core.performance.segments import calibration, confusion, slices_finding, worst_slices
from core.records import Feature, FeatureSchema, Task


def schema(task: Task = "binary") -> FeatureSchema:
    kinds = {"temperature": "numeric", "site": "categorical", "noise": "numeric"}
    return FeatureSchema(task=task, target="y", features=tuple(Feature(name=n, kind=k) for n, k in kinds.items()))  # type: ignore[arg-type]


def rows(rng: np.random.Generator, n: int = 2_000) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "temperature": rng.normal(24, 4, n),
            "site": pd.Series(rng.choice(["east", "west"], n), dtype="str"),
            "noise": pd.Series(rng.normal(size=n)).mask(rng.random(n) < 0.1),
        }
    )


def test_demo_the_model_fails_where_it_is_hot() -> None:
    rng = np.random.default_rng(0)
    X = rows(rng)
    correct = rng.random(len(X)) < np.where(X["temperature"] > 29, 0.55, 0.9)
    found = worst_slices(X, correct, schema())
    first = found[0]
    assert first.feature == "temperature" and first.name.startswith("temperature > 2") and first.stands_out
    cut = float(first.name.split("> ")[1])
    inside = correct[X["temperature"] > cut]
    assert first.n == len(inside) and first.score == pytest.approx(inside.mean())
    assert (first.low, first.high) == pytest.approx(wilson(inside.sum(), len(inside)))
    assert first.difference == pytest.approx(inside.mean() - correct.mean())
    assert first.share == pytest.approx(len(inside) / len(X))
    assert slices_finding(found).startswith(f"Weakest: {first.name}, accuracy 0.")
    assert len(found) <= 4 and len({s.name for s in found}) == len(found)


def test_a_weak_category_and_missing_cells_are_found() -> None:
    rng = np.random.default_rng(1)
    X = rows(rng)
    weak = worst_slices(X, rng.random(len(X)) < np.where(X["site"] == "west", 0.6, 0.9), schema())[0]
    assert weak.name == "site = west" and weak.stands_out
    blind = worst_slices(X, rng.random(len(X)) < np.where(X["noise"].isna(), 0.5, 0.9), schema())[0]
    assert blind.name == "noise is missing" and blind.stands_out


def test_errors_of_a_regression_are_worse_where_they_are_larger() -> None:
    rng = np.random.default_rng(2)
    X = rows(rng)
    error = np.abs(rng.normal(0, np.where(X["site"] == "east", 3.0, 1.0)))
    first = worst_slices(X, error, schema("regression"))[0]
    assert first.name == "site = east" and first.stands_out and first.difference > 0.5
    assert first.low < first.score < first.high
    assert slices_finding([first], metric_label="mean error").startswith("Weakest: site = east, mean error 2.")


def test_where_nothing_is_wrong_no_slice_stands_out_more_often_than_alpha() -> None:
    rng = np.random.default_rng(3)
    seeds, alarms = 100, 0
    for _ in range(seeds):
        X = rows(rng, 400)
        alarms += any(s.stands_out for s in worst_slices(X, rng.random(400) < 0.85, schema()))
    assert alarms <= binom.ppf(1 - 1e-4, seeds, 0.05)


def test_too_few_rows_or_none_wrong_give_no_finding() -> None:
    rng = np.random.default_rng(4)
    X = rows(rng, 90)
    assert worst_slices(X, np.ones(90, dtype=bool), schema()) == []
    assert slices_finding([]) == "Too few labelled rows to compare slices"
    X = rows(rng, 400)
    assert worst_slices(X, np.ones(400, dtype=bool), schema()) == []
    even = worst_slices(X, rng.random(400) < 0.85, schema())
    assert not any(s.stands_out for s in even) and slices_finding(even) == "No slice stands out from the rest"
    with pytest.raises(BadInput, match="400 rows but 3 outcomes"):
        worst_slices(X, [1, 0, 1], schema())


# --- confusion ----------------------------------------------------------------------------------------------------


def test_confusion_counts_and_shares() -> None:
    true = ["Aedes"] * 10 + ["Culex"] * 10 + ["Musca"] * 20
    pred = ["Aedes"] * 9 + ["Culex"] + ["Culex"] * 10 + ["Musca"] * 15 + ["Culex"] * 5
    found = confusion(true, pred, ["Aedes", "Culex", "Musca"])
    assert found.counts == ((9, 1, 0), (0, 10, 0), (0, 5, 15))
    assert found.shares == ((0.9, 0.1, 0.0), (0.0, 1.0, 0.0), (0.0, 0.25, 0.75))
    assert found.finding == "25 % of Musca are taken for Culex"


def test_confusion_knows_classes_that_were_not_named_and_those_that_do_not_occur() -> None:
    found = confusion([1, 1, 3], [1, 3, 3], [1, 2])
    assert found.classes == ("1", "2", "3")
    assert found.shares[1] == (None, None, None) and found.shares[0] == (0.5, 0.0, 0.5)
    assert confusion(["a", "b"], ["a", "b"], ["a", "b"]).finding == "All 2 rows are right"


@pytest.mark.parametrize("rows_", [([], []), (["a"], ["a", "b"])])
def test_confusion_of_nothing_is_refused(rows_: tuple[list[str], list[str]]) -> None:
    with pytest.raises(BadInput, match="expected as many of each, at least one"):
        confusion(*rows_, ["a", "b"])


# --- calibration --------------------------------------------------------------------------------------------------


def outcomes(rng: np.random.Generator, n: int, power: float) -> tuple[list[int], np.ndarray]:
    """Truth drawn from probabilities, and those probabilities sharpened or flattened."""
    proba = rng.dirichlet([0.8] * 3, n)
    truth = [int(rng.choice(3, p=p)) for p in proba]
    said = proba**power
    return truth, said / said.sum(axis=1, keepdims=True)


def test_true_probabilities_hold() -> None:
    truth, proba = outcomes(np.random.default_rng(5), 3_000, 1.0)
    found = calibration(truth, proba, [0, 1, 2])
    assert len(found.points) == 8 and sum(p.n for p in found.points) == 3_000 == found.n
    assert found.error < 0.04 and found.finding == f"Probabilities hold: error {found.error:.2f}"
    assert sum(p.low <= p.predicted <= p.high for p in found.points) >= 6


@pytest.mark.parametrize(("power", "word", "sign"), [(3.0, "too sure", 1), (0.4, "too timid", -1)])
def test_sharpened_and_flattened_probabilities_are_told(power: float, word: str, sign: int) -> None:
    truth, proba = outcomes(np.random.default_rng(6), 2_000, power)
    found = calibration(truth, proba, [0, 1, 2])
    assert found.bias * sign > 0.05 and found.finding.startswith(f"Probabilities are {word}: they say ")


def test_the_error_is_the_weighted_gap() -> None:
    proba = np.array([[0.9, 0.1]] * 10 + [[0.2, 0.8]] * 10)
    truth = ["a"] * 9 + ["b"] + ["b"] * 6 + ["a"] * 4
    found = calibration(truth, proba, ["a", "b"], bins=2)
    assert [(p.predicted, p.observed, p.n) for p in found.points] == [
        (pytest.approx(0.8), 0.6, 10),
        (pytest.approx(0.9), 0.9, 10),
    ]
    assert found.error == pytest.approx(0.1)


@pytest.mark.parametrize("proba", [np.zeros((0, 2)), np.zeros((3, 2)), np.zeros((2, 3))])
def test_shapes_that_do_not_fit_are_refused(proba: Any) -> None:
    with pytest.raises(BadInput, match="expected one row a label"):
        calibration(["a", "b"][: len(proba) and 2], proba, ["a", "b"])
