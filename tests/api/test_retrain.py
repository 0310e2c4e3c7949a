"""POST /retrain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from api_helpers import ADMIN

from core.services.automation import jobs, workers
from core.storage.workspace import Workspace


def test_a_cycle_that_takes_long_is_a_job(
    client: httpx.Client, state: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.http.jobs.WAIT_S", 0.2)
    monkeypatch.setattr(workers, "start_worker", lambda ws: None)
    answer = client.post("/retrain", json={"force": True}, headers=ADMIN)
    assert answer.status_code == 202
    document = answer.json()
    assert (document["outcome"], document["cycle"]) == ("running", None)
    job = jobs.claim_next(state, "test", datetime.now(UTC))
    assert job is not None and job.id == document["job"] and job.payload == {"cause": "api", "force": True}
    jobs.note_cycle(state, job.id, 7)
    assert client.get(f"/jobs/{job.id}", headers=ADMIN).json()["cycle"] == 7
    jobs.fail(state, job.id, "no luck", datetime.now(UTC))
    assert client.get(f"/jobs/{job.id}/result", headers=ADMIN).status_code == 409


@pytest.mark.parametrize("body", [{"force": "yes"}, {"forced": True}, [True], 3])
def test_retrain_takes_nothing_but_force(shared: httpx.Client, body: Any) -> None:
    assert shared.post("/retrain", json=body, headers=ADMIN).status_code == 422
