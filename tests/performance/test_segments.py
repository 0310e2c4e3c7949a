"""Weak slices of rows whose truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, hypergeom

from core.errors import BadInput
from core.performance.proportions import wilson
from core.performance.segments import _fisher, slices_finding, worst_slices
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


def wide(rng: np.random.Generator, n: int) -> tuple[pd.DataFrame, FeatureSchema]:
    """Eight columns that mean nothing."""
    frame = pd.DataFrame(rng.normal(size=(n, 6)), columns=list("abcdef"))
    for name in ("site", "shift"):
        frame[name] = pd.Series(rng.choice(["east", "north", "west"], n), dtype="str")
    kinds = ["numeric"] * 6 + ["categorical"] * 2
    features = tuple(Feature(name=c, kind=k) for c, k in zip(frame, kinds, strict=True))  # type: ignore[arg-type]
    return frame, FeatureSchema(task="binary", target="y", features=features)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_two_conditions_that_hurt_only_together_are_found_together(task: Task) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, known = wide(rng, 3_000)
        both = ((X["a"] > 0.7) & (X["site"] == "east")).to_numpy()
        if task == "regression":
            merit = np.abs(rng.normal(0, np.where(both, 3.0, 1.0)))
        else:
            merit = rng.random(3_000) < np.where(both, 0.6, 0.9)
        found = worst_slices(X, merit, dataclasses.replace(known, task=task))
        first = found[0]
        assert set(first.features) == {"a", "site"} and first.stands_out
        assert first.name.startswith("a > 0.") and first.name.endswith(" and site = east")
        assert first.tried > 1_000  # conditions and all pairs of them
        # What is weak only for these rows is no finding of its own.
        assert not any(s.stands_out for s in found[1:])


def test_a_second_condition_that_adds_nothing_is_not_named() -> None:
    named, seeds = 0, 40
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X, known = wide(rng, 2_000)
        found = worst_slices(X, rng.random(2_000) < np.where(X["a"] > 0.7, 0.7, 0.9), known)
        assert found[0].features == ("a",) and found[0].stands_out
        named += any(s.stands_out and len(s.features) == 2 for s in found)
    assert named <= binom.ppf(1 - 1e-4, seeds, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("draw", ["rarely wrong", "half wrong", "skewed errors"])
def test_pairs_count_among_what_was_tried(draw: str) -> None:
    rng = np.random.default_rng(31)
    seeds, alarms = 60, 0
    for _ in range(seeds):
        X, known = wide(rng, 600)
        if draw == "skewed errors":
            merit, known = np.exp(2 * rng.normal(size=600)), dataclasses.replace(known, task="regression")
        else:
            merit = rng.random(600) < (0.95 if draw == "rarely wrong" else 0.5)
        alarms += any(s.stands_out for s in worst_slices(X, merit, known))
    assert alarms <= binom.ppf(1 - 1e-4, seeds, 0.05)


def test_the_exact_test_is_fishers() -> None:
    for wrong, n, all_wrong, n_all in ((9, 50, 40, 600), (0, 50, 40, 600), (40, 50, 40, 600), (55, 60, 590, 600)):
        expected = hypergeom.sf(wrong - 1, n_all, all_wrong, n)
        assert _fisher(wrong, n, all_wrong, n_all) == pytest.approx(expected, rel=1e-9)


def test_slices_take_any_columns_and_refuse_outcomes_that_are_no_numbers() -> None:
    rng = np.random.default_rng(5)
    odd = pd.DataFrame(
        {"empty": np.full(300, np.nan), "constant": 1.0, "endless": np.where(rng.random(300) < 0.2, np.inf, 0.0)}
    )
    features = tuple(Feature(name=c, kind="numeric") for c in odd)
    known = FeatureSchema(task="binary", target="y", features=features)
    assert all(not s.stands_out for s in worst_slices(odd, rng.random(300) < 0.9, known))
    with pytest.raises(BadInput, match="not a finite number"):
        worst_slices(odd, np.full(300, np.nan), known)


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
