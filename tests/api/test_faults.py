"""Faults of the program and of what it stands on: no internals in the response, nothing said that was not stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from api_helpers import ADMIN, ROW, is_problem


def test_a_prediction_that_cannot_be_stored_is_not_answered(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.services.serving.prediction_log._Log._insert", full)
    document = is_problem(client.post("/predict", json=ROW, headers=ADMIN), 503)
    assert "prediction" not in document
    monkeypatch.undo()
    assert client.post("/predict", json=ROW, headers=ADMIN).status_code == 200


def test_a_fault_of_ours_is_a_500_without_internals(shared: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("/secret/path in the text")

    monkeypatch.setattr("core.services.operations.metrics.metrics_text", broken)
    answer = shared.get("/metrics", headers=ADMIN)
    assert "secret" not in is_problem(answer, 500)["detail"]
    assert answer.headers["x-request-id"]


def test_a_database_out_of_reach_is_a_503(client: httpx.Client, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT secret", {}, Exception("no such server"))

    monkeypatch.setattr("core.services.ingestion.label_intake.add_labels", away)
    answer = client.post("/labels", json={"labels": [{"row_id": "a", "label": 1}]}, headers=ADMIN)
    assert "SELECT" not in str(is_problem(answer, 503))
