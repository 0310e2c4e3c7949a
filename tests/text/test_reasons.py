"""A reason is a code with numbers; its sentence is what was said when sentences were what the records held."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import reason_cases

from core.drift.distribution import feature_finding
from core.drift.univariate import headline
from core.records import (
    NO_REASON,
    AttributionDrift,
    DriftReport,
    Firing,
    ImportanceChange,
    Reason,
    Reconstruction,
    Score,
    Window,
    as_written,
    because,
    from_document,
    reason_from,
    to_document,
)
from core.text.reasons import SENTENCES, in_words, sentence

ROOT = Path(__file__).resolve().parent.parent.parent
SAID: dict[str, str] = json.loads((Path(__file__).parent / "reasons.json").read_text("utf-8"))
MAKERS = {"policies": reason_cases.policies, "scores": reason_cases.scores, "drifts": reason_cases.drifts}

# What takes a whole race to come about.
RARE = {
    because("error_rose", detector="adwin", before=0.0949, after=0.4123, row=12_345): (
        "ADWIN: the error rose from 0.095 to 0.412 since row 12,345"
    ),
    because(
        "change_is", part=0.714, rule="a > 1", before=0.01, after=0.38
    ): "71 % of the change is a > 1: 1 % → 38 % of rows",
    because(
        "change_located",
        part=0.714,
        rule="a > 1",
        before=0.01,
        after=0.38,
        since="2026-05-03T14:05:00+00:00",
        inside=0.83,
        outside=0.871,
        n=412,
        least=30,
        metric="accuracy",
    ): (
        "71 % of it is a > 1 (1 % → 38 % of rows); new since 3 May, 14:05 UTC; accuracy there is 4.1 points lower (n = 412)"
    ),
    because("leans_on", moved=[], judged=4, correlation=None, least=3): (
        "The model relies on its features as before (4 features compared); order not compared: fewer than 3 "
        "features have a significant importance"
    ),
    because(
        "leans_on", moved=["a", "b"], before=0.1, after=0.3, judged=4, correlation=0.5, least=3, weighed=50, features=60
    ): (
        "The model relies more on a: importance 0.10 → 0.30; also changed: b; the order of the features "
        "changed considerably (rank correlation 0.50) (only for the 50 features that drifted most; the other "
        "10 were not evaluated)"
    ),
    because("no_row_to_learn"): "There are no labelled rows to train on.",
    because("no_row_unseen_by_both"): "No labelled rows that neither model has seen.",
    because("no_row_new_to_both"): "No labelled rows that neither model was trained on.",
    because("untellable"): "It cannot be determined from these rows.",
    because("not_fitted"): "Not fitted.",
    because("no_unseen_row"): "No rows that it has not seen.",
    because("counted_in_shadow"): "Counted row by row in shadow mode.",
    because("figures_not_finite"): "It cannot be determined: the values behind it are not finite.",
    because("rows_do_not_say"): "It cannot be determined from these rows.",
    because("no_pair_to_rank"): "All labels would be of one class: there is no pair of rows to rank.",
    because(
        "one_and_the_same_class_expected"
    ): "Labels and predictions would all be of one class: agreement by chance would be complete.",
    because("nothing_fitted", errors=[]): "No candidate could be fitted: nothing was due",
    because("nothing_fitted", errors=["a: late", "b"]): "No candidate could be fitted: a: late; b",
    because("rolled_back", version=3, wins=1234, losses=9, rows=5000, evidence=41.27, needed=40.0): (
        "On 5,000 later rows, only version 3, which was replaced, is right on 1,234, only its successor on "
        "9. Evidence that it is better: 41.3 : 1 (40 : 1 needed)."
    ),
    because("structure_broke", error=1.234, low=0.5, high=0.75): (
        "the relations between the features changed: reconstruction error 1.23, expected 0.50 to 0.75"
    ),
    because("structure_tightened", error=0.3, low=0.5, high=0.75): (
        "the features are more strongly related than before: reconstruction error 0.30, expected 0.50 to 0.75"
    ),
    because("structure_holds", error=0.6, low=0.5, high=0.75): (
        "the relations between the features are unchanged: reconstruction error 0.60, expected 0.50 to 0.75"
    ),
    because("too_few_rows_of_window", rows=1, needed=1000): "1 row; needs 1,000 in each window",
    because("too_few_features_vary", features=0): "0 features with more than one value; needs 2",
    because("importance_drifted", before=0.2, after=0.4, z=-4.26): (
        "drifted: importance 0.20 → 0.40, 4.3 standard errors"
    ),
    because("importance_moved_little", before=0.2, after=0.22, z=4.0): (
        "significant but small: importance 0.200 → 0.220, 4.0 standard errors"
    ),
    because("importance_by_chance", before=0.2, after=0.22, z=1.0): (
        "not significant: importance 0.200 → 0.220, 1.0 standard errors"
    ),
    because("no_loss_changes"): "shuffling it does not change the loss of any prediction in either window",
    because("varies", more=True): "it varies more",
    because("types_differ"): "its type differs between the windows",
    because(
        "not_judged", why=because("unfit_window", seen=because("another_type"), window="reference")
    ): "not tested: another type in the reference window",
    because("values_not_judged", why=because("too_few_answers", needed=200)): (
        "values not tested: too few predictions for rows that the model was not trained on (at least 200 "
        "before the new ones)"
    ),
    because(
        "answers_compared",
        found=because("below_gate", measure="PSI", effect=0.0019, gate=0.00251),
        version=3,
        rows=1250,
    ): "PSI 0.0019, minimum effect 0.00251 (reference: v3 on 1,250 earlier rows that it was not trained on)",
}


@pytest.fixture(scope="module")
def made() -> dict[str, Reason]:
    """The reason of every record of the cases, by its name."""
    return {name: holder.reason for make in MAKERS.values() for name, holder in make()}


def _codes(document: Any) -> Iterator[str]:
    """Every code in a stored reason, also of reasons within it."""
    if isinstance(document, dict):
        if set(document) == {"code", "numbers"}:
            yield document["code"]
        for value in document.values():
            yield from _codes(value)
    elif isinstance(document, list):
        for value in document:
            yield from _codes(value)


def test_every_sentence_is_as_it_was_and_made_of_code_and_numbers(made: dict[str, Reason]) -> None:
    said = {name: text for name, text in SAID.items() if name in made}
    assert len(said) > 100
    assert {name: sentence(made[name]) for name in said} == said


def test_no_two_names_hide_a_sentence_that_was_never_said(made: dict[str, Reason]) -> None:
    """The file holds each sentence once, under the first of its names."""
    assert {sentence(reason) for reason in made.values()} <= set(SAID.values())


def test_a_stored_reason_is_equal_to_a_new_one_and_says_the_same(made: dict[str, Reason]) -> None:
    for name, reason in made.items():
        again = reason_from(json.loads(json.dumps(to_document(reason), allow_nan=False)))
        assert again == reason and hash(again) == hash(reason), name
        assert sentence(again) == sentence(reason), name


@pytest.mark.parametrize("reason", RARE, ids=lambda reason: reason.code)
def test_what_is_rarely_said_is_as_it_was(reason: Reason) -> None:
    assert sentence(reason) == RARE[reason]


def test_every_code_has_a_sentence_and_is_walked_here(made: dict[str, Reason]) -> None:
    walked = {code for reason in (*made.values(), *RARE) for code in _codes(to_document(reason))}
    assert walked | {"text"} == set(SENTENCES)


def test_no_code_is_given_that_has_no_sentence() -> None:
    """Codes are literals where a reason is made, and every one of the table is made somewhere."""
    given = set()
    for path in ROOT.glob("core/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "because":
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}"
                given.add(node.args[0].value)
    assert given | {"text"} == set(SENTENCES)


def test_a_text_of_an_earlier_version_says_what_it_said() -> None:
    old = reason_from("Accuracy 0.61 is below {0.70}.")
    assert old == Reason("text", {"text": "Accuracy 0.61 is below {0.70}."})
    assert sentence(old) == "Accuracy 0.61 is below {0.70}."
    assert to_document(old) == "Accuracy 0.61 is below {0.70}."
    assert reason_from(None) == reason_from("") == as_written("") == NO_REASON
    assert not NO_REASON and sentence(NO_REASON) == "" and to_document(NO_REASON) == ""


def test_people_and_programs_outside_are_given_the_sentence() -> None:
    firing = Firing(trigger="by_hand", observed=1.0, threshold=1.0, reason=because("by_hand"))
    outside = {"trigger": "by_hand", "observed": 1.0, "threshold": 1.0, "reason": "Requested manually."}
    assert in_words({"fired": [firing]}) == {"fired": [outside]}
    assert to_document(firing)["reason"] == {"code": "by_hand", "numbers": {}}


def test_what_is_not_finite_survives_json() -> None:
    rose = because("errors_rose", evidence=float("inf"), needed=20.0)
    assert sentence(reason_from(json.loads(json.dumps(to_document(rose), allow_nan=False)))) == (
        "The champion's errors rose: evidence over 1,000,000 (alarm at 20)."
    )


def test_a_score_of_an_earlier_version_opens_and_says_what_it_said() -> None:
    document = {"metric": "r2", "value": None, "n": 1, "reason": "Needs 2 rows, found 1."}
    old = from_document(Score, document)
    assert sentence(old.reason) == "Needs 2 rows, found 1."
    assert in_words(old)["reason"] == "Needs 2 rows, found 1."
    new = from_document(Score, to_document(replace(old, reason=because("too_few_rows", needed=2, found=1))))
    assert new.reason.numbers == {"needed": 2, "found": 1} and in_words(new) == in_words(old)
    assert (
        in_words(Score(metric="r2", value=0.5))["reason"] == to_document(Score(metric="r2", value=0.5))["reason"] == ""
    )


def test_a_drift_report_is_stored_with_codes_and_says_the_same_when_it_opens() -> None:
    scores = tuple(score for _, score in reason_cases.drifts())
    window = Window(name="reference", n_rows=1)
    report = DriftReport(
        reference=window, current=window, scores=scores, label=scores[0],
        reconstruction=Reconstruction(reason=because("not_judged", why=because("too_few_features_vary", features=0))),
        attribution=AttributionDrift(
            finding=as_written("as before"), scores=(ImportanceChange(name="a", reason=because("no_loss_changes")),)
        ),
    )  # fmt: skip
    stored = json.loads(json.dumps(to_document(report), allow_nan=False))
    opened = from_document(DriftReport, stored)
    assert [score.reason for score in opened.scores] == [score.reason for score in scores]
    assert in_words(opened) == in_words(report)
    assert opened.reconstruction == report.reconstruction and opened.attribution == report.attribution
    assert opened.label is not None and opened.label.reason == scores[0].reason


def test_a_drift_report_of_an_earlier_version_opens_and_says_what_it_said() -> None:
    score = next(score for name, score in reason_cases.drifts() if name.endswith("c_constant"))
    window = Window(name="reference", n_rows=1)
    document = in_words(
        DriftReport(
            reference=window,
            current=window,
            scores=(score,),
            prediction=score,
            reconstruction=Reconstruction(reason=because("no_loss_changes")),
            attribution=None,
        )
    )
    said = "not tested: constant: 'k' in every row of both windows"
    assert document["scores"][0]["reason"] == said
    old = from_document(DriftReport, document)
    assert old.prediction is not None and sentence(old.prediction.reason) == said
    assert to_document(old) == in_words(old) == document
    assert feature_finding(old.scores[0]) == f"c_constant: {said}"
    assert feature_finding(score) == f"c_constant is {said}"
    assert headline(old) == "No feature could be tested."
    assert (
        headline(replace(old, scores=(score,)))
        == "No feature could be tested: constant: 'k' in every row of both windows."
    )
