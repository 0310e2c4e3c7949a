"""Who did best in a backtest."""

from __future__ import annotations

from typing import Any

import pytest

from core.services.automation import backtest_results


def found(metric: str, *scores: float | None) -> backtest_results.Backtest:
    """A backtest of policies a, b, c ... with these scores."""
    counts = {"races": 1, "fits": 2, "promotions": 1, "refreshes": 0, "rollbacks": 0, "seconds": 0.5}
    policies: list[dict[str, Any]] = [
        {"name": name, "score": score, "turns": [{metric: score}], "alerts": 0, **counts}
        for name, score in zip("abcdef", scores, strict=False)
    ]
    return backtest_results.read({"metric": metric, "turns": 1, "rows": 10, "policies": policies})


@pytest.mark.parametrize(
    ("metric", "own", "rival"),
    [("accuracy", "a", "c"), ("mae", "a", "b"), ("accuracy", "c", "d"), ("mae", "gone", "b")],
)
def test_the_best_of_the_others_is_named_beside_the_projects_own(metric: str, own: str, rival: str) -> None:
    best = found(metric, 0.7, 0.6, 0.9, 0.9, None).against_best(own)
    assert best is not None
    assert (best[0].name, best[1].name) == ("a" if own == "gone" else own, rival)


def test_of_equal_ones_the_first_is_named() -> None:
    best = found("accuracy", 0.5, 0.9, 0.9).against_best("a")
    assert best is not None and best[1].name == "b"


@pytest.mark.parametrize("scores", [(None, 0.5), (0.5, None), (0.5,), (None, None)])
def test_without_two_scores_nobody_is_best(scores: tuple[float | None, ...]) -> None:
    backtest = found("accuracy", *scores)
    assert backtest.against_best("a") is None
    assert backtest.has_scored_turns() is any(score is not None for score in scores)


def test_a_policy_is_found_by_its_name() -> None:
    backtest = found("mae", 0.7, 0.6)
    assert (backtest.policy("b").score, backtest.policy("b").fits) == (0.6, 2)
