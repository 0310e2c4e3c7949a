"""What came of a race."""

from __future__ import annotations

from datetime import datetime

import pytest

from core.records import Candidate, CycleReport, Score, as_written
from core.services.automation import race_results
from core.ui.views.train import finding


def entrant(
    name: str, *, loss: float | None = 0.5, weight: float | None = None, fitted: bool = False, error: str | None = None
) -> Candidate:
    score = Score(metric="accuracy", value=None if error else 0.9)
    return Candidate(
        name=name, family="logistic", window="all", n_rows=10, score=score, loss=loss, weight=weight, fitted=fitted,
        seconds=2.0 if fitted else None, error=error,
    )  # fmt: skip


def race(now: datetime, *candidates: Candidate, id: int = 3) -> CycleReport:
    return CycleReport(
        id=id, project_id=1, cause="schedule", status="done", started_at=now, finished_at=now, decision="retrain",
        reason=as_written("It was due."), outcome="promoted", candidates=candidates,
    )  # fmt: skip


def test_entrants_are_ranked_by_weight_then_loss_and_those_that_dropped_out_are_last(now: datetime) -> None:
    torn = entrant("torn", loss=0.1, error="It did not end.")
    light, heavy = entrant("light", weight=0.3, fitted=True), entrant("heavy", weight=0.7, loss=0.4, fitted=True)
    bare, good = entrant("bare", loss=None), entrant("good", loss=0.2)
    found = race_results.result_of(race(now, torn, light, bare, heavy, good))
    assert found.ranked == (heavy, light, good, bare, torn)
    assert found.members == (heavy, light) and found.dropped_out == (torn,) and found.kept_unfitted == ()
    assert (found.fitted, found.fit_seconds) == ((heavy, light), 4.0)
    assert found.best_alone == good and found.metric == "accuracy"


def test_a_member_whose_refit_failed_votes_with_its_earlier_model_and_is_counted_everywhere(now: datetime) -> None:
    kept = entrant("kept", loss=0.1, weight=0.6, error="It could not be fitted.")
    light, torn = entrant("light", weight=0.4, fitted=True), entrant("torn", loss=0.05, error="It did not end.")
    found = race_results.result_of(race(now, torn, light, kept))
    assert found.members == (kept, light) and found.ranked == (kept, light, torn)
    assert (found.kept_unfitted, found.dropped_out, found.best_alone) == ((kept,), (torn,), kept)
    assert "a committee of 2" in finding.of(found).text and "Best single candidate: kept" in finding.of(found).text


def test_where_nobody_was_scored_nobody_is_best(now: datetime) -> None:
    found = race_results.result_of(race(now, entrant("a", loss=None), entrant("b", error="No.")))
    assert found.best_alone is None and found.members == ()


@pytest.mark.parametrize(("asked", "id"), [("2", 2), ("", 3), ("9", 3), ("two", 3), ("-2", 3)])
def test_the_race_that_was_asked_for_is_chosen_else_the_newest(now: datetime, asked: str, id: int) -> None:
    races = [race(now, entrant("a"), id=i) for i in (3, 2, 1)]
    assert race_results.chosen(races, asked).id == id
