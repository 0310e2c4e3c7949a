"""POST /labels."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api_helpers import ADMIN, ROW


def test_labels_by_row_and_by_prediction(client: httpx.Client) -> None:
    rows = [{**ROW, "_id": "a7"}, ROW]
    first, second = client.post("/predict", json={"rows": rows}, headers=ADMIN).json()["predictions"]

    def send(*labels: dict[str, Any], **more: Any) -> list[dict[str, str]]:
        answer = client.post("/labels", json={"labels": list(labels), **more}, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        results: list[dict[str, str]] = answer.json()["results"]
        return results

    assert send({"prediction_id": first["prediction_id"], "label": 1}) == [{"row_id": "a7", "status": "stored"}]
    assert send({"row_id": "a7", "label": 1}) == [{"row_id": "a7", "status": "unchanged"}]
    assert send({"row_id": "a7", "label": 0}, replace=True) == [{"row_id": "a7", "status": "replaced"}]
    assert send({"row_id": second["prediction_id"], "label": "1"})[0]["status"] == "stored"
    assert send({"row_id": "later", "label": 0})[0]["status"] == "waiting"


def test_labels_that_replace_others_or_add_a_class_are_a_409_until_the_body_agrees(client: httpx.Client) -> None:
    row_id = client.post("/predict", json=ROW, headers=ADMIN).json()["prediction_id"]
    client.post("/labels", json={"labels": [{"row_id": row_id, "label": 1}]}, headers=ADMIN)
    labels = [{"row_id": "other", "label": 1}, {"row_id": row_id, "label": 0}, {"row_id": "third", "label": 7}]
    keyed = {**ADMIN, "Idempotency-Key": "once"}
    refused = client.post("/labels", json={"labels": labels}, headers=keyed)
    assert refused.status_code == 409
    assert [e["field"] for e in refused.json()["errors"]] == ["labels[1].label", "labels[2].label"]
    assert "replace" in refused.json()["detail"] and row_id in refused.json()["detail"]
    for _ in range(2):  # what was refused was not kept, what was stored is
        reported = client.post("/labels", json={"labels": labels, "replace": True}, headers=keyed)
        assert [r["status"] for r in reported.json()["results"]] == ["waiting", "replaced", "waiting"]
    assert reported.headers["Idempotency-Replayed"] == "true"
    wrong = client.post("/labels", json={"labels": labels, "replace": "yes"}, headers=ADMIN)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "replace")


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ([{"row_id": "a", "label": None}], "labels[0].label"),
        ([{"row_id": "a", "label": 1}, {"label": 1}], "labels[1].row_id"),
        ([{"row_id": "a", "prediction_id": "b", "label": 1}], "labels[0]"),
        ([{"row_id": "a", "label": [1]}], "labels[0].label"),
        ([{"row_id": {"x": 1}, "label": 1}], "labels[0].row_id"),
        ([{"row_id": "", "label": 1}], "labels[0].row_id"),
        ([{"row_id": "a", "label": 1, "lable": 2}], "labels[0].lable"),
        ([{"row_id": "a", "label": "spam"}], "labels[0].label"),
        ([7], "labels[0]"),
        ([], "labels"),
        ({}, "labels"),
        (None, "labels"),
    ],
)
def test_bad_labels_are_named_and_none_is_stored(shared: httpx.Client, labels: Any, field: str) -> None:
    answer = shared.post("/labels", json={"labels": labels}, headers=ADMIN)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
