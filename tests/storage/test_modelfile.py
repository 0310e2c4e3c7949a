"""What a model file may hold: every family of ours, and none of what was made to run code or to end the process."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from core.errors import BadInput, StorageError
from core.learning.models import MODEL_FAMILIES, Committee, fit_family
from core.learning.soundness import refuse_unsound
from core.records import Feature, FeatureSchema, Task
from core.storage import artefacts, modelfile, modelfile_allowed

Schema = dict[str, Any]


def rows(n: int = 80, *, seed: int = 0) -> pd.DataFrame:
    """Two numbers, one of them with gaps, and a category."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    frame.loc[::9, "b"] = np.nan
    frame["c"] = pd.Series(rng.choice(["x", "y", "z"], n), dtype="str")
    return frame


def numbers() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(1).normal(size=(60, 2))
    return X, (X[:, 0] > 0).astype(int)


def altered(model: Any, change: Callable[[Schema, dict[str, bytes]], None]) -> bytes:
    """The file of a model, its schema and arrays changed by hand."""
    with zipfile.ZipFile(io.BytesIO(artefacts.dumps(model))) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = json.loads(members["schema.json"])
    change(schema, members)
    members["schema.json"] = json.dumps(schema).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return made.getvalue()


def node(module: str, name: str, loader: str, **more: Any) -> Schema:
    return {"__module__": module, "__class__": name, "__loader__": loader, "__id__": 7, **more}


def text(value: Any) -> Schema:
    return node("builtins", "str", "JsonNode", content=json.dumps(value), is_json=True) | {"__id__": 8}


def attributes(schema: Schema) -> Schema:
    found: Schema = schema["content"]["content"]
    return found


def with_attribute(name: str, value: Schema) -> Callable[[Schema, dict[str, bytes]], None]:
    def change(schema: Schema, members: dict[str, bytes]) -> None:
        content = schema["content"]
        if name not in content["content"]:
            content["key_types"]["content"].append(node("builtins", "str", "TypeNode") | {"__id__": 9})
        content["content"][name] = value

    return change


# --- what is loaded ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_family_and_the_committee_of_all_pass(task: Task) -> None:
    X, rng = rows(), np.random.default_rng(2)
    classes = {"binary": ("no", "yes"), "multiclass": (0, 1, 2), "regression": ()}[task]
    y = rng.normal(size=len(X)) if task == "regression" else np.array(classes)[rng.integers(0, len(classes), len(X))]
    features = (
        Feature(name="a", kind="numeric"),
        Feature(name="b", kind="numeric"),
        Feature(name="c", kind="categorical", categories=("x", "y", "z")),
    )
    schema = FeatureSchema(task=task, target="t", features=features, classes=classes)
    members = [fit_family(name, schema, X, y, seed=1) for name, f in MODEL_FAMILIES.items() if task in f.tasks]
    assert len(members) > 5
    committee = Committee(members, [1 / len(members)] * len(members), [{"name": "m", "n_rows": 80}], task=task)
    loaded = artefacts.loads(artefacts.dumps(committee))
    np.testing.assert_array_equal(loaded.predict(X), committee.predict(X))


def test_every_name_on_the_list_is_a_class_or_an_elementwise_function() -> None:
    import importlib

    for loader, names in modelfile_allowed.ALLOWED.items():
        for name in names:
            module, _, attribute = name.rpartition(".")
            found = getattr(importlib.import_module(module), attribute)
            assert isinstance(found, np.ufunc if loader == "FunctionNode" else type), name


def test_a_pipeline_of_elementwise_functions_is_loaded_and_one_of_other_functions_is_not() -> None:
    X, _ = numbers()
    good = make_pipeline(FunctionTransformer(np.absolute), StandardScaler()).fit(X)
    np.testing.assert_array_equal(artefacts.loads(artefacts.dumps(good)).transform(X), good.transform(X))
    with pytest.raises(StorageError, match=r"json\.dumps, which is not on the list"):
        artefacts.loads(artefacts.dumps(FunctionTransformer(json.dumps)))


# --- code -------------------------------------------------------------------------------------------------------


def attacks(marker: Path) -> dict[str, Schema]:
    """Parts that call something when they are constructed, or later."""
    command = f"touch {marker}"
    call = node("builtins", "tuple", "TupleNode", content=[text(f"uuid.os.system({command!r})")]) | {"__id__": 10}
    empty = node("builtins", "tuple", "TupleNode", content=[]) | {"__id__": 11}
    kinds = node("builtins", "list", "ListNode", content=[node("pandas.core.computation.expr", "Expr", "TypeNode")])
    system = node("os", "system", "FunctionNode")
    parts = {"func": system, "args": call, "kwds": text({}), "namespace": text(None)}
    return {
        "a class called with the file's text": node(
            "pandas.core.computation.expr", "Expr", "ConstructorFromReduceNode", content=call
        ),
        "an allowed class called": node("builtins", "dict", "ConstructorFromReduceNode", content=empty),
        "a dictionary whose keys are called": node(
            "builtins", "dict", "DictNode", key_types=kinds, content={f"uuid.os.system({command!r})": text(1)}
        ),
        "a list that is another class": node("numpy.lib.npyio", "NpzFile", "ListNode", content=[]),
        "a function": system,
        "a part of a function": node("functools", "partial", "PartialNode", content=parts),
        "a method": node("builtins", "str", "MethodNode", content={"obj": text("a"), "func": "format"}),
        "an operator": node("operator", "methodcaller", "OperatorFuncNode", attrs=call),
        "a type from the path": node("pathlib", "Path", "TypeNode"),
        "a loss that is another class": node(
            "pandas.core.computation.expr", "Expr", "LossNode", __reduce__={"args": call}, content=text({})
        ),
        "a scalar that is another class": node("pandas", "ExcelFile", "NdArrayNode", type="numpy", file="schema.json"),
        "a sparse matrix": node("scipy.sparse._csr", "csr_matrix", "SparseMatrixNode", type="scipy", file="x.npz"),
        "an unpickler": node("pandas.compat.pickle_compat", "Unpickler", "ObjectNode"),
        "a reference": {"__id__": 7, "__loader__": "CachedNode", "__module__": None, "__class__": None},
    }


@pytest.mark.parametrize("where", ["extra", "_sklearn_version", "classes_", "n_features_in_"])
@pytest.mark.parametrize("what", sorted(attacks(Path("x"))))
def test_a_part_that_calls_something_is_refused_wherever_it_stands(tmp_path: Path, what: str, where: str) -> None:
    marker = tmp_path / "ran"
    X, y = numbers()
    data = altered(DecisionTreeClassifier(max_depth=2).fit(X, y), with_attribute(where, attacks(marker)[what]))
    with pytest.raises(BadInput):
        modelfile.checked_types(data)
    with pytest.raises(StorageError, match="not loaded"):
        artefacts.loads(data)
    assert not marker.exists()


def test_what_skops_does_not_read_is_refused_too() -> None:
    X, y = numbers()
    model = DecisionTreeClassifier(max_depth=2).fit(X, y)
    hidden = node("os", "system", "FunctionNode")
    changes: list[Callable[[Schema, dict[str, bytes]], Any]] = [
        lambda s, m: s.update(attrs=hidden),
        lambda s, m: s["content"].update(more=hidden),
        lambda s, m: s.update(protocol=0),
        lambda s, m: s.update(protocol=True),
        lambda s, m: s.pop("__id__"),
        lambda s, m: m.update({"extra.npy": b""}),
        lambda s, m: attributes(s)["max_depth"].update({"__id__": s["__id__"]}),  # stands for another part
    ]
    for change in changes:
        with pytest.raises(BadInput):
            modelfile.checked_types(altered(model, change))


def test_deep_schemas_and_arrays_that_say_more_than_they_hold_are_refused() -> None:
    X, y = numbers()
    model = DecisionTreeClassifier(max_depth=2).fit(X, y)
    deep: Schema = text(1)
    for i in range(modelfile.MAX_DEPTH + 1):
        deep = node("builtins", "list", "ListNode", content=[deep]) | {"__id__": 100 + i}
    with pytest.raises(BadInput, match="nested deeper"):
        modelfile.checked_types(altered(model, with_attribute("extra", deep)))
    pickled, short = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object))
    np.lib.format.write_array_header_1_0(short, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    for content, reported in (
        (pickled, "expected numbers or text"),
        (short, "another size"),
        (io.BytesIO(b"PK"), "read"),
    ):
        array = node("numpy", "ndarray", "NdArrayNode", type="numpy", file="x.npy")
        data = altered(model, with_attribute("extra", array))
        with zipfile.ZipFile(stored := io.BytesIO(data), "a") as opened:
            opened.writestr("x.npy", content.getvalue())
        with pytest.raises(BadInput, match=reported):
            modelfile.checked_types(stored.getvalue())


# --- trees and neighbours that end the process ------------------------------------------------------------------


def with_nodes(change: Callable[[np.ndarray], Any]) -> Callable[[Schema, dict[str, bytes]], None]:
    """Change the nodes of the tree of a file."""

    def alter(schema: Schema, members: dict[str, bytes]) -> None:
        file = attributes(schema)["tree_"]["content"]["content"]["nodes"]["file"]
        nodes = np.load(io.BytesIO(members[file]))
        change(nodes)
        np.save(made := io.BytesIO(), nodes)
        members[file] = made.getvalue()

    return alter


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("right_child", 2**40, "a node that it does not have"),
        ("left_child", 0, "or back"),
        ("left_child", -2, "or back"),
        ("feature", 2, "column 2 of 2"),
        ("feature", -7, "column"),
        ("threshold", np.nan, "no number"),
    ],
)
def test_a_tree_that_leads_nowhere_is_refused_before_it_is_constructed(field: str, value: Any, expected: str) -> None:
    X, y = numbers()

    def change(nodes: np.ndarray) -> None:
        nodes[field][0] = value

    with pytest.raises(BadInput, match=expected):
        modelfile.checked_types(altered(DecisionTreeClassifier(max_depth=2).fit(X, y), with_nodes(change)))


def test_a_tree_with_arguments_of_another_size_is_refused() -> None:
    X, y = numbers()
    model = DecisionTreeClassifier(max_depth=2).fit(X, y)

    def outputs(schema: Schema, members: dict[str, bytes]) -> None:
        attributes(schema)["tree_"]["__reduce__"]["args"]["content"][2] = text(100_000)

    with pytest.raises(BadInput, match="another number of outputs than 100000"):
        modelfile.checked_types(altered(model, outputs))


def test_estimators_whose_parts_do_not_belong_together_are_refused() -> None:
    X, y = numbers()
    forest = RandomForestClassifier(2, max_depth=2, random_state=0).fit(np.hstack([X, X]), y)
    forest.estimators_[1].n_features_in_ = 2
    booster = HistGradientBoostingClassifier(max_iter=2).fit(X, y)
    booster._predictors[0][0].nodes["feature_idx"][0] = 9
    near = KNeighborsClassifier(algorithm="brute").fit(X, y)
    near._y = near._y + 5
    short = KNeighborsClassifier(algorithm="brute").fit(X, y)
    short.n_samples_fit_ = 10**6
    indexed = KNeighborsClassifier(algorithm="kd_tree").fit(X, y)
    cases = [
        (forest, "another number"),
        (booster, "column 9"),
        (near, "labels"),
        (short, "ask for"),
        (indexed, "brute"),
    ]
    for model, reported in cases:
        with pytest.raises(BadInput, match=reported):
            refuse_unsound(make_pipeline(model))
    with pytest.raises(StorageError, match="algorithm='brute'"):
        artefacts.loads(artefacts.dumps(indexed))
