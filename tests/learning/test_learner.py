"""The loop, step by step: first race, gate, change, rollback, odd batches, and a state that survives storage."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import skops.io

from core.errors import StorageError
from core.learning import candidates, learner
from core.learning.models import MODEL_FAMILIES, fit_family
from core.learning.policy import POLICIES, decide
from core.learning.state import LearnerState, Watch
from core.learning.step import Labelled, Run, Situation
from core.performance.head_to_head import mcnemar_exact
from core.records import to_document
from core.storage import artefacts
from core.text.reasons import sentence

TASKS = ("binary", "multiclass", "regression")


def test_the_first_race_is_scored_on_rows_that_no_candidate_has_seen(driver, rows_of) -> None:
    loop = driver("multiclass")
    step = loop.feed(*rows_of("multiclass", 200))
    assert (step.outcome, step.kind, step.champion_version) == ("promoted", "promotion", 1)
    assert "no_champion" in [f.trigger for f in step.decision.firings]
    fitted = [c for c in step.candidates if c.fitted]
    assert len(fitted) >= 4
    assert all(c.n_rows == 150 and c.score.n == 25 for c in fitted)
    assert step.comparison is not None and step.comparison.champion is None and step.comparison.n == 25
    assert step.champion is not None and sum(step.champion.weights) == pytest.approx(1.0)


@pytest.mark.parametrize("task", TASKS)
def test_a_reversed_concept_is_found_learnt_and_promoted(task, driver, rows_of) -> None:
    loop = driver(task)
    loop.feed(*rows_of(task, 300))
    for seed in (1, 2):
        quiet = loop.feed(*rows_of(task, 300, seed=seed))
        assert not quiet.evidence.change_found
    turned = loop.feed(*rows_of(task, 300, seed=3, flip=True))
    assert turned.evidence.change_found
    # The concept turned at row 900, a batch's edge; the split is found within 30 rows of it.
    assert turned.change_at is not None and abs(turned.change_at - 900) <= 30
    assert turned.kind == "promotion"
    after = loop.feed(*rows_of(task, 300, seed=4, flip=True))
    assert after.evidence.score is not None and after.evidence.score > 0.75
    assert turned.evidence.score is not None and turned.evidence.score < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_same_rows_and_seed_give_the_same_steps_and_the_evidence_the_same_decision(task, driver, rows_of) -> None:
    runs = []
    for _ in range(2):
        loop = driver(task, seed=7)
        for seed, flip in enumerate((False, False, True)):
            loop.feed(*rows_of(task, 150, seed=seed, flip=flip), forced=True)
        probe, _ = rows_of(task, 20, seed=9)
        assert loop.state.champion is not None
        answer = loop.state.champion.predict(probe)
        timeless = [[replace(c, seconds=None) for c in s.candidates] for s in loop.steps]
        runs.append(
            (
                to_document([(s.evidence, s.decision, s.verdict, s.comparison) for s in loop.steps]),
                timeless,
                answer.tolist(),
            )
        )
        assert all(decide(s.evidence, loop.policy) == s.decision for s in loop.steps)
    assert runs[0] == runs[1]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_state_survives_json_and_skops_exactly(task, driver, rows_of) -> None:
    loop = driver(task)
    for seed, flip in enumerate((False, False, True, True)):
        loop.feed(*rows_of(task, 200, seed=seed, flip=flip), forced=True)
    document, estimators = loop.state.to_parts()
    stored = {key: skops.io.dumps(model) for key, model in estimators.items()}
    loaded = {key: artefacts.loads(data) for key, data in stored.items()}
    again = LearnerState.from_parts(json.loads(json.dumps(document)), loaded)
    assert again.to_parts()[0] == document
    batch = rows_of(task, 200, seed=8)
    twin = driver(task)
    twin.state, twin.X, twin.y, twin.version = again, loop.X, loop.y, loop.version
    one, two = loop.feed(*batch), twin.feed(*batch)
    assert to_document(one.evidence) == to_document(two.evidence)
    assert one.state.to_parts()[0] == two.state.to_parts()[0]


def test_an_estimators_name_never_stands_for_another(driver, rows_of) -> None:
    loop = driver("binary")
    known: dict[str, object] = {}
    for seed in range(5):
        loop.feed(*rows_of("binary", 120, seed=seed), forced=True)
        for key, model in loop.state.to_parts()[1].items():
            assert known.setdefault(key, model) is model


def test_a_state_of_another_format_or_without_its_estimators_is_refused(driver, rows_of) -> None:
    loop = driver("binary")
    loop.feed(*rows_of("binary", 60))
    document, _ = loop.state.to_parts()
    with pytest.raises(StorageError, match="format"):
        LearnerState.from_parts({**document, "format": 0}, {})
    with pytest.raises(StorageError, match="not stored"):
        LearnerState.from_parts(document, {})


def test_the_tested_rows_are_those_that_no_member_of_the_challenger_learnt_from(driver, rows_of, monkeypatch) -> None:
    learnt: list[set[int]] = []

    def watched(family, schema, X, y, *, seed):
        learnt.append(set(X.index))
        return fit_family(family, schema, X, y, seed=seed)

    monkeypatch.setattr(candidates, "fit_family", watched)
    loop = driver("binary")
    X, y = rows_of("binary", 900)
    loop.feed(X.iloc[:300], y[:300])
    for start in (300, 600):
        learnt.clear()
        step = loop.feed(X.iloc[start : start + 300], y[start : start + 300], forced=True)
        tested = set(loop.state.held_out)
        assert learnt and tested <= set(range(start, start + 300))
        assert step.comparison is not None and step.comparison.n == len(tested) == 75
        assert not tested.intersection(*[set().union(*learnt)])


def test_a_version_that_does_worse_than_the_one_it_replaced_is_rolled_back(driver, rows_of) -> None:
    loop = driver("binary", triggers=["no_champion", "by_hand"])
    loop.feed(*rows_of("binary", 300))
    good, good_version = loop.state.champion, loop.state.champion_version
    bad = driver("binary")
    bad.feed(*rows_of("binary", 300, flip=True))
    loop.state = replace(
        loop.state, champion=bad.state.champion, champion_version=2, watch=Watch(model=good, version=good_version)
    )
    loop.version = 2
    step = loop.feed(*rows_of("binary", 200, seed=1))
    assert (step.kind, step.outcome, step.champion_version) == ("rollback", "rolled_back", 1)
    assert step.champion is good
    assert step.state.watch is None
    assert step.verdict is not None and "version 1" in sentence(step.verdict.reason)


def test_an_equal_successor_is_not_rolled_back(driver, rows_of) -> None:
    loop = driver("binary", triggers=["no_champion", "by_hand"])
    loop.feed(*rows_of("binary", 300))
    loop.state = replace(loop.state, champion_version=2, watch=Watch(model=loop.state.champion, version=1))
    for seed in range(4):
        step = loop.feed(*rows_of("binary", 300, seed=seed))
        assert step.kind == "none"
    assert loop.state.watch is None  # watched for 1,000 rows, then trusted


def test_without_new_rows_a_race_by_hand_is_tested_on_the_rows_that_were_set_aside(driver, rows_of) -> None:
    loop = driver("multiclass")
    X, y = rows_of("multiclass", 400)
    loop.feed(X.iloc[:200], y[:200])
    loop.feed(X.iloc[200:], y[200:], forced=True)
    step = loop.feed(X.iloc[:0], y[:0], forced=True)
    assert step.decision.action == "retrain"
    assert step.comparison is not None and step.comparison.n == 50
    assert step.evidence.score is None
    calm = loop.feed(X.iloc[:0], y[:0])
    assert (calm.decision.action, calm.outcome) == ("nothing", "none")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_gets_over_odd_batches(task, policy, driver, rows_of) -> None:
    loop = driver(task, policy, min_rows=10)
    X, y = rows_of(task, 120)
    loop.feed(X, y)
    served = loop.state.champion
    assert served is not None
    loop.feed(X.iloc[:1], y[:1], forced=True)  # one row
    one = X.iloc[np.flatnonzero(y == y[0])] if task != "regression" else X.iloc[:5]
    loop.feed(one, np.repeat(y[:1], len(one)), forced=True)  # one class, or one value
    loop.feed(X.assign(x0=1.0, x1=np.nan, c0="never seen"), y, forced=True)  # constant, missing, unseen
    strange = y + 1e6 if task == "regression" else np.array(["unheard"] * len(y), dtype=object)
    loop.feed(X, strange, forced=True)  # a new class, or another range
    last = loop.feed(X, y, forced=policy != "never")
    assert last.champion is not None
    assert len(last.champion.predict(X)) == len(X)
    if policy == "never":
        assert [s.kind for s in loop.steps] == ["promotion"] + ["none"] * 5


def test_one_class_only_is_answered_by_a_constant_until_there_are_two(driver, rows_of) -> None:
    loop = driver("binary")
    X, y = rows_of("binary", 400)
    same = np.array(["no"] * 100, dtype=object)
    first = loop.feed(X.iloc[:100], same)
    assert first.champion is not None and first.champion.info[0]["family"] == "constant"
    assert any("One class only" in (c.error or "") for c in first.candidates)
    later = loop.feed(X.iloc[100:], y[100:])
    assert later.champion is not None and set(later.champion.classes_) == {"no", "yes"}
    assert "constant" not in {m.family for m in later.state.members}


def test_too_few_rows_wait_and_no_rows_by_hand_say_so(driver, rows_of) -> None:
    loop = driver("binary")
    X, y = rows_of("binary", 19)
    assert loop.feed(X, y).decision.action == "nothing"
    assert loop.state.champion is None
    empty = driver("binary").feed(X.iloc[:0], y[:0], forced=True)
    assert empty.outcome == "failed"
    assert empty.verdict is not None and "no labelled row" in sentence(empty.verdict.reason)


def test_a_candidate_that_cannot_be_fitted_drops_out_and_the_race_goes_on(driver, rows_of, monkeypatch) -> None:
    def broken(family, schema, X, y, *, seed):
        if family == "boosting":
            raise MemoryError("no room for boosting")
        return fit_family(family, schema, X, y, seed=seed)

    monkeypatch.setattr(candidates, "fit_family", broken)
    step = driver("binary").feed(*rows_of("binary", 200))
    dropped = [c for c in step.candidates if c.error]
    assert [(c.family, c.error, c.weight) for c in dropped] == [("boosting", "no room for boosting", None)] * len(
        dropped
    )
    assert step.outcome == "promoted" and dropped


@pytest.mark.slow
def test_fits_are_saved_up_and_never_overspent(driver, rows_of) -> None:
    loop = driver("binary", new_labels=100, min_rows=50, min_new_share=0.5)
    loop.feed(*rows_of("binary", 300))
    spent = []
    for seed in range(12):
        step = loop.feed(*rows_of("binary", 250, seed=seed, flip=seed >= 6))
        spent.append(step.fits)
        refitted = [MODEL_FAMILIES[c.family].fits for c in step.candidates if c.fitted]
        assert step.fits == sum(refitted)
    assert all(sum(spent[: i + 1]) <= 2 * (i + 1) for i in range(len(spent))), "four for every 500 rows"
    assert max(spent) > 2  # the change was answered with fits that had been saved


def test_a_refresh_is_no_news_and_a_change_is(driver, rows_of) -> None:
    loop = driver("binary", gate="none", new_labels=200, families=["logistic"])
    loop.feed(*rows_of("binary", 400))
    kinds = [loop.feed(*rows_of("binary", 200, seed=seed)).kind for seed in range(1, 4)]
    assert kinds == ["refresh"] * 3
    assert loop.feed(*rows_of("binary", 200, seed=5, flip=True)).kind == "promotion"


def test_a_version_put_in_place_by_hand_serves_and_the_loop_goes_on(driver, rows_of) -> None:
    loop = driver("binary")
    X, y = rows_of("binary", 200)
    loop.feed(X, y)
    pipeline = fit_family("logistic", loop.schema, X, y, seed=0)
    loop.state = loop.state.serving(pipeline, 9)
    assert loop.state.champion_version == 9
    step = loop.feed(*rows_of("binary", 100, seed=1))
    assert step.evidence.score is not None and step.evidence.score > 0.8
    document, estimators = loop.state.to_parts()
    assert LearnerState.from_parts(document, estimators).to_parts()[0] == document
    back = loop.state.serving(loop.steps[0].champion, 1)
    assert back.champion is not None
    assert np.array_equal(back.champion.predict(X), loop.steps[0].champion.predict(X))


def test_predictions_made_in_time_are_what_is_measured(driver, rows_of) -> None:
    loop = driver("binary")
    loop.feed(*rows_of("binary", 200))
    X, y = rows_of("binary", 50, seed=1)
    wrong = np.where(y == "yes", "no", "yes").astype(object)
    run = Run(schema=loop.schema, policy=loop.policy, seed=0, next_version=2)
    fresh = Labelled(X=X, y=y, first_row=200, y_pred=wrong)
    step = learner.advance(loop.state, fresh, loop.window, Situation(), run)
    assert step.evidence.score == 0.0


def test_numbers_in_an_array_of_objects_are_classes_too(driver, rows_of) -> None:
    loop = driver("binary")
    X, y = rows_of("binary", 150)
    loop.schema = replace(loop.schema, classes=(0, 1))
    step = loop.feed(X, np.array([int(v == "yes") for v in y], dtype=object))
    assert step.champion is not None and set(step.champion.predict(X).tolist()) == {0, 1}
    assert step.comparison is not None and (step.comparison.challenger.value or 0) > 0.7


def test_the_superior_gate_asks_for_significance(driver, rows_of) -> None:
    loop = driver("binary", "careful", new_labels=200)
    loop.feed(*rows_of("binary", 400))
    for seed in range(1, 6):
        step = loop.feed(*rows_of("binary", 200, seed=seed, flip=seed >= 4))
        comparison = step.comparison
        if step.outcome in ("promoted", "refreshed"):
            assert comparison is not None and mcnemar_exact(comparison.wins, comparison.losses) <= 0.05
    assert any(s.outcome == "rejected" for s in loop.steps)
    assert any(s.kind == "promotion" for s in loop.steps[1:])
