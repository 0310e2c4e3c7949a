"""Ready means ready: whoever sends the first prediction after it waits for no import and no model."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest
from api_helpers import ADMIN, serving
from patience import limit, until
from sqlalchemy import select

from core.http import access
from core.services.incidents.status import MODEL_DAMAGED, MODEL_LOADING
from core.services.serving.champion_cache import Champions, Served
from core.storage.tables import ModelRow
from core.storage.workspace import open_workspace


def test_it_is_not_ready_before_its_model_has_answered_its_check_rows(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, whole = threading.Event(), Champions.get

    def _slow(self: Champions, project_id: int) -> Served | None:
        may_load.wait()
        return whole(self, project_id)

    monkeypatch.setattr(Champions, "get", _slow)
    monkeypatch.setattr(access, "PROBE_WAIT_S", 0.01)
    with serving() as client:
        try:
            reported = client.get("/health/ready")
            assert (reported.status_code, reported.json()) == (503, {"status": "loading", "reason": MODEL_LOADING})
            assert client.get("/v2/health/ready").status_code == 503
            assert client.get("/health/live").status_code == 200
        finally:
            may_load.set()
        until("the model to be loaded", lambda: client.get("/health/ready").status_code == 200)
        assert client.get("/health/ready").json() == {"status": "ok", "reason": None}


def test_no_model_is_ready(empty_client: httpx.Client) -> None:
    assert empty_client.get("/health/ready").json() == {"status": "ok", "reason": None}


def test_a_model_that_cannot_be_loaded_is_not_ready(trained: Path) -> None:
    ws = open_workspace()
    with ws.database.read() as session:
        path = session.scalars(select(ModelRow.scorer_path)).one()
    (ws.models_path / str(path)).write_bytes(b"torn")
    with serving() as client:
        reported = client.get("/health/ready")
    assert (reported.status_code, reported.json()) == (503, {"status": "down", "reason": MODEL_DAMAGED})


def test_the_first_prediction_waits_for_no_model(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/health/ready").status_code == 200

    def _load(*_given: object) -> None:
        raise AssertionError("a model was loaded while somebody waited")

    monkeypatch.setattr("core.services.serving.champion_cache.load", _load)
    began = time.monotonic()
    answer = client.post("/predict", json={"feature1": 0.5, "feature2": 0.1}, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - began < limit(1)
