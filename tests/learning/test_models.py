"""Model families and the committee: every entry of the table goes through the same checks."""

from __future__ import annotations

import numpy as np
import pytest
from pandas import DataFrame

from core.errors import BadInput
from core.learning.models import (
    DEFAULT_FAMILIES,
    MODEL_FAMILIES,
    Committee,
    fit_family,
    predict_quietly,
)
from core.learning.policy import FAMILY_LABELS
from core.records import Feature, FeatureSchema
from core.storage import artefacts

ENTRIES = [(name, task) for name, family in MODEL_FAMILIES.items() for task in family.tasks]
every_family = pytest.mark.parametrize(("family", "task"), ENTRIES)


@every_family
def test_a_family_learns_a_plain_concept_and_repeats_itself_to_the_bit(family, task, schema_of, rows_of) -> None:
    schema = schema_of(task)
    X, y = rows_of(task, 300, missing=0.05)
    new, truth = rows_of(task, 200, seed=1, missing=0.05)
    answers = [predict_quietly(fit_family(family, schema, X, y, seed=4), new, proba=task != "regression") for _ in "ab"]
    assert np.array_equal(answers[0], answers[1])
    assert np.isfinite(answers[0]).all()
    if family == "constant":
        return
    if task == "regression":
        assert 1 - np.mean((answers[0] - truth) ** 2) / np.var(truth) > 0.6
    else:
        classes = np.unique(y)
        assert np.mean(classes[answers[0].argmax(axis=1)] == truth) > 0.7
        assert answers[0].sum(axis=1) == pytest.approx(1.0)


@every_family
def test_a_family_answers_constant_missing_and_unseen_values(family, task, schema_of, rows_of) -> None:
    schema = schema_of(task)
    X, y = rows_of(task, 120)
    X = X.assign(x1=5.0, x2=np.nan)
    new = X.head(4).assign(c0=np.array(["never seen", None, "a", "b"], dtype=object), x0=[np.nan, 1e9, -1e9, 0.0])
    answers = predict_quietly(fit_family(family, schema, X, y, seed=0), new, proba=task != "regression")
    assert len(answers) == 4 and np.isfinite(answers).all()


@every_family
def test_a_family_takes_categories_alone_and_numbers_alone(family, task, schema_of, rows_of) -> None:
    X, y = rows_of(task, 80)
    for numeric, categorical, columns in ((0, 1, ["c0"]), (3, 0, ["x0", "x1", "x2"])):
        schema = schema_of(task, numeric=numeric, categorical=categorical)
        model = fit_family(family, schema, X[columns], y, seed=0)
        assert len(model.predict(X[columns])) == 80


@every_family
def test_a_family_takes_a_feature_that_is_missing_everywhere_and_many_categories(family, task, rows_of) -> None:
    X, y = rows_of(task, 400)
    X = X.assign(
        c0=np.array([f"city {i % 300}" for i in range(400)], dtype=object), c1=np.array([None] * 400, dtype=object)
    )
    features = [Feature(name=n, kind="numeric") for n in ("x0", "x1", "x2")]
    features += [Feature(name=n, kind="categorical") for n in ("c0", "c1")]
    schema = FeatureSchema(
        task=task, target="y", features=tuple(features), classes=tuple(np.unique(y)) if y.dtype == object else ()
    )
    assert len(fit_family(family, schema, X, y, seed=0).predict(X)) == 400


@every_family
def test_a_family_is_stored_by_skops_with_the_listed_types_only(family, task, schema_of, rows_of) -> None:
    X, y = rows_of(task, 60)
    model = fit_family(family, schema_of(task), X, y, seed=0)
    again = artefacts.loads(artefacts.dumps(model))
    assert np.array_equal(again.predict(X), model.predict(X))


@every_family
def test_a_family_fits_two_rows_or_says_why_not(family, task, schema_of, rows_of) -> None:
    X, _ = rows_of(task, 2)
    y = np.array([1.0, 2.0]) if task == "regression" else np.array(["ant", "bee"], dtype=object)
    assert len(fit_family(family, schema_of(task), X, y, seed=0).predict(X)) == 2
    if family != "constant":
        with pytest.raises(BadInput, match="at least 2"):
            fit_family(family, schema_of(task), X.head(1), y[:1], seed=0)
    if family != "constant" and task != "regression":
        with pytest.raises(BadInput, match="One class only"):
            fit_family(family, schema_of(task), X, np.array(["ant", "ant"], dtype=object), seed=0)


def test_words_and_defaults_cover_the_table() -> None:
    assert set(FAMILY_LABELS) == set(MODEL_FAMILIES)
    for task, families in DEFAULT_FAMILIES.items():
        assert all(task in MODEL_FAMILIES[family].tasks for family in families)


class Says:
    """A member that gives every row the same answer."""

    def __init__(self, answer: list[float], classes: list[str]) -> None:
        self.answer, self.classes_ = answer, np.array(classes, dtype=object)

    def predict_proba(self, X: DataFrame) -> np.ndarray:
        return np.tile(self.answer, (len(X), 1))

    def predict(self, X: DataFrame) -> np.ndarray:
        return np.full(len(X), self.answer[0])


def test_a_committee_votes_over_all_classes_that_any_member_knows() -> None:
    members = [Says([0.9, 0.1], ["ant", "bee"]), Says([0.2, 0.8], ["bee", "fly"])]
    committee = Committee(members, [0.25, 0.75], [{"name": "one"}, {"name": "two"}], "multiclass")
    X = DataFrame({"x": [1.0, 2.0]})
    assert committee.classes_.tolist() == ["ant", "bee", "fly"]
    assert committee.predict_proba(X)[0] == pytest.approx([0.225, 0.025 + 0.15, 0.6])
    assert committee.predict(X).tolist() == ["fly", "fly"]
    value = Committee([Says([1.0], []), Says([5.0], [])], [0.75, 0.25], [{}, {}], "regression")
    assert value.predict(X).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_committee_survives_skops_to_the_bit(task, schema_of, rows_of) -> None:
    X, y = rows_of(task, 100)
    families = DEFAULT_FAMILIES[task][:3]
    members = [fit_family(family, schema_of(task), X, y, seed=1) for family in families]
    committee = Committee(members, [0.5, 0.25, 0.25], [{"name": f} for f in families], task)
    again = artefacts.loads(artefacts.dumps(committee))
    assert np.array_equal(again.predict(X), committee.predict(X))
    assert (again.info, again.weights) == (committee.info, committee.weights)
