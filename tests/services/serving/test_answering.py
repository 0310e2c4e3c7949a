"""Predictions of many rows become the text of a response."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.records import Problem
from core.services.serving.answering import Answered, document
from core.services.serving.predicting import Predicted


def _answered(classes: tuple[Any, ...], outputs: Any, guarded: Any = None) -> Answered:
    outputs = np.asarray(outputs, dtype=float)
    served: Any = SimpleNamespace(keys=tuple(map(str, classes)), version=7)
    places = outputs.argmax(axis=1) if classes else outputs[:, 0]
    labels = [classes[k] for k in places] if classes else places.tolist()
    predicted = Predicted(
        labels=labels, probabilities=outputs if classes else None, classes=classes, places=places
    )  # fmt: skip
    log: Any = [(1, f"p{i}", f"r{i}", 7, "", None, "", "", None, None, None, 1) for i in range(len(outputs))]
    return Answered(served, log, b"", len(outputs), guarded or {}, predicted)


@pytest.mark.parametrize(
    "classes",
    [(0, 1), ("no", "yes"), ('say "a"', "back\\slash"), ("Größe", "größer\n"), (False, True), ("%s", "prediction_id")],
)
def test_each_row_has_its_class_and_the_probability_of_every_class(classes: tuple[Any, ...]) -> None:
    parsed = json.loads(document(_answered(classes, [[0.25, 0.75], [1.0, 0.0], [1 / 3, 2 / 3]])))
    assert parsed["model_version"] == 7 and "problems" not in parsed
    assert [p["prediction"] for p in parsed["predictions"]] == [classes[1], classes[0], classes[1]]
    assert [p["probability"] for p in parsed["predictions"]] == [0.75, 1.0, 2 / 3]
    assert [list(p["probabilities"].items()) for p in parsed["predictions"]] == [
        [(str(classes[0]), a), (str(classes[1]), b)] for a, b in ((0.25, 0.75), (1.0, 0.0), (1 / 3, 2 / 3))
    ]
    assert [(p["prediction_id"], p["row_id"], p["model_version"]) for p in parsed["predictions"]] == [
        ("p0", "r0", 7), ("p1", "r1", 7), ("p2", "r2", 7)
    ]  # fmt: skip
    assert not any("guards" in p for p in parsed["predictions"])


def test_a_number_has_no_probability() -> None:
    parsed = json.loads(document(_answered((), [[1.5], [-1e300]])))["predictions"]
    assert [(p["prediction"], p["probability"], p["probabilities"]) for p in parsed] == [
        (1.5, None, None), (-1e300, None, None)
    ]  # fmt: skip


def test_guards_change_their_own_row_only() -> None:
    hit = {"guard": "unseen_category", "feature": "a", "seen": "x", "expected": "y", "action": "abstain"}
    guarded = {1: {"action": "abstain", "answer": None, "hits": [hit]}, 2: {"action": "warn", "answer": 1, "hits": []}}
    parsed = json.loads(document(_answered((0, 1), [[0.25, 0.75]] * 3, guarded)))["predictions"]
    assert [p["prediction"] for p in parsed] == [1, None, 1]
    assert parsed[1]["probability"] is parsed[1]["probabilities"] is None and parsed[1]["guards"] == [hit]
    assert "guards" not in parsed[0] and parsed[2]["guards"] == [] and parsed[2]["probability"] == 0.75


def test_conversions_are_said_beside_the_rows() -> None:
    problem = Problem(code="infinite", column="a", count=2, example="inf")
    parsed = json.loads(document(_answered((0, 1), [[0.25, 0.75]]), [problem]))["problems"]
    assert [(p["code"], p["column"], p["count"]) for p in parsed] == [("infinite", "a", 2)] and parsed[0]["text"]
