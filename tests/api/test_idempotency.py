"""Requests that come twice under one Idempotency-Key: answered alike, stored once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from api_helpers import ADMIN, ROW, npy, token
from patience import limit
from sqlalchemy import func, select

from core.storage.tables import Batch, Job, Label, Prediction, StoredResponseRow
from core.storage.workspace import Workspace

CSV = "feature1,feature2,target\n0.5,1.0,1\n-0.5,0.25,0\n"


def keyed(key: str, **more: str) -> dict[str, str]:
    """Headers of a request with a key."""
    return {**ADMIN, "Idempotency-Key": key, **more}


def count(ws: Workspace, table: Any) -> int:
    """Rows of a table."""
    with ws.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.parametrize(
    ("path", "sent", "table"),
    [
        ("/predict", {"json": ROW}, Prediction),
        ("/predict", {"json": {"rows": [ROW] * 3}}, Prediction),
        ("/predict", {"content": npy([[0.1, 2.0]] * 40), "headers": {"Content-Type": "application/x-npy"}}, Prediction),
        ("/invocations", {"json": {"instances": [[0.1, 2.0]]}}, Prediction),
        ("/labels", {"json": {"labels": [{"row_id": "a7", "label": 1}]}}, Label),
        ("/generate", {"json": {"rows": 5}}, Batch),
        ("/batches", {"content": CSV, "headers": {"Content-Type": "text/csv"}}, Batch),
        ("/batches?mode=score", {"content": CSV, "headers": {"Content-Type": "text/csv"}}, Prediction),
    ],
)
def test_the_second_gets_the_answer_of_the_first_and_stores_nothing(
    client: httpx.Client, state: Workspace, path: str, sent: dict[str, Any], table: Any
) -> None:
    headers = keyed("once", **sent.pop("headers", {}))
    first = client.post(path, headers=headers, **sent)
    assert first.status_code == 200 and "idempotency-replayed" not in first.headers
    stored = count(state, table)
    again = client.post(path, headers=headers, **sent)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert count(state, table) == stored
    other = client.post(path, headers={**headers, "Idempotency-Key": "twice"}, **sent)
    assert "idempotency-replayed" not in other.headers


def test_a_cycle_asked_for_twice_is_one_job(client: httpx.Client, state: Workspace) -> None:
    first = client.post("/retrain", json={}, headers=keyed("cycle"), timeout=limit(60)).json()
    again = client.post("/retrain", json={}, headers=keyed("cycle"), timeout=limit(60)).json()
    assert first["job"] == again["job"]
    assert count(state, Job) == 1


def test_a_key_belongs_to_its_request_and_its_token(client: httpx.Client, state: Workspace) -> None:
    answer = client.post("/predict", json=ROW, headers=keyed("mine"))
    other = client.post("/predict", json={**ROW, "feature1": 0.2}, headers=keyed("mine"))
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    somebody = client.post("/predict", json=ROW, headers={**token(state, "predict"), "Idempotency-Key": "mine"})
    assert somebody.json()["prediction_id"] != answer.json()["prediction_id"]
    assert count(state, Prediction) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_key_that_is_none_is_refused_and_nothing_stored(client: httpx.Client, state: Workspace, key: str) -> None:
    headers = {**ADMIN, "Idempotency-Key": key.encode("latin-1")}
    for path, body in (("/predict", ROW), ("/labels", {"labels": [{"row_id": "a", "label": 1}]})):
        answer = client.post(path, json=body, headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == 422, path
    assert count(state, Prediction) == count(state, Label) == count(state, StoredResponseRow) == 0


def test_of_many_at_once_one_is_stored(client: httpx.Client, state: Workspace) -> None:
    found: list[httpx.Response] = []

    def ask() -> None:
        found.append(client.post("/predict", json=ROW, headers=keyed("race")))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {r.status_code for r in found} == {200} and len({r.content for r in found}) == 1
    assert count(state, Prediction) == 1


def test_labels_at_once_under_one_key_are_stored_once(client: httpx.Client, state: Workspace) -> None:
    body = {"labels": [{"row_id": f"r{i}", "label": i % 2} for i in range(20)]}

    async def _all() -> list[int]:
        async with httpx.AsyncClient(base_url=client.base_url, timeout=limit(60)) as some:
            answers = await asyncio.gather(*(some.post("/labels", json=body, headers=keyed("l")) for _ in range(8)))
            return [a.status_code for a in answers]

    assert set(asyncio.run(_all())) <= {200, 503}
    assert client.post("/labels", json=body, headers=keyed("l")).status_code == 200
    assert count(state, Label) == 20
