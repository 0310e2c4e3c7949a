"""Contributions: exact where they can be, held to all coalitions one by one; they always add up to the answer."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import pytest
from scorer_cases import CLASSES, FITTING, KINDS, columns_for, rows_of, schema_of, scorer_of, target_for, trained
from sklearn.ensemble import HistGradientBoostingClassifier

from core.data.rows import frame_of
from core.learning import scorer_trees
from core.learning.contributions import Explanation, explain
from core.learning.models import Committee
from core.learning.scorer_parts import Constant, Linear, Part
from core.learning.scorer_trees import Trees
from core.records import FeatureSchema

EXACT = [case for case in FITTING if case[0] != "neighbours" and case[1] in ("text", "three numbers", "value")]


def explained(part: Part, schema: FeatureSchema, row: list[Any], background: list[list[Any]]) -> Explanation:
    answer = part.one(row)
    place = answer.index(max(answer))
    return explain(part, row, background, names=schema.names, classes=schema.classes, place=place)


def in_unit(part: Part, row: list[Any], found: Explanation, schema: FeatureSchema) -> float:
    """The answer to a row in the unit of an explanation, from the probabilities alone."""
    answer = part.one(row)
    if found.unit == "value":
        return answer[0]
    place = schema.classes.index(found.of)  # type: ignore[arg-type]
    if found.unit == "probability":
        return answer[place]
    logs = [math.log(p) for p in answer]
    return logs[place] - logs[1 - place] if len(logs) == 2 else logs[place] - sum(logs) / len(logs)


def by_all_coalitions(
    part: Part, schema: FeatureSchema, row: list[Any], background: list[list[Any]], found: Explanation
) -> list[float]:
    """Shapley values from their definition."""
    n = len(row)

    def worth(mine: frozenset[int]) -> float:
        mixed = [[row[j] if j in mine else other[j] for j in range(n)] for other in background]
        return float(np.mean([in_unit(part, m, found, schema) for m in mixed]))

    worths = {frozenset(c): worth(frozenset(c)) for k in range(n + 1) for c in itertools.combinations(range(n), k)}
    values = []
    for j in range(n):
        total = 0.0
        for mine, value in worths.items():
            if j not in mine:
                weight = math.factorial(len(mine)) * math.factorial(n - len(mine) - 1) / math.factorial(n)
                total += weight * (worths[mine | {j}] - value)
        values.append(total)
    return values


def assert_adds_up(found: Explanation, part: Part, schema: FeatureSchema, row: list[Any]) -> None:
    total = found.base + sum(contribution for _, _, contribution in found.contributions)
    assert total == pytest.approx(found.answer, abs=1e-9)
    assert found.answer == pytest.approx(in_unit(part, row, found, schema), abs=1e-9)
    assert [feature for feature, _, _ in found.contributions] == list(schema.names)


@pytest.mark.parametrize("kinds", ["numeric", "mixed", "categorical"])
@pytest.mark.parametrize(("family", "classes"), EXACT)
def test_lines_and_trees_are_taken_apart_exactly(family: str, classes: str, kinds: str) -> None:
    schema = schema_of(KINDS[kinds], *CLASSES[classes])
    model, columns = trained(family, schema, missing=0.15)
    part = scorer_of(model, schema, columns)
    background = rows_of([c[:7] for c in columns])
    for row in rows_of(columns_for(schema, 4, seed=3, missing=0.2, unseen=kinds == "categorical")):
        found = explained(part, schema, row, background)
        assert found.method == ("linear" if isinstance(part, Linear) else "trees")
        assert_adds_up(found, part, schema, row)
        expected = by_all_coalitions(part, schema, row, background, found)
        assert [c for _, _, c in found.contributions] == pytest.approx(expected, abs=1e-9)


def test_units_are_those_in_which_a_model_adds_up() -> None:
    units = {}
    for family, classes in EXACT:
        schema = schema_of(KINDS["numeric"], *CLASSES[classes])
        model, columns = trained(family, schema)
        part, rows = scorer_of(model, schema, columns), rows_of(columns)
        units[family, classes] = explained(part, schema, rows[0], rows[1:4]).unit
    assert units["logistic", "text"] == units["boosting", "three numbers"] == "log-odds"
    assert units["extra_trees", "text"] == units["constant", "text"] == "probability"
    assert {unit for (_, classes), unit in units.items() if classes == "value"} == {"value"}


@pytest.mark.parametrize("classes", ["text", "three", "value"])
def test_a_committee_of_forests_is_exact_too(classes: str) -> None:
    schema = schema_of(KINDS["mixed"], *CLASSES[classes])
    families = ["extra_trees", "extra_trees", "constant"] + (["linear_boosting"] if classes == "value" else [])
    fitted = [trained(family, schema, seed=i, n=80) for i, family in enumerate(families)]
    weights = np.arange(1.0, len(families) + 1)
    model = Committee([m for m, _ in fitted], weights / weights.sum(), task=schema.task)
    part = scorer_of(model, schema, fitted[0][1])
    rows = rows_of(columns_for(schema, 8, seed=50))
    found = explained(part, schema, rows[0], rows[1:])
    assert found.method == "trees" and found.unit == ("value" if classes == "value" else "probability")
    assert_adds_up(found, part, schema, rows[0])
    expected = by_all_coalitions(part, schema, rows[0], rows[1:], found)
    assert [c for _, _, c in found.contributions] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", ["text", "three numbers"])
def test_other_committees_are_sampled_add_up_and_come_near(classes: str) -> None:
    schema = schema_of(KINDS["mixed"], *CLASSES[classes])
    fitted = [trained(family, schema, seed=i) for i, family in enumerate(["logistic", "boosting", "neighbours"])]
    model = Committee([m for m, _ in fitted], [0.3, 0.4, 0.3], task=schema.task)
    part = scorer_of(model, schema, fitted[0][1])
    rows = rows_of(columns_for(schema, 9, seed=60))
    found = explained(part, schema, rows[0], rows[1:])
    assert found.method == "permutation" and found.unit == "probability"
    assert_adds_up(found, part, schema, rows[0])
    expected = by_all_coalitions(part, schema, rows[0], rows[1:], found)
    assert [c for _, _, c in found.contributions] == pytest.approx(expected, abs=0.03)
    assert found == explained(part, schema, rows[0], rows[1:]), "same seed, same numbers"


def test_two_features_are_exact_even_by_orders() -> None:
    schema = schema_of(("numeric", "categorical"), *CLASSES["value"])
    model, columns = trained("neighbours", schema)
    part, rows = scorer_of(model, schema, columns), rows_of(columns)
    found = explained(part, schema, rows[0], rows[1:9])
    assert found.method == "permutation"
    expected = by_all_coalitions(part, schema, rows[0], rows[1:9], found)
    assert [c for _, _, c in found.contributions] == pytest.approx(expected, abs=1e-9)


def test_a_feature_that_no_tree_asks_for_adds_nothing_and_a_row_like_all_others_neither() -> None:
    schema = schema_of(("numeric",) * 3, *CLASSES["text"])
    columns = columns_for(schema, 200, missing=0.0)
    y = target_for(schema, columns)
    columns[2] = np.zeros(200)
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(frame_of(columns, schema), y)
    part = scorer_of(model, schema, columns)
    rows = rows_of(columns)
    found = explained(part, schema, [*rows[0][:2], 1e9], rows[1:20])
    assert found.contributions[2][2] == 0.0 and found.contributions[0][2] != 0.0
    same = explained(part, schema, rows[0], [rows[0]] * 3)
    assert [c for _, _, c in same.contributions] == [0.0] * 3 and same.base == pytest.approx(same.answer)


def test_missing_values_are_reported_as_none_and_nothing_at_all_is_a_constants_share() -> None:
    schema = schema_of(("numeric", "categorical"), *CLASSES["text"])
    part = Constant({"answer": [0.25, 0.75]}, {})
    found = explained(part, schema, [math.nan, None], [[1.0, "a"]])
    assert found.contributions == (("f0", None, 0.0), ("f1", None, 0.0))
    assert (found.of, found.base, found.answer) == ("yes", 0.75, 0.75)


def test_a_hundred_trees_are_taken_apart_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = schema_of(("numeric",) * 20, *CLASSES["text"])
    columns = columns_for(schema, 3000, missing=0.0)
    model = HistGradientBoostingClassifier(early_stopping=False, random_state=0)
    part = scorer_of(model.fit(frame_of(columns, schema), target_for(schema, columns)), schema, columns)
    assert isinstance(part, Trees) and len(part.arrays().roots) == 100
    rows = rows_of([c[:25] for c in columns])
    explained(part, schema, rows[0], rows[1:])
    begun = time.process_time()
    found = explained(part, schema, rows[0], rows[1:])
    assert time.process_time() - begun < 1.0  # some 0.03 s on a quiet machine
    assert_adds_up(found, part, schema, rows[0])
    monkeypatch.setattr(scorer_trees, "COMPILED_NODES", 0)
    assert found.contributions == explained(part, schema, rows[0], rows[1:]).contributions


class Asked(Part):
    """Counts the rows that it is asked for; its answer is the mean of the features."""

    rows = 0

    def one(self, values: list[Any]) -> list[float]:
        return [sum(values) / len(values)]

    def many(self, columns: Any, n: int) -> np.ndarray:
        self.rows += n
        return np.mean(columns, axis=0).reshape(n, 1)


@pytest.mark.parametrize("width", [2, 30, 1000])
def test_sampling_asks_for_so_many_rows_and_no_more_however_wide(width: int) -> None:
    part, rng = Asked(), np.random.default_rng(0)
    rows = rng.normal(size=(25, width)).tolist()
    found = explain(part, rows[0], rows[1:], names=[f"f{j}" for j in range(width)], classes=())
    assert 0 < part.rows <= 6_100
    assert found.base + sum(c for *_, c in found.contributions) == pytest.approx(found.answer, abs=1e-9)
    if width <= 30:  # all background rows are taken, and a sum has no order
        usual = np.mean(rows[1:], axis=0)
        expected = [(v - u) / width for v, u in zip(rows[0], usual, strict=True)]
        assert [c for *_, c in found.contributions] == pytest.approx(expected, abs=1e-9)
