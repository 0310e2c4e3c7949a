"""Bodies by their model: each problem by its field and in words, however many there are."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from api_helpers import ADMIN


def _problems(client: httpx.Client, path: str, body: Any) -> list[tuple[str, str, str]]:
    answer = client.post(path, json=body, headers=ADMIN)
    assert answer.status_code == 422, answer.text
    return [(e["field"], e["seen"], e["expected"]) for e in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([{"label": 1}], ("labels[0].row_id", "missing", "text or a whole number")),
        ([{"row_id": True, "label": 1}], ("labels[0].row_id", "true", "text or a whole number")),
        ([{"row_id": 1}], ("labels[0].label", "missing", "text, a number or true or false")),
        ([{"row_id": 1, "label": {}}], ("labels[0].label", "an empty object", "text, a number or true or false")),
        (
            [{"row_id": 1, "prediction_id": 2, "label": 1}],
            ("labels[0]", "an object with both row_id and prediction_id", "exactly one of row_id and prediction_id"),
        ),
        ([{"row_id": 1, "label": 1, "lable": 2}], ("labels[0].lable", "an unknown field", "'label'")),
        ([7], ("labels[0]", "7", "an object {row_id, label}")),
        ([], ("labels", "an empty list", "a list of 1 to 100,000")),
        ("a", ("labels", "'a'", "a list of 1 to 100,000")),
    ],
)
def test_a_problem_names_field_seen_and_expected(
    shared: httpx.Client, labels: Any, problem: tuple[str, str, str]
) -> None:
    assert problem in _problems(shared, "/labels", {"labels": labels})


def test_no_more_than_twenty_problems_are_named_and_none_further_looked_for(shared: httpx.Client) -> None:
    assert len(_problems(shared, "/labels", {"labels": [{}] * 30})) == 20
    began = time.process_time()
    assert len(_problems(shared, "/labels", {"labels": [{"label": []}] * 100_000})) == 20
    assert time.process_time() - began < 5


def test_more_labels_than_a_call_may_hold_are_too_large(shared: httpx.Client) -> None:
    body = {"labels": [{"row_id": "a", "label": 1}] * 100_001}
    answer = shared.post("/labels", json=body, headers=ADMIN)
    assert answer.status_code == 413
    assert answer.json()["errors"] == [
        {"field": "labels", "seen": "a list of 100,001", "expected": "a list of 1 to 100,000"}
    ]


def test_who_asks_is_known_before_the_body_is_read(shared: httpx.Client) -> None:
    for path in ("/labels", "/generate", "/retrain"):
        assert shared.post(path, content=b"{" * 100).status_code == 401


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"rows": 0}, ("rows", "0", "a whole number from 1 to 1,000,000")),
        ({"seed": -1}, ("seed", "-1", "a whole number at least 0")),
        ({"noise": "x"}, ("noise", "'x'", "a number from 0 to 1")),
        ({"balance": 1}, ("balance", "1", "a number above 0 and below 1")),
        ({"drift": [1]}, ("drift", "a list of 1", "an object")),
        ({"rows": True, "features": 1.5}, ("features", "1.5", "a whole number from 1 to 1,000")),
    ],
)
def test_limits_are_reported_as_they_are_declared(
    shared: httpx.Client, body: dict[str, Any], problem: tuple[str, str, str]
) -> None:
    assert problem in _problems(shared, "/generate", body)


@pytest.mark.parametrize("limit", ["0", "10001", "x", "1e3", ""])
def test_a_parameter_is_refused_like_a_field(shared: httpx.Client, limit: str) -> None:
    answer = shared.get("/predictions", params={"limit": limit}, headers=ADMIN)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = {"field": "limit", "seen": repr(limit), "expected": "a whole number from 1 to 10,000"}
    assert answer.json()["errors"] == [problem]
    assert shared.get("/predictions", params={"limit": limit}).status_code == 401
