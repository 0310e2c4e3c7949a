"""Guards: what is out of the ordinary is reported, withheld or replaced, by the strictest rule that it breaks."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from core.records import Feature, FeatureSchema
from core.services.serving.guards import ACTIONS, Guards, checked, guards_from_document, guards_to_document, watch

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="size", kind="numeric"),
        Feature(name="colour", kind="categorical", categories=("blue", "red")),
        Feature(name="gone", kind="numeric"),
    ),
    classes=("no", "yes"),
)
NUMBERS = dataclasses.replace(SCHEMA, task="regression", classes=())
RANGES: dict[str, Any] = {"size": [0.0, 10.0], "colour": ["blue", "red"]}  # `gone` had no value at all
USUAL: list[Any] = [5.0, "red", 1e9]


def test_what_is_usual_is_passed_over_in_silence() -> None:
    guarded = watch(Guards(low_confidence="abstain"), SCHEMA, RANGES)
    assert guarded.one(USUAL, "yes", 0.9) is None
    assert guarded.one([math.nan, None, math.nan], "yes", 0.9) is None, "a missing value is no odd one"


@pytest.mark.parametrize(("value", "hit"), [(-1.0, False), (-1.001, True), (11.0, False), (11.001, True)])
def test_the_margin_is_a_share_of_the_range(value: float, hit: bool) -> None:
    said = watch(Guards(range_margin=0.1), SCHEMA, RANGES).one([value, "red", 0.0], "yes", 0.9)
    assert (said is not None) == hit
    if said:
        assert said == {
            "action": "warn",
            "answer": "yes",
            "hits": [
                {
                    "guard": "out_of_range",
                    "action": "warn",
                    "feature": "size",
                    "seen": value,
                    "expected": "-1 to 11",
                }
            ],
        }


def test_a_column_of_one_value_allows_that_value_only() -> None:
    guarded = watch(Guards(), SCHEMA, {"size": [3.0, 3.0]})
    assert guarded.one([3.0, None, 0.0], "yes", 0.9) is None
    assert guarded.one([3.0001, None, 0.0], "yes", 0.9) is not None


def test_an_unseen_category_is_named_and_cut_short() -> None:
    said = watch(Guards(), SCHEMA, RANGES).one([5.0, "g" * 500, 0.0], "no", 0.9)
    assert said is not None
    (hit,) = said["hits"]
    assert (hit["guard"], hit["feature"], hit["seen"]) == ("unseen_category", "colour", "g" * 60)
    assert hit["expected"] == "one of 2 known categories"


@pytest.mark.parametrize(("probability", "hit"), [(0.6, False), (0.5999, True), (None, False)])
def test_low_confidence_is_below_the_limit(probability: float | None, hit: bool) -> None:
    said = watch(Guards(low_confidence="abstain"), SCHEMA, RANGES).one(USUAL, "yes", probability)
    assert (said is not None) == hit
    if said:
        assert said["action"] == "abstain" and said["answer"] is None and said["hits"][0]["feature"] is None


@pytest.mark.parametrize("action", ["warn", "abstain", "override"])
def test_each_action_gives_its_answer(action: Any) -> None:
    said = watch(Guards(unseen_category=action, override="no"), SCHEMA, RANGES).one([5.0, "green", 0.0], "yes", 0.9)
    assert said is not None and said["action"] == action
    assert said["answer"] == {"warn": "yes", "abstain": None, "override": "no"}[action]


@pytest.mark.parametrize(
    ("category", "size", "wins"),
    [
        ("warn", "warn", "warn"),
        ("warn", "override", "override"),
        ("override", "abstain", "abstain"),
        ("abstain", "warn", "abstain"),
    ],
)
def test_the_strictest_action_wins_and_every_hit_is_reported(category: Any, size: Any, wins: str) -> None:
    guards = Guards(unseen_category=category, out_of_range=size, override="no")
    said = watch(guards, SCHEMA, RANGES).one([99.0, "green", 0.0], "yes", 0.9)
    assert said is not None and said["action"] == wins
    assert {(h["guard"], h["action"]) for h in said["hits"]} == {("unseen_category", category), ("out_of_range", size)}


def test_off_looks_at_nothing() -> None:
    off = watch(Guards(unseen_category="off", out_of_range="off"), SCHEMA, RANGES)
    assert off.one([1e300, "green", 0.0], "yes", 0.01) is None
    assert off.many([np.array([1e300]), ["green"], np.array([0.0])], ["yes"], np.array([0.01])) == {}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([math.nan, -1.5, -1.0, 0.0, 11.0, 11.5]),
            st.sampled_from([None, "red", "green"]),
            st.sampled_from([0.5, 0.6, 0.7]),
        ),
        max_size=20,
    ),
    st.tuples(*[st.sampled_from(ACTIONS)] * 3),
)
def test_many_rows_are_reported_the_same_as_one_by_one(rows: list[tuple[float, Any, float]], actions: Any) -> None:
    unseen, out, low = actions
    guarded = watch(Guards(unseen_category=unseen, out_of_range=out, low_confidence=low, override="no"), SCHEMA, RANGES)
    columns = [np.array([r[0] for r in rows]), [r[1] for r in rows], np.zeros(len(rows))]
    together = guarded.many(columns, ["yes"] * len(rows), np.array([r[2] for r in rows]))
    alone = {i: guarded.one([size, colour, 0.0], "yes", chance) for i, (size, colour, chance) in enumerate(rows)}
    assert together == {i: said for i, said in alone.items() if said is not None}


def test_guards_come_back_from_their_document_and_default_where_nothing_is_said() -> None:
    guards = Guards(unseen_category="override", range_margin=0.5, override="no")
    assert guards_from_document(guards_to_document(guards)) == guards
    assert guards_from_document(None) == guards_from_document({}) == Guards()


@pytest.mark.parametrize(
    ("guards", "schema", "field"),
    [
        (Guards(unseen_category="shout"), SCHEMA, "unseen_category"),  # type: ignore[arg-type]
        (Guards(range_margin=-0.1), SCHEMA, "range_margin"),
        (Guards(range_margin=math.nan), SCHEMA, "range_margin"),
        (Guards(least_confidence=0.0), SCHEMA, "least_confidence"),
        (Guards(least_confidence=1.1), SCHEMA, "least_confidence"),
        (Guards(low_confidence="warn"), NUMBERS, "low_confidence"),
        (Guards(out_of_range="override"), SCHEMA, "override"),
        (Guards(out_of_range="override", override="maybe"), SCHEMA, "override"),
        (Guards(out_of_range="override", override="1"), NUMBERS, "override"),
        (Guards(out_of_range="override", override=True), NUMBERS, "override"),
    ],
)
def test_guards_that_make_no_sense_are_refused_by_field(guards: Guards, schema: FeatureSchema, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        checked(guards, schema)
    assert [problem.field for problem in refused.value.problems] == [field]


def test_guards_that_make_sense_are_taken() -> None:
    for guards, schema in [
        (Guards(), SCHEMA),
        (Guards(out_of_range="override", override="no"), SCHEMA),
        (Guards(out_of_range="override", override=0.0), NUMBERS),
    ]:
        assert checked(guards, schema) is guards
