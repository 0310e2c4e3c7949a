"""What an artefact holds: its schema, what the model's rows held, and rows with the model's own answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from core.data.contract import schema_to_document
from core.data.packed import unpack
from core.data.rows import frame_of
from core.learning import export as exporting
from core.learning.export import export
from core.learning.models import fit_family
from core.records import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="size", kind="numeric"),
        Feature(name="colour", kind="categorical", categories=("blue", "red")),
        Feature(name="wet", kind="boolean", categories=("false", "true")),
        Feature(name="gone", kind="numeric"),
    ),
    classes=("no", "yes"),
)


def columns(n: int = 120) -> list:
    rng = np.random.default_rng(0)
    size = rng.normal(size=n)
    size[5] = np.nan
    colour = [None if i == 3 else str(c) for i, c in enumerate(rng.choice(["blue", "red"], n))]
    return [size, colour, [str(c) for c in rng.choice(["false", "true"], n)], np.full(n, np.nan)]


def answer(n: int = 120) -> np.ndarray:
    return np.where(np.nan_to_num(columns(n)[0]) > 0, "yes", "no").astype(object)


def test_an_artefact_shows_schema_classes_ranges_and_check_rows() -> None:
    X = frame_of(columns(), SCHEMA)
    model = fit_family("boosting", SCHEMA, X, answer(), seed=0)
    document, _ = unpack(export(model, SCHEMA, X))
    assert document["schema"] == schema_to_document(SCHEMA)
    assert document["classes"] == ["no", "yes"] and document["threshold"] is None
    assert document["ranges"]["size"] == [float(np.nanmin(columns()[0])), float(np.nanmax(columns()[0]))]
    assert document["ranges"]["colour"] == ["blue", "red"] and "gone" not in document["ranges"]
    rows, answers = document["checks"]["rows"], document["checks"]["answers"]
    assert len(rows) == len(answers) == exporting.CHECK_ROWS
    assert any(None in row[:3] for row in rows), "gaps are checked too"
    assert all(sum(p) == pytest.approx(1.0) for p in answers)


def test_the_same_model_and_rows_make_the_same_bytes() -> None:
    X = frame_of(columns(), SCHEMA)
    model = fit_family("extra_trees", SCHEMA, X, answer(), seed=0)
    assert export(model, SCHEMA, X) == export(model, SCHEMA, X)


def test_few_rows_are_enough() -> None:
    X = frame_of([c[:3] for c in columns()], SCHEMA)
    model = fit_family("constant", SCHEMA, X, answer()[:3], seed=0)
    document, _ = unpack(export(model, SCHEMA, X))
    assert document["part"]["kind"] == "constant" and sum(document["part"]["answer"]) == pytest.approx(1.0)
    assert len(document["checks"]["rows"]) >= 3


def test_an_estimator_of_no_known_kind_is_left_to_itself() -> None:
    schema = FeatureSchema(task="binary", target="y", features=SCHEMA.features[:1], classes=("no", "yes"))
    X = frame_of([np.nan_to_num(columns()[0])], schema)
    model = KNeighborsClassifier(3, metric="manhattan").fit(X, answer())  # and takes no gaps
    document, views = unpack(export(model, schema, X))
    assert document["part"] is None and not views and len(document["checks"]["rows"]) == exporting.CHECK_ROWS


def test_a_scorer_with_other_answers_is_never_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    X = frame_of(columns(), SCHEMA)
    model = fit_family("logistic", SCHEMA, X, answer(), seed=0)
    assert unpack(export(model, SCHEMA, X))[0]["part"] is not None
    linear = exporting._Book._linear

    def wrong(self: exporting._Book, *arguments: object) -> dict:
        reported = linear(self, *arguments)  # type: ignore[arg-type]
        reported["bias"] = [b + 1e-9 for b in reported["bias"]]
        return reported

    monkeypatch.setattr(exporting._Book, "_linear", wrong)
    assert unpack(export(model, SCHEMA, X))[0]["part"] is None
