"""Regimes, rows that nothing learns from, models kept from earlier regimes, shadows, fits that do not end."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from patience import Patience, until

from core.cycle.fitting import in_time
from core.errors import FitTimeout
from core.learning import models
from core.learning.candidates import BARRED_ROWS, weights_of
from core.learning.learner import advance
from core.learning.memory import (
    FROZEN_PER_BATCH,
    FROZEN_ROWS,
    MAX_REGIMES,
    frozen_keys,
    memory_of,
    with_frozen,
    with_new_regime,
)
from core.learning.state import LearnerState, Member, Regime
from core.learning.step import Labelled, Run, Situation
from core.learning.threshold import best_threshold
from core.performance.formulas import COMPUTE
from core.storage.artefacts import dumps, loads

LIGHT = {"families": ("logistic", "ridge", "neighbours"), "new_labels": 100, "min_rows": 50}


# --- frozen rows and the matrix -----------------------------------------------------------------------------------


def test_rows_are_frozen_few_at_a_time_until_a_regime_has_enough() -> None:
    regimes = with_new_regime((), row=0, first=0)
    for start in (0, 100, 200):
        regimes = with_frozen(regimes, list(range(start, start + 80)))
    assert len(regimes[0].rows) == FROZEN_ROWS and regimes[0].rows[FROZEN_PER_BATCH] == 100
    for i in range(MAX_REGIMES + 2):
        regimes = with_new_regime(regimes, row=i + 1, first=i + 1)
    assert len(regimes) == MAX_REGIMES
    assert regimes[-1].number == MAX_REGIMES + 3


def test_backward_transfer_is_the_mean_of_now_minus_then_over_past_regimes() -> None:
    regimes = (
        Regime(number=1, row=0, first=0, rows=(1, 2), scores=((1, 0.9),)),
        Regime(number=2, row=500, first=500, rows=(501,), scores=((1, 0.5), (2, 0.8))),
        Regime(number=3, row=900, first=900, rows=(901,)),
    )
    found = memory_of(regimes, ((1, 0.3), (2, 0.7), (3, 0.95)), task="binary")
    assert found is not None
    assert found.matrix == ((0.9, None, None), (0.5, 0.8, None), (0.3, 0.7, 0.95))
    # Lopez-Paz and Ranzato 2017, equation 3: ((.3 - .9) + (.7 - .8)) / 2
    assert found.bwt == pytest.approx(-0.35)
    errors = memory_of(regimes, ((1, 1.5), (2, 1.0), (3, 0.2)), task="regression")
    assert errors is not None and errors.bwt == pytest.approx(-(0.6 + 0.2) / 2), "a greater error is forgetting too"
    assert memory_of(with_new_regime((), row=0, first=0), (), task="binary") is None


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_no_model_ever_learns_from_a_frozen_row(task, driver, rows_of, monkeypatch) -> None:
    learnt: set[int] = set()
    fit = models.fit_family

    def spy(family, schema, X, y, *, seed):
        learnt.update(X.index.tolist())
        return fit(family, schema, X, y, seed=seed)

    monkeypatch.setattr("core.learning.candidates.fit_family", spy)
    loop = driver(task, **LIGHT)
    for i in range(12):
        loop.feed(*rows_of(task, 200, seed=i, flip=i >= 6))
    regimes = loop.state.regimes
    assert len(regimes) >= 2 and regimes[0].scores, "the flip ended the first regime"
    frozen = set(frozen_keys(regimes).tolist())
    assert len(frozen) >= 2 * FROZEN_ROWS
    assert not frozen & learnt and len(learnt) > 1_000
    assert regimes[1].first == pytest.approx(1_200, abs=30)
    memory = next(s.memory for s in reversed(loop.steps) if s.memory)
    assert len(memory.matrix) == len([r for r in regimes if r.scores]) + 1
    assert memory.bwt is not None and memory.bwt < -0.3, "the concept was turned round: the old one is forgotten"


def test_a_comparison_shows_what_the_clauses_ask_for(driver, rows_of) -> None:
    loop = driver("multiclass", **LIGHT)
    for i in range(8):
        loop.feed(*rows_of("multiclass", 300, seed=i, flip=i >= 5))
    compared = [s.comparison for s in loop.steps[1:] if s.comparison]
    last = compared[-1]
    assert last.worst_slice is not None and 0 < last.worst_slice.n < last.n
    assert last.past is not None and last.past.n >= FROZEN_ROWS
    assert last.past.difference == pytest.approx(last.past.challenger - last.past.champion)
    assert last.calibration is not None and -1 <= last.calibration.challenger <= 1
    assert last.seconds is None and last.problem == "", "no clock in a replay"
    assert any(c.past.answers_change for c in compared if c.past)


# --- kept models --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_concept_that_comes_back_is_answered_by_the_model_that_was_kept(driver, rows_of) -> None:
    def accuracies(archive: int) -> list[float]:
        loop = driver("binary", archive=archive, **{**LIGHT, "families": ("logistic",)})
        for i in range(16):
            loop.feed(*rows_of("binary", 200, seed=i, flip=5 <= i < 10, noise=0.6))
        return [s.evidence.score for s in loop.steps[1:]], loop

    kept, loop = accuracies(2)
    alone, _ = accuracies(0)
    assert any(m.archived for m in loop.state.members)
    assert not any(m.archived for m in driver("binary", archive=0).state.members)
    assert kept[10] >= alone[10], "the batch after the first concept came back"
    reported = [c for s in loop.steps for c in s.candidates if c.window.startswith("until ") and c.weight]
    assert reported and all("kept from before row" in c.name for c in reported)


def test_a_kept_model_votes_only_while_it_does_best() -> None:
    old = Member(family="boosting", window="until 500", model=object(), loss=0.4)
    new = Member(family="boosting", window="all", model=object(), loss=0.5)
    assert weights_of([old, new], 12.0)[0] > 0.5
    assert weights_of([replace(old, loss=0.5), new], 12.0) == [0.0, 1.0]


# --- a fit that does not end --------------------------------------------------------------------------------------


def test_work_that_does_not_end_in_time_is_given_up_and_its_thread_stopped() -> None:
    state = {"running": True}

    def endless() -> Member:
        try:
            while True:
                time.sleep(0.01)
        finally:
            state["running"] = False

    patience = Patience(2)
    with pytest.raises(FitTimeout, match=r"had not ended after 0\.2 seconds"):
        in_time(endless, 0.2)
    patience.check("the end of the work")
    until("its thread to stop", lambda: not state["running"])
    with pytest.raises(ZeroDivisionError):
        in_time(lambda: 1 / 0, 5.0)  # type: ignore[arg-type, return-value]


def test_a_candidate_whose_fit_never_ends_drops_out_and_is_left_alone_for_a_while(driver, rows_of, monkeypatch) -> None:
    fit = models.fit_family
    asked: list[str] = []

    def stuck(family, schema, X, y, *, seed):
        asked.append(family)
        while family == "extra_trees":
            time.sleep(0.01)
        return fit(family, schema, X, y, seed=seed)

    monkeypatch.setattr("core.learning.candidates.fit_family", stuck)
    loop = driver("binary", **{**LIGHT, "families": ("logistic", "extra_trees"), "fit_timeout_s": 0.3})
    for i in range(4):
        loop.feed(*rows_of("binary", 200, seed=i), fit_within=in_time)
    first = loop.steps[0]
    assert first.outcome == "promoted" and first.unfinished
    reported = next(c for c in first.candidates if c.family == "extra_trees")
    assert reported.error is not None and "0.3 seconds" in reported.error
    assert asked.count("extra_trees") <= 2, "each of its windows once"
    assert not any(s.unfinished for s in loop.steps[2:])
    barred = [m for m in loop.state.members if m.family == "extra_trees" and m.barred_until]
    assert barred and barred[0].barred_until == 200 + BARRED_ROWS


# --- the shadow ---------------------------------------------------------------------------------------------------


def test_a_challenger_serves_only_after_its_time_in_the_shadow(driver, rows_of) -> None:
    loop = driver("binary", **{**LIGHT, "shadow_rows": 400})
    loop.feed(*rows_of("binary", 400))
    for i in range(1, 4):
        loop.feed(*rows_of("binary", 200, seed=i))
    seed, before = 4, loop.state.champion_version
    while loop.state.shadow is None:
        before = loop.state.champion_version
        step = loop.feed(*rows_of("binary", 200, seed=seed, flip=True))
        seed += 1
    shadow = loop.state.shadow
    assert shadow is not None and loop.state.champion_version == before, "nobody gets its answers yet"
    while (tried := loop.state.shadow) is not None:
        shadow = tried  # a change that is found meanwhile puts another one there
        step = loop.feed(*rows_of("binary", 200, seed=seed, flip=True))
        seed += 1
    assert step.outcome in ("promoted", "refreshed") and step.champion_version == shadow.version
    assert step.champion is not None and step.champion.members == shadow.model.members, "the very artefact"
    comparison = step.comparison
    assert comparison is not None and comparison.n >= 400 and comparison.wins > comparison.losses
    assert comparison.p is not None and comparison.p <= 0.05, "the evidence of each row, not one look at the end"
    assert "in the champion's shadow" in comparison.rows_from


def test_a_shadow_that_is_no_better_is_let_go(driver, rows_of) -> None:
    loop = driver("binary", **{**LIGHT, "shadow_rows": 200})
    loop.feed(*rows_of("binary", 400))
    champion = loop.state.champion
    assert champion is not None
    loop.state = loop.state.shadowing(champion, 7)
    step = loop.feed(*rows_of("binary", 200, seed=1))
    assert step.outcome == "rejected" and step.state.shadow is None and step.champion_version == 1


def test_regimes_and_shadow_survive_storing_and_old_states_are_taken(driver, rows_of) -> None:
    loop = driver("binary", **{**LIGHT, "metric": "kappa"})
    for i in range(6):
        loop.feed(*rows_of("binary", 200, seed=i, flip=i >= 3))
    state = loop.state.shadowing(loop.state.champion, 9)
    document, estimators = state.to_parts()
    stored = {key: loads(dumps(model)) for key, model in estimators.items()}
    again = LearnerState.from_parts(document, stored)
    assert again.regimes == state.regimes and again.chances == state.chances and len(again.chances) > 100
    assert again.shadow is not None and state.shadow is not None
    assert (again.shadow.version, again.shadow.kind) == (9, "promotion")
    X, y = rows_of("binary", 200, seed=9)
    fresh = Labelled(X=X.set_axis(np.arange(1200, 1400)), y=y, first_row=1200)
    loop.X, loop.y = fresh.X, fresh.y  # the window of both
    steps = [
        advance(s, fresh, loop.window, Situation(), Run(schema=loop.schema, policy=loop.policy, seed=0, next_version=4))
        for s in (state, again)
    ]
    assert steps[0].state.to_parts()[0] == steps[1].state.to_parts()[0]
    old = {k: v for k, v in document.items() if k not in ("shadow", "regimes", "chances")} | {"format": 1}
    for member in old["members"]:
        member.pop("barred_until")
    assert LearnerState.from_parts(old, stored).regimes == ()


# --- the threshold ------------------------------------------------------------------------------------------------


def test_the_threshold_is_tuned_for_the_metric_and_only_with_enough_rows() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(4_000) < 0.1
    p = np.clip(0.1 + 0.25 * truth + rng.normal(0, 0.08, 4_000), 0.0, 1.0)
    pairs = list(zip(p.tolist(), truth.astype(float).tolist(), strict=True))
    found = best_threshold(pairs, "balanced_accuracy")
    assert found is not None and 0.15 < found < 0.35

    def score(at: float) -> float:
        said = p >= at
        counts = np.array(
            [[[(~said & ~truth).sum(), (said & ~truth).sum()], [(~said & truth).sum(), (said & truth).sum()]]]
        )
        return float(COMPUTE["balanced_accuracy"](counts.astype(float))[0])

    assert score(found) >= score(0.5) + 0.2
    assert score(found) >= max(score(t) for t in np.linspace(0.05, 0.95, 91)) - 0.01
    assert best_threshold(pairs[:199], "balanced_accuracy") is None
    assert best_threshold([(0.3, 0.0)] * 400, "kappa") is None


def test_only_a_project_that_chose_such_a_metric_gets_a_threshold(driver, rows_of) -> None:
    def thresholds(metric: str) -> set[float | None]:
        loop = driver("binary", **{**LIGHT, "metric": metric})
        for i in range(6):
            loop.feed(*rows_of("binary", 200, seed=i, noise=1.0))
        return {s.challenger.threshold for s in loop.steps if s.challenger is not None}

    assert thresholds("accuracy") == {None}
    assert any(t is not None for t in thresholds("kappa"))


def test_a_state_without_undone_rows_is_that_of_the_rows_that_are_left() -> None:
    tail = tuple(float(i) for i in range(400))
    state = LearnerState(
        members=(Member(family="logistic", window="all", start=600, fitted_at=900, barred_until=1_200),),
        regimes=(Regime(number=1, row=0, first=0, rows=(5, 650)), Regime(number=2, row=700, first=700, rows=(750,))),
        seen=1_000, change_start=700, labels_since_race=100, held_out=(640, 980), held_out_weights=(1.0, 2.0), tail=tail,
        tail_since=300, history=((100, 0.1), (100, 0.2), (100, 0.3), (100, 0.4)), scores=((400, 0.9),),
    )  # fmt: skip
    left = state.without(range(600, 700), before=600)
    assert (left.seen, left.change_start, left.labels_since_race, left.tail_since) == (900, 600, 100, 300)
    assert (left.held_out, left.held_out_weights) == ((980,), (2.0,))
    assert [regime.first for regime in left.regimes] == [0, 600]
    assert [regime.rows for regime in left.regimes] == [(5,), (750,)]
    assert left.tail == tail[100:]
    assert left.history == state.history[1:]
    assert left.scores == ((300, 0.9),)
    assert (left.members[0].start, left.members[0].fitted_at) == (600, 800)
    newest = state.without(range(900, 1_000), before=900)
    assert (newest.seen, newest.change_start, newest.labels_since_race, newest.tail_since) == (900, 700, 0, 200)
    assert newest.tail == tail[:300]
    assert state.without((), before=1_000) is state
    assert LearnerState.from_parts(*left.to_parts()).tail == left.tail
