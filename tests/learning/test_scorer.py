"""Scorers answer as the estimators that they were made from: every family, task and kind of column, one row or many."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from patience import limit
from scorer_cases import CLASSES, FITTING, KINDS, columns_for, rows_of, schema_of, scorer_of, target_for, trained
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from core.data.packed import unpack
from core.data.rows import frame_of
from core.errors import StorageError
from core.learning import scorer_trees
from core.learning.export import export
from core.learning.models import Committee, fit_family, predict_quietly
from core.learning.scorer import largest_difference, part_of
from core.learning.scorer_parts import Part
from core.learning.scorer_trees import Trees
from core.records import FeatureSchema, Label, Task


def assert_same(part: Part, model: Any, schema: FeatureSchema, columns: list[Any]) -> None:
    """One at a time, all at once, and the estimator: the same answers."""
    n, value = len(columns[0]), schema.task == "regression"
    expected = predict_quietly(model, frame_of(columns, schema), proba=not value).reshape(n, -1).tolist()
    assert largest_difference([part.one(row) for row in rows_of(columns)], expected, value=value) <= 1e-12
    assert largest_difference(part.many(columns, n).tolist(), expected, value=value) <= 1e-12


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize(("family", "classes"), FITTING)
def test_every_family_is_reported_in_numbers_and_answers_the_same(family: str, classes: str, kinds: str) -> None:
    schema = schema_of(KINDS[kinds], *CLASSES[classes])
    model, columns = trained(family, schema)
    part = scorer_of(model, schema, columns)
    assert_same(part, model, schema, columns)
    assert_same(part, model, schema, columns_for(schema, 60, seed=9, missing=0.3, unseen=True))


@pytest.mark.parametrize(("family", "classes"), [case for case in FITTING if case[1] in ("text", "value")])
def test_constant_and_empty_columns_are_no_obstacle(family: str, classes: str) -> None:
    schema = schema_of(KINDS["mixed"], *CLASSES[classes])
    columns = columns_for(schema, 120)
    y = target_for(schema, columns)
    columns[0], columns[1] = ["a"] * 120, np.full(120, 3.5)
    columns[2], columns[3] = [None] * 120, np.full(120, np.nan)
    model = fit_family(family, schema, frame_of(columns, schema), y, seed=0)
    part = scorer_of(model, schema, columns)
    assert_same(part, model, schema, columns)
    assert_same(part, model, schema, columns_for(schema, 40, seed=5, missing=0.2))


def test_one_class_only_is_a_constant() -> None:
    schema = schema_of(KINDS["mixed"], "binary", ("no", "yes"))
    columns = columns_for(schema, 50)
    model = fit_family("constant", schema, frame_of(columns, schema), np.array(["no"] * 50), seed=0)
    part = scorer_of(model, schema, columns)
    assert part.one(rows_of(columns)[0]) == [1.0]
    assert_same(part, model, schema, columns)


@pytest.mark.parametrize("classes", ["text", "booleans", "three numbers", "value"])
def test_a_committee_votes_as_its_members_do_together(classes: str) -> None:
    task, labels = CLASSES[classes]
    schema = schema_of(KINDS["mixed"], task, labels)
    families = ["boosting", "dated_boosting", "extra_trees", "neighbours", "constant"]
    families += ["ridge", "linear_boosting"] if task == "regression" else ["logistic"]
    fitted = [trained(family, schema, seed=i) for i, family in enumerate(families)]
    weights = np.arange(1.0, len(families) + 1)
    model = Committee([m for m, _ in fitted], weights / weights.sum(), task=task)
    part = scorer_of(model, schema, fitted[0][1])
    assert_same(part, model, schema, columns_for(schema, 80, seed=77, missing=0.2, unseen=True))


def test_a_member_that_knows_fewer_classes_votes_for_those() -> None:
    schema = schema_of(KINDS["numeric"], "multiclass", ("ant", "bee", "fly"))
    columns = columns_for(schema, 200)
    y = target_for(schema, columns)
    some = y != "bee"
    X = frame_of(columns, schema)
    members = [
        fit_family("logistic", schema, X, y, seed=0),
        fit_family("extra_trees", schema, X[some].reset_index(drop=True), y[some], seed=0),
    ]
    model = Committee(members, [0.4, 0.6], task="multiclass")
    assert_same(scorer_of(model, schema, columns), model, schema, columns)


def test_a_committee_of_one_is_that_one_and_keeps_its_threshold() -> None:
    schema = schema_of(KINDS["numeric"], "binary", ("no", "yes"))
    member, columns = trained("boosting", schema)
    model = Committee([member], [1.0], task="binary", threshold=0.2)
    document, views = unpack(export(model, schema, frame_of(columns, schema)))
    assert document["part"]["kind"] == "trees" and document["threshold"] == 0.2
    assert_same(part_of(document["part"], views), model, schema, columns)


@pytest.mark.parametrize(
    ("model", "classes"),
    [
        (HistGradientBoostingClassifier(random_state=0), ("no", "yes")),
        (HistGradientBoostingClassifier(random_state=0, max_iter=20), ("ant", "bee", "fly")),
        (HistGradientBoostingRegressor(random_state=0), ()),
        (RandomForestClassifier(20, random_state=0), (0, 1)),
        (RandomForestRegressor(20, random_state=0), ()),
    ],
)
def test_bare_estimators_of_twenty_features_are_taken_too(model: Any, classes: tuple[Label, ...]) -> None:
    task: Task = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
    schema = schema_of(("numeric",) * 20, task, classes)
    columns = columns_for(schema, 600, missing=0.05)
    model = model.fit(frame_of(columns, schema), target_for(schema, columns))
    part = scorer_of(model, schema, columns)
    assert_same(part, model, schema, columns_for(schema, 200, seed=3, missing=0.2))


def test_boosting_with_another_link_is_left_to_the_pipeline() -> None:
    schema = schema_of(("numeric",) * 3, "regression", ())
    columns = columns_for(schema, 100, missing=0.0)
    y = np.exp(target_for(schema, columns))
    X = frame_of(columns, schema)
    model = HistGradientBoostingRegressor(loss="poisson", random_state=0).fit(X, y)
    assert unpack(export(model, schema, X))[0]["part"] is None


# --- the three ways through trees ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["boosting", "extra_trees"])
@pytest.mark.parametrize("classes", ["text", "three", "value"])
@pytest.mark.parametrize("way", ["code", "linked", "arrays"])
def test_code_linked_nodes_and_arrays_find_the_same_leaves(
    monkeypatch: pytest.MonkeyPatch, family: str, classes: str, way: str
) -> None:
    if way != "code":
        monkeypatch.setattr(scorer_trees, "COMPILED_NODES", 0)
    if way == "arrays":
        monkeypatch.setattr(scorer_trees, "LINKED_NODES", 0)
    if way == "code":
        monkeypatch.setattr(scorer_trees, "COMPILED_NODES", 10**6)
    schema = schema_of(KINDS["mixed"], *CLASSES[classes])
    model, columns = trained(family, schema, n=300)
    part = scorer_of(model, schema, columns)
    assert isinstance(part, Trees) and bool(part._code) == (way == "code") and bool(part._nodes) == (way == "linked")
    assert_same(part, model, schema, columns_for(schema, 150, seed=8, missing=0.3, unseen=True))


def test_trees_too_deep_for_the_compiler_are_walked() -> None:
    schema = schema_of(("numeric",), "regression", ())
    x = np.sort(np.random.default_rng(0).normal(size=400))
    model = RandomForestRegressor(1, random_state=0, bootstrap=False, max_features=1)
    model = model.fit(frame_of([x], schema), np.exp(np.arange(400.0)))  # each split takes off the greatest value only
    part = scorer_of(model, schema, [x])
    assert isinstance(part, Trees) and not part._code and part._nodes
    assert_same(part, model, schema, [x])


def test_a_value_too_great_for_single_precision_is_refused_by_forests_alone() -> None:
    schema = schema_of(("numeric",) * 3, "binary", ("no", "yes"))
    forest, columns = trained("extra_trees", schema)
    boosted, _ = trained("boosting", schema)
    row = [1e39, 0.0, 0.0]
    part = scorer_of(forest, schema, columns)
    with pytest.raises(ValueError, match="single precision"):
        part.one(row)
    with pytest.raises(ValueError, match="single precision"):
        part.many([np.array([v]) for v in row], 1)
    assert_same(scorer_of(boosted, schema, columns), boosted, schema, [np.array([v]) for v in row])


def test_neighbours_at_no_distance_decide_alone() -> None:
    schema = schema_of(("numeric",) * 2, "binary", ("no", "yes"))
    columns = columns_for(schema, 80, missing=0.0)
    columns = [np.concatenate([c, c[:10], c[:5]]) for c in columns]  # rows that are there twice and three times
    model = fit_family("neighbours", schema, frame_of(columns, schema), target_for(schema, columns, seed=4), seed=0)
    assert_same(scorer_of(model, schema, columns), model, schema, columns)


# --- what is not a scorer -----------------------------------------------------------------------------------------


def test_an_unknown_kind_and_a_document_of_another_form_are_refused() -> None:
    with pytest.raises(StorageError, match="not known to this version"):
        part_of({"kind": "oracle"}, {})
    with pytest.raises(StorageError, match="cannot be read"):
        part_of({"kind": "linear", "link": "identity"}, {})
    with pytest.raises(StorageError, match="not known to this version"):
        part_of({"kind": "vote", "width": 1, "shared": False, "members": [{"part": 3}]}, {})


@pytest.mark.parametrize("family", ["boosting", "extra_trees"])
@pytest.mark.parametrize(
    ("array", "place", "value"),
    [
        ("left", "inner", 0),
        ("right", "inner", 2**30),
        ("left", "inner", -1),
        ("right", "leaf", 2**30),
        ("right", "leaf", -1),
        ("feature", "inner", 2**30),
        ("roots", "first", 2**30),
        ("of", "first", 7),
    ],
)
def test_trees_that_lead_nowhere_are_refused_before_a_row_is_asked(
    family: str, array: str, place: str, value: int
) -> None:
    schema = schema_of(("numeric",) * 2, "binary", ("no", "yes"))
    columns = columns_for(schema, 80, missing=0.0)
    X = frame_of(columns, schema)
    model = fit_family(family, schema, X, target_for(schema, columns, seed=4), seed=0)
    document, views = unpack(export(model, schema, X))
    name = document["part"]["arrays"]
    features = np.frombuffer(views[name + "feature"], dtype=np.int32)
    at = {"first": 0, "inner": int(np.argmax(features >= 0)), "leaf": int(np.argmax(features < 0))}[place]
    damaged = np.frombuffer(views[name + array], dtype=np.int32).copy()
    damaged[at] = value
    with pytest.raises(StorageError, match=r"cannot be read: ValueError in a part of kind trees"):
        part_of(document["part"], {**views, name + array: memoryview(damaged.tobytes())})


def test_the_distance_of_answers_counts_nan_as_infinite_and_values_by_their_size() -> None:
    assert largest_difference([[math.nan]], [[1.0]], value=False) == math.inf
    assert largest_difference([[1000.0]], [[1001.0]], value=True) == pytest.approx(1 / 1001)
    assert largest_difference([[0.5, 0.5]], [[0.25, 0.75]], value=False) == 0.25


# --- a fresh process ----------------------------------------------------------------------------------------------

_ASK = """
import json, math, sys
from pathlib import Path
from core.data.packed import unpack
from core.learning.scorer import part_of
document, views = unpack(Path(sys.argv[1]).read_bytes())
part = part_of(document["part"], views)
numeric = [f["kind"] == "numeric" for f in document["schema"]["features"]]
rows = [[math.nan if v is None and n else v for v, n in zip(row, numeric)] for row in document["checks"]["rows"]]
answers = [part.one(row) for row in rows]
apart = max(abs(a - b) for got, wanted in zip(answers, document["checks"]["answers"]) for a, b in zip(got, wanted))
loaded = [m for m in ("sklearn", "pandas", "mlflow", "scipy", "numpy") if m in sys.modules]
print(json.dumps({"apart": apart, "rows": len(rows), "loaded": loaded}))
"""


@pytest.mark.parametrize(
    ("family", "loaded"),
    [("logistic", []), ("boosting", []), ("extra_trees", []), ("constant", []), ("neighbours", ["numpy"])],
)
def test_an_artefact_answers_without_the_libraries_that_trained_it(
    tmp_path: Path, family: str, loaded: list[str]
) -> None:
    schema = schema_of(KINDS["mixed"], "binary", ("no", "yes"))
    model, columns = trained(family, schema)
    path = tmp_path / "scorer.cml"
    path.write_bytes(export(model, schema, frame_of(columns, schema)))
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(path)], capture_output=True, text=True, timeout=limit(120), check=True
    )
    printed = json.loads(done.stdout)
    assert printed["loaded"] == loaded and printed["rows"] == 24 and printed["apart"] <= 1e-12


def test_the_frame_that_trained_it_may_hold_text_of_any_dtype() -> None:
    schema = schema_of(("categorical", "numeric"), "binary", ("no", "yes"))
    columns = columns_for(schema, 100)
    y = target_for(schema, columns)
    X = pd.DataFrame({"f0": pd.Series(columns[0], dtype=object), "f1": columns[1]})
    model = fit_family("logistic", schema, X, y, seed=0)
    assert_same(scorer_of(model, schema, columns), model, schema, columns)
