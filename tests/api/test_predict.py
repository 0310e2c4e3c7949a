"""POST /predict."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from api_helpers import ADMIN, ROW, arrow, npy, serving

from core.http.json_decoding import AT_ONCE_BYTES

JSON = {**ADMIN, "Content-Type": "application/json"}


def test_one_row_is_answered_and_in_the_log(client: httpx.Client) -> None:
    answer = client.post("/predict", json=ROW, headers=ADMIN)
    assert answer.status_code == 200
    document = answer.json()
    assert document["prediction"] in (0, 1)
    assert type(document["model_version"]) is int and document["model_version"] == 1
    assert set(document["probabilities"]) == {"0", "1"}
    assert math.isclose(sum(document["probabilities"].values()), 1.0)
    assert document["probability"] == document["probabilities"][str(document["prediction"])]
    assert isinstance(document["prediction_id"], str)
    logged = client.get("/predictions", headers=ADMIN).json()
    assert [p["prediction_id"] for p in logged["predictions"]] == [document["prediction_id"]]
    assert logged["predictions"][0]["row_id"] == document["prediction_id"]
    assert logged["next_cursor"] is None


def test_json_arrow_and_npy_give_the_same_answers(shared: httpx.Client) -> None:
    rows = [{"feature1": i / 10, "feature2": 1 - i / 5} for i in range(20)]
    as_json = shared.post("/predict", json={"rows": rows}, headers=ADMIN).json()["predictions"]
    frame = pd.DataFrame(rows)[["feature2", "feature1"]]
    arrow_type = {**ADMIN, "Content-Type": "application/vnd.apache.arrow.stream"}
    as_arrow = shared.post("/predict", content=arrow(frame), headers=arrow_type).json()["predictions"]
    npy_type = {**ADMIN, "Content-Type": "application/x-npy"}
    values = npy(pd.DataFrame(rows).to_numpy())
    as_npy = shared.post("/predict", content=values, headers=npy_type).json()["predictions"]
    fortran = npy(np.asfortranarray(pd.DataFrame(rows).to_numpy()))
    as_fortran = shared.post("/predict", content=fortran, headers=npy_type).json()["predictions"]
    for other in (as_arrow, as_npy, as_fortran):
        assert [p["probability"] for p in other] == [p["probability"] for p in as_json]
        assert [p["prediction"] for p in other] == [p["prediction"] for p in as_json]


def test_ids_and_times_of_the_caller_are_kept(shared: httpx.Client) -> None:
    rows = [{**ROW, "_id": "a7", "_time": "2026-03-01T10:00:00Z"}, {**ROW, "_id": "a8"}]
    answers = shared.post("/predict", json={"rows": rows}, headers=ADMIN).json()["predictions"]
    assert [a["row_id"] for a in answers] == ["a7", "a8"]
    assert len({a["prediction_id"] for a in answers} | {"a7", "a8"}) == 4


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/octet-stream", ""])
def test_a_body_is_json_whatever_else_its_type_says(shared: httpx.Client, kind: str) -> None:
    answer = shared.post("/predict", content=json.dumps(ROW), headers={**ADMIN, "Content-Type": kind})
    assert answer.status_code == 200


def test_missing_values_are_answered(shared: httpx.Client) -> None:
    assert shared.post("/predict", json={**ROW, "feature2": None}, headers=ADMIN).status_code == 200
    values = npy([[np.nan, 1.0]])
    answer = shared.post("/predict", content=values, headers={**ADMIN, "Content-Type": "application/npy"})
    assert answer.status_code == 200


def test_nothing_is_predicted_before_there_is_a_model(empty_client: httpx.Client) -> None:
    assert empty_client.post("/predict", json=ROW, headers=ADMIN).status_code == 404
    assert empty_client.post("/generate", headers=ADMIN).status_code == 200
    answer = empty_client.post("/predict", json=ROW, headers=ADMIN)
    assert answer.status_code == 409
    assert "no champion yet" in answer.json()["detail"]


def test_a_damaged_model_is_a_503_and_nobody_learns_where_it_lies(trained: Path) -> None:

    for file in (trained / "models").rglob("*.cml"):
        file.write_bytes(b"damaged")
    with serving() as client:
        answer = client.post("/predict", json=ROW, headers=ADMIN)
        assert answer.status_code == 503
        assert str(trained) not in answer.text
        assert client.get("/model-status").json()["model_trained"] is False
        health = client.get("/health")
        assert health.status_code == 200
        assert health.json()["status"] == "degraded"


def test_rows_of_a_large_json_body_are_predicted_as_those_of_an_array(shared: httpx.Client) -> None:
    values = np.random.default_rng(5).normal(size=(2_000, 2))
    rows = pd.DataFrame(values, columns=list(ROW)).to_dict(orient="records")
    plain = json.dumps({"rows": rows}).encode()
    slower = json.dumps({"rows": [{**row, "_id": f"large-{i}"} for i, row in enumerate(rows)]}).encode()
    assert min(len(plain), len(slower)) > AT_ONCE_BYTES
    expected = shared.post("/predict", content=npy(values), headers={**ADMIN, "Content-Type": "application/x-npy"})
    said = [(p["prediction"], p["probabilities"]) for p in expected.json()["predictions"]]
    for body in (plain, slower):
        answer = shared.post("/predict", content=body, headers=JSON).json()
        assert [(p["prediction"], p["probabilities"]) for p in answer["predictions"]] == said
        assert {p["probability"] - max(p["probabilities"].values()) for p in answer["predictions"]} == {0}
        assert len({p["prediction_id"] for p in answer["predictions"]}) == 2_000
    assert answer["predictions"][7]["row_id"] == "large-7"


def test_a_large_json_body_with_a_bad_row_names_it(shared: httpx.Client) -> None:
    rows: list[dict[str, Any]] = [dict(ROW) for _ in range(3_000)]
    rows[2_999] = {"feature1": 1, "feature_2": 1}
    refused = shared.post("/predict", json={"rows": rows}, headers=ADMIN)
    assert refused.status_code == 422
    assert [e["field"] for e in refused.json()["errors"]] == ["rows[2999].feature2", "rows[2999].feature_2"]
    body = json.dumps({"rows": rows[:2_999]}).encode()
    assert shared.post("/predict", content=body[:-1], headers=JSON).status_code == 400
    twice = body.replace(b'"feature1"', b'"feature1": 1, "feature1"', 1)
    refused = shared.post("/predict", content=twice, headers=JSON)
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "rows[0].feature1"
