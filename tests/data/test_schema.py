"""A schema is inferred by stated rules, and every later frame is held to it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.conforming import conform
from core.data.contract import schema_from_document, schema_to_document, with_classes
from core.data.inferring import infer_schema
from core.data.problems import texts_of
from core.data.roles import guess_id, guess_target, guess_time
from core.errors import BadInput, TooLarge
from core.records import Feature, FeatureKind, FeatureSchema, Label


def table(n: int = 6, **columns: Any) -> pd.DataFrame:
    """x counts, site alternates, y is a class."""
    made = {"x": np.arange(n, dtype=float), "site": ["east", "west"] * (n // 2), "y": [0, 1] * (n // 2)}
    return pd.DataFrame({**made, **columns})


@pytest.fixture
def schema() -> FeatureSchema:
    return infer_schema(table())


def test_a_frame_gives_a_schema_and_the_schema_gives_rows_back() -> None:
    frame = pd.DataFrame(
        {"x": [1, 2, 3], "ok": [True, False, None], "site": ["a", "b", None], "y": ["no", "yes", "no"]}
    )
    found = infer_schema(frame)
    assert (found.task, found.target, found.classes) == ("binary", "y", ("no", "yes"))
    assert found.features == (
        Feature(name="x", kind="numeric", low=1.0, high=3.0),
        Feature(name="ok", kind="boolean", categories=("false", "true")),
        Feature(name="site", kind="categorical", categories=("a", "b")),
    )
    rows = conform(frame, found)
    assert rows.y is not None
    assert rows.y.tolist() == ["no", "yes", "no"]
    assert rows.X["x"].dtype == np.float64
    assert rows.X["ok"].dropna().tolist() == ["true", "false"]
    assert {rows.X[c].dtype.name for c in ("ok", "site")} == {"str"}
    assert rows.problems == ()


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["a", "b", None], "binary", ("a", "b")),
        ([True, False, True], "binary", (False, True)),
        ([1.0, 2.0, np.nan], "binary", (1, 2)),
        ([3, 1, 2], "multiclass", (1, 2, 3)),
        ([0.5, 1.0, 2.0], "regression", ()),
        (list(range(50)), "multiclass", tuple(range(50))),
        (list(range(51)), "regression", ()),
    ],
)
def test_the_target_determines_the_task(values: list[Any], task: str, classes: tuple[Label, ...]) -> None:
    found = infer_schema(pd.DataFrame({"x": np.arange(len(values)), "y": values}))
    assert (found.task, found.classes) == (task, classes)
    assert [type(c) for c in found.classes] == [type(c) for c in classes]


def test_what_the_user_names_goes_before_what_the_columns_look_like() -> None:
    frame = table(zone=[1, 2, 3, 1, 2, 3], flag=[0, 1, 0, 1, 0, 1], key=list("abcdef"), day=["2026-01-01"] * 6)
    found = infer_schema(
        frame,
        target="x",
        task="multiclass",
        id_column="key",
        time_column="day",
        categorical=["zone"],
        kinds={"flag": "boolean"},
    )
    assert found.classes == (0, 1, 2, 3, 4, 5)
    assert {f.name: f.kind for f in found.features} == {
        "site": "categorical",
        "y": "numeric",
        "zone": "categorical",
        "flag": "boolean",
    }
    assert found.features[2].categories == ("1", "2", "3")
    assert infer_schema(frame, target="y", task="regression").task == "regression"
    assert infer_schema(frame, target="y", task="classification").task == "binary"


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"y": [1] * 6}, {}, r"one class only \(1\), expected at least two"),
        ({"y": [None] * 6}, {}, "no value in any row"),
        ({"y": [np.inf, np.nan] * 3}, {"task": "regression"}, "no finite value"),
        ({"y": [0, 1, 2] * 2}, {"task": "binary"}, r"3 classes \(0, 1, 2\), expected two"),
        ({"y": [0.5, 1, 2] * 2}, {"task": "multiclass"}, "column y, row 1 is 0.5, expected a whole number"),
        ({}, {"target": "Y "}, r"column Y  is not there \('y' is\)"),
        ({}, {"categorical": ["sight"]}, r"column sight is not there"),
        ({}, {"id_column": "y", "target": "y"}, "three different columns"),
        ({"_id": list("abcdef")}, {"target": "_id"}, "neither the target nor a feature"),
        ({}, {"kinds": {"site": "numeric"}}, "column site, row 1 is 'east', expected a number"),
        ({}, {"kinds": {"site": "boolean"}}, "column site, row 1 is 'east', expected true or false"),
        ({"site": [[1]] * 6}, {}, "column site, row 1 is .* expected one text or number"),
    ],
)
def test_what_cannot_be_a_schema_is_refused_in_words(
    columns: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        infer_schema(table(**columns), **options)


def test_frames_without_feature_row_or_unique_names_are_refused() -> None:
    with pytest.raises(BadInput, match="no feature"):
        infer_schema(table()[["y"]])
    with pytest.raises(BadInput, match="0 rows"):
        infer_schema(table()[:0])
    with pytest.raises(BadInput, match="column x is 2 columns of that name"):
        infer_schema(pd.DataFrame([[1, 2, 3]], columns=["x", "x", "y"]))
    with pytest.raises(TooLarge, match="2,001 columns"):
        infer_schema(pd.DataFrame(np.zeros((2, 2001))))


def test_constant_and_empty_features_are_taken() -> None:
    found = infer_schema(table(same=1.0, none=np.nan, blank=None))
    by_name = {f.name: f for f in found.features}
    assert by_name["none"].low is None
    assert by_name["blank"].kind == "numeric"
    assert conform(table(same=1.0, none=np.nan, blank=None), found).problems == ()


def test_target_id_and_time_are_proposed_by_name_and_content() -> None:
    frame = table(Row_ID=list("abcdef"), date=["2026-01-01"] * 6, time=["noon"] * 6, id=[1, 1, 2, 3, 4, 5])
    assert guess_target(frame) == "y"
    assert guess_target(frame.rename(columns={"y": "Label"})) == "Label"
    assert guess_target(frame.rename(columns={"y": "outcome"})) == "time"
    assert guess_id(frame) == "Row_ID"
    assert guess_time(frame) == "date"
    assert guess_id(table()) is None
    assert guess_time(table()) is None


def test_missing_features_are_named_all_of_them_with_the_nearest_name(schema: FeatureSchema) -> None:
    with pytest.raises(BadInput, match=r"2 columns missing: .*\('Site' is\)") as caught:
        conform(pd.DataFrame({"Site": ["east"]}), schema)
    assert [p.field for p in caught.value.problems] == ["column x", "column site"]


def test_new_columns_infinities_categories_and_classes_are_taken_and_said(schema: FeatureSchema) -> None:
    rows = conform(table(x=[np.inf, -np.inf, 1, 2, 3, 4], site=["north"] * 6, y=[2] * 6, more=1), schema)
    assert texts_of(rows.problems) == [
        "2 infinite values in 'x' treated as missing.",
        "'site' has new categories: 'north' (6 rows).",
        "'y' has new classes: 2 (6 rows).",
        "New column 'more' is kept but not used.",
    ]
    assert rows.new_classes == (2,)
    assert list(rows.extra.columns) == ["more"]
    assert int(rows.X["x"].isna().sum()) == 2


def test_text_in_a_number_column_is_refused_with_its_first_rows(schema: FeatureSchema) -> None:
    with pytest.raises(BadInput, match=r"3 values of column 'x'.*row 2 is 'warm'.*row 3 is True") as caught:
        conform(table(x=["1.5", "warm", True, "1_000", " 2 ", "NA"]), schema)
    assert [p.field for p in caught.value.problems] == ["column x, row 2", "column x, row 3", "column x, row 4"]
    with pytest.raises(BadInput, match="column y, row 1 is 'up', expected a whole number"):
        conform(table(y=["up"] * 6), schema)


def test_rows_without_labels_are_taken(schema: FeatureSchema) -> None:
    assert conform(table().drop(columns="y"), schema).y is None
    y = conform(table(y=[0, None, 1, None, 1, 0]), schema).y
    assert y is not None
    assert y.tolist() == [0, None, 1, None, 1, 0]


def test_ids_become_text_and_must_be_there_once() -> None:
    found = infer_schema(table(key=range(6)), id_column="key")
    assert conform(table(key=[7.0, 8, 9, 10, 11, 12]), found).ids == ["7", "8", "9", "10", "11", "12"]
    with pytest.raises(BadInput, match="column key, row 3 is 'a', as in row 1, expected a different id in each row"):
        conform(table(key=list("abacde")), found)
    with pytest.raises(BadInput, match=r"column key, row 2 is .*, expected a row id"):
        conform(table(key=["a", None, "c", "d", "e", "f"]), found)
    with pytest.raises(BadInput, match="at most 200 characters"):
        conform(table(key=["a" * 201, *"bcdef"]), found)
    without = conform(table(), found)
    assert without.ids is None
    assert texts_of(without.problems) == ["There is no column 'key': ids are generated."]


def test_reserved_columns_give_ids_and_instants_and_are_never_features(schema: FeatureSchema) -> None:
    sent = table(_id=list("abcdef"), _time=["2026-01-01T00:00:00Z"] * 6)
    rows = conform(sent, schema)
    assert rows.ids == list("abcdef")
    assert rows.times is not None
    assert rows.extra.empty
    assert infer_schema(sent).names == ("x", "site")
    assert infer_schema(sent, id_column="_id", time_column="_time").id_column == "_id"


def test_instants_are_utc_whatever_their_form() -> None:
    found = infer_schema(table(at="2026-01-01"), time_column="at")
    noon = pd.Timestamp("2026-01-01T12:00:00Z")
    for given_at in (
        "2026-01-01 12:00",
        "2026-01-01T13:00:00+01:00",
        noon.to_datetime64(),
        noon,
        1767268800,
        1767268800000,
        noon.to_pydatetime(),
    ):
        times = conform(table(at=given_at), found).times
        assert times is not None
        assert str(times.dtype) == "datetime64[us, UTC]"
        assert set(times) == {noon}
    with pytest.raises(BadInput, match="ambiguous"):
        conform(table(at="03/04/2026"), found)
    for bad in ("soon", None, 2026, True):
        with pytest.raises(BadInput, match=r"column at, row 1 is .*, expected an instant"):
            conform(table(at=bad), found)


def test_sql_and_html_in_a_column_name_are_just_a_name() -> None:
    names = ["x'; DROP TABLE users; --", "<script>alert(1)</script>"]
    frame = table().set_axis([*names, "y"], axis=1)
    assert conform(frame, infer_schema(frame)).X.columns.tolist() == names


def test_classes_of_text_bools_and_numbers_are_recognised_in_other_types() -> None:
    flags = infer_schema(table(y=[True, False] * 3))
    assert conform(table(y=["TRUE", "false", 1, 0, None, "no"]), flags).y.tolist() == [
        True,
        False,
        True,
        False,
        None,
        False,
    ]  # type: ignore[union-attr]
    codes = infer_schema(table(y=[1, 2] * 3))
    assert conform(table(y=["1", " 2 ", 1.0, "", None, "2.0"]), codes).y.tolist() == [1, 2, 1, None, None, 2]  # type: ignore[union-attr]
    words = infer_schema(table(y=["1", "b"] * 3))
    assert conform(table(y=[1, 2, 1, 2, 1, 2]), words).new_classes == ("2",)


def test_a_third_class_makes_the_task_multiclass(schema: FeatureSchema) -> None:
    grown = with_classes(schema, [5, 1])
    assert (grown.task, grown.classes) == ("multiclass", (0, 1, 5))
    assert with_classes(schema, [1]) == schema


NAMES = st.text(min_size=1, max_size=8).filter(lambda n: n.strip() != "" and n not in ("_id", "_time"))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
CLASSES: st.SearchStrategy[list[Any]] = st.one_of(
    st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=5, unique=True),
    st.lists(st.integers(-(2**60), 2**60), min_size=2, max_size=5, unique=True),
    st.just([False, True]),
    st.just([]),
)


@given(
    st.lists(NAMES, min_size=2, max_size=6, unique=True),
    CLASSES,
    st.lists(st.sampled_from(["numeric", "categorical", "boolean"]), min_size=6, max_size=6),
    st.one_of(st.none(), NUMBERS),
)
def test_a_schema_comes_back_from_json_as_it_was(
    names: list[str], classes: list[Any], kinds: list[FeatureKind], low: float | None
) -> None:
    features = tuple(
        Feature(name=n, kind=k, categories=() if k == "numeric" else ("a", "b"), low=low, high=low)
        for n, k in zip(names[1:], kinds, strict=False)
    )
    made = FeatureSchema(
        task="multiclass" if classes else "regression",
        target=names[0],
        features=features,
        classes=tuple(sorted(classes)),
        time_column=names[0],
    )
    again = schema_from_document(json.loads(json.dumps(schema_to_document(made))))
    assert again == made
    assert [type(c) for c in again.classes] == [type(c) for c in made.classes]


CELLS = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(width=32), st.text("ab ", max_size=2))


@given(
    st.lists(CELLS, min_size=2, max_size=12),
    st.lists(st.floats(), min_size=12, max_size=12),
    st.sampled_from(["object", "category"]),
)
def test_conforming_what_conforms_changes_nothing(cells: list[Any], numbers: list[float], dtype: str) -> None:
    n = len(cells)
    frame = pd.DataFrame({"c": pd.Series(cells, dtype="object"), "x": numbers[:n], "y": (["a", "b"] * n)[:n]}).astype(
        {"c": dtype}
    )
    found = infer_schema(frame, categorical=["c"])
    once = conform(frame, found)
    twice = conform(once.X.assign(y=once.y), found)
    pd.testing.assert_frame_equal(once.X, twice.X)
    assert twice.y is not None
    assert once.y is not None
    assert twice.y.tolist() == once.y.tolist()
    assert twice.problems == ()
    assert not np.isinf(once.X["x"]).any()
