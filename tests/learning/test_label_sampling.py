"""Sampling rows to label: exact inclusion probabilities, unbiased estimates, intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import BadInput
from core.learning.label_sampling import draw, expected_gain, inclusion_probabilities, labels_to_halve, weighted_score
from core.records import Score
from core.text.reasons import sentence


def pool(size: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gains of rows, and whether the answer to each is right: often wrong where the gain is high."""
    rng = np.random.default_rng(seed)
    gain = rng.beta(1, 4, size)
    return gain, rng.random(size) > gain


def test_chances_add_up_never_pass_one_and_prefer_what_teaches() -> None:
    gain, _ = pool()
    gain[:5] = 50.0
    chances = inclusion_probabilities(gain, n=60)
    assert chances.sum() == pytest.approx(60) and chances.max() == 1.0 and (chances[:5] == 1.0).all()
    rest = np.argsort(gain[5:])
    assert (np.diff(chances[5:][rest]) >= -1e-12).all()
    assert chances.min() > 0, "the random share reaches every row"
    np.testing.assert_allclose(inclusion_probabilities(np.zeros(10), n=4), 0.4)
    assert (inclusion_probabilities(gain, n=600) == 1.0).all() and (inclusion_probabilities(gain, n=9_999) == 1.0).all()


def test_rows_are_drawn_as_often_as_their_chance_says() -> None:
    gain, _ = pool(60)
    chances = inclusion_probabilities(gain, n=12)
    drawn = np.zeros(60)
    rounds = 4_000
    for seed in range(rounds):
        sample = draw(gain, n=12, seed=seed)
        assert len(sample.positions) == len(set(sample.positions.tolist())) == 12
        np.testing.assert_allclose(sample.inclusion_probabilities, chances[sample.positions])
        drawn[sample.positions] += 1
    error = np.sqrt(chances * (1 - chances) / rounds)
    assert (np.abs(drawn / rounds - chances) <= 4.5 * error + 1e-12).all()


def test_weights_undo_the_preference_for_hard_rows() -> None:
    gain, right = pool()
    truth = right.mean()
    rounds = 2_000
    weighted, plain, covered = [], [], 0
    for seed in range(rounds):
        sample = draw(gain, n=80, seed=seed)
        said = np.ones(80, dtype=int)
        score = weighted_score(
            "binary", "accuracy", right[sample.positions].astype(int), said, 1 / sample.inclusion_probabilities
        )
        weighted.append(score.value)
        plain.append(right[sample.positions].mean())
        covered += score.low <= truth <= score.high
    error = np.std(weighted) / np.sqrt(rounds)
    # Hajek's ratio has a bias of the order 1/n beside the noise of 2,000 rounds.
    assert abs(np.mean(weighted) - truth) <= 4 * error + 0.003
    assert truth - np.mean(plain) > 0.05, "without weights the hard rows would speak for all"
    assert covered / rounds >= 0.92


def test_few_drawn_rows_without_a_mistake_are_no_certainty() -> None:
    gain, right = pool()
    truth, rounds, covered = right.mean(), 1_000, 0
    for seed in range(rounds):
        sample = draw(gain, n=20, seed=seed)
        truths, said = right[sample.positions].astype(int), np.ones(20, dtype=int)
        score = weighted_score("binary", "accuracy", truths, said, 1 / sample.inclusion_probabilities)
        covered += score.low <= truth <= score.high  # type: ignore[operator]
    assert covered / rounds >= 0.92, "the linearised variance alone: 0.87 to 0.89"
    sure = weighted_score("binary", "accuracy", np.ones(20), np.ones(20), np.ones(20))
    assert sure.value == 1.0 and 0.8 < sure.low < 0.9 and sure.high == 1.0  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("multiclass", "kappa"),
        ("multiclass", "macro_f1"),
        ("regression", "mae"),
        ("regression", "rmse"),
        ("regression", "r2"),
    ],
)
def test_other_metrics_are_those_of_the_pool_when_all_of_it_is_drawn_often(task: str, metric: str) -> None:
    from core.performance.realised import measure

    rng = np.random.default_rng(1)
    if task == "regression":
        truth = rng.normal(size=500)
        said = truth + rng.normal(0, 0.5, 500)
    else:
        truth = rng.integers(0, 3, 500)
        said = np.where(rng.random(500) < 0.7, truth, rng.integers(0, 3, 500))
    exact = measure(task, truth, said, metrics=[metric], intervals=None).score(metric).value  # type: ignore[arg-type]
    once = weighted_score(task, metric, truth, said, np.ones(500))  # type: ignore[arg-type]
    assert once.value == pytest.approx(exact, abs=1e-12)
    assert once.low is not None and once.high is not None and once.low < exact < once.high
    gain = rng.random(500)
    found = [draw(gain, n=150, seed=s) for s in range(150)]
    mean = np.mean(
        [
            weighted_score(task, metric, truth[d.positions], said[d.positions], 1 / d.inclusion_probabilities).value
            for d in found
        ]
    )  # type: ignore[arg-type]
    assert mean == pytest.approx(exact, abs=0.02)


def test_halving_takes_three_times_more_labels_and_fewer_where_the_pool_ends() -> None:
    score = Score(metric="accuracy", value=0.8, low=0.7, high=0.9, n=50)
    assert labels_to_halve(score, pool=10**9) == 150
    assert labels_to_halve(score, pool=200) == 65  # 1/n' = (1/50 - 1/200)/4 + 1/200 -> n' = 114.3
    assert labels_to_halve(score, pool=50) is None
    assert labels_to_halve(Score(metric="accuracy", value=None), pool=100) is None


def test_what_cannot_be_drawn_or_reported_says_why() -> None:
    for gain in ([0.1, np.nan], [0.2, -0.1]):
        with pytest.raises(BadInput, match="finite numbers"):
            inclusion_probabilities(np.array(gain), n=1)
    with pytest.raises(BadInput, match="random_share"):
        inclusion_probabilities(np.ones(3), n=1, random_share=0.0)
    assert len(draw(np.ones(3), n=0, seed=1).positions) == 0
    one = weighted_score("binary", "accuracy", np.array([1]), np.array([1]), np.ones(1))
    assert one.value is None and "Needs 2" in sentence(one.reason)
    assert weighted_score("binary", "roc_auc", np.ones(9), np.ones(9), np.ones(9)).value is None
    np.testing.assert_allclose(expected_gain(np.array([[0.9, 0.1], [0.5, 0.5]])), [0.1, 0.5])
