"""Calibration of probabilities from which the truth is drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core.errors import BadInput
from core.performance.calibration import calibration


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
def test_sharpened_and_flattened_probabilities_are_reported(power: float, word: str, sign: int) -> None:
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


@pytest.mark.parametrize("power", [1.0, 1.3, 2.5])
def test_the_interval_of_the_error_holds_the_truth(power: float) -> None:
    def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        proba = rng.dirichlet([0.8] * 3, n)
        truth = (proba.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 2)
        said = proba**power
        return truth, said / said.sum(axis=1, keepdims=True)

    truth = 0.0 if power == 1.0 else calibration(*drawn(np.random.default_rng(1), 200_000), [0, 1, 2]).error
    held, runs = 0, 80
    for seed in range(runs):
        found = calibration(*drawn(np.random.default_rng(100 + seed), 400), [0, 1, 2])
        assert 0.0 <= found.low <= found.error <= found.high <= 1.0
        held += found.low <= truth <= found.high
    # Measured at 0.90 and more for a promised 0.95: the bins are few. Four standard deviations below that.
    assert held >= 0.90 * runs - 4 * math.sqrt(runs * 0.9 * 0.1)


def test_rows_with_one_probability_stay_in_one_bin() -> None:
    proba = np.array([[0.75, 0.25]] * 12 + [[1.0, 0.0]] * 20)
    found = calibration(["a"] * 9 + ["b"] * 3 + ["a"] * 20, proba, ["a", "b"])
    assert [(p.predicted, p.observed, p.n) for p in found.points] == [(0.75, 0.75, 12), (1.0, 1.0, 20)]
    assert found.error == 0.0 == found.low
    one = calibration(["a"], [[1.0, 0.0]], ["a", "b"])
    assert (one.error, one.low, one.high, len(one.points)) == (0.0, 0.0, 0.0, 1)
    with pytest.raises(BadInput, match="not a finite number"):
        calibration(["a"], [[np.nan, 0.0]], ["a", "b"])


@pytest.mark.parametrize("proba", [np.zeros((0, 2)), np.zeros((3, 2)), np.zeros((2, 3))])
def test_shapes_that_do_not_fit_are_refused(proba: Any) -> None:
    with pytest.raises(BadInput, match="expected one row a label"):
        calibration(["a", "b"][: len(proba) and 2], proba, ["a", "b"])
