"""GET /predictions."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from api_helpers import ADMIN, ROW

from core.services.projects import projects
from core.storage.workspace import Workspace


def test_the_log_is_read_page_by_page_while_it_is_sealed(client: httpx.Client, state: Workspace) -> None:
    from core.services.ingestion import sealing

    rows = [{**ROW, "_id": f"r{i:03}"} for i in range(25)]
    client.post("/predict", json={"rows": rows}, headers=ADMIN)
    seen: list[str] = []
    address = "/predictions?limit=10"
    pages = 0
    cursor = None
    while True:
        page = client.get(address + (f"&cursor={cursor}" if cursor else ""), headers=ADMIN).json()
        seen += [p["row_id"] for p in page["predictions"]]
        pages += 1
        if pages == 1:
            sealing.seal_log(state, projects.get_project(state, "default"), now=datetime.now(UTC), force=True)
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert cursor.replace("-", "").replace("_", "").isalnum()
    assert pages == 3
    assert seen == [r["_id"] for r in rows]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "limit=10001", "limit=-1", "limit=1e3", "cursor=***", "cursor=cDE%3D%3D", "cursor=eDE"],
)
def test_a_page_that_nobody_gave_is_refused(shared: httpx.Client, query: str) -> None:
    assert shared.get(f"/predictions?{query}", headers=ADMIN).status_code == 422
