"""POST /batches."""

from __future__ import annotations

import gzip
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pandas as pd
import pytest
from api_helpers import ADMIN, arrow
from patience import limit

from core.services.automation import workers
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace

CSV = "feature1,feature2,target\n0.1,2.0,1\n0.2,1.0,0\n"


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=utf-8", "application/vnd.apache.parquet", "arrow"])
def test_a_batch_comes_as_csv_parquet_or_arrow(client: httpx.Client, kind: str) -> None:
    frame = pd.DataFrame({"feature1": [0.1, 0.2], "feature2": [2.0, 1.0], "target": [1, 0]})
    body = CSV.encode()
    if "parquet" in kind:
        body = frame.to_parquet()
    if "arrow" in kind:
        kind, body = "application/vnd.apache.arrow.stream", arrow(frame)
    answer = client.post("/batches?mode=ingest", content=body, headers={**ADMIN, "Content-Type": kind})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["rows"], answer.json()["labelled"]) == (2, 2)


def test_the_first_batch_of_a_project_names_its_columns(client: httpx.Client, state: Workspace, trained: Path) -> None:
    projects.create_project(state, "Own", Origin(source="api"), by="test", now=datetime.now(UTC))
    body = "key,x,word,answer\n" + "".join(f"k{i},{i},{'ab'[i % 2]},{'yes' if i % 3 else 'no'}\n" for i in range(40))
    address = "/projects/own/batches?target=answer&id=key"
    answer = client.post(address, content=body, headers={**ADMIN, "Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    schema = projects.get_project(state, "own").schema
    assert schema is not None
    assert (schema.target, schema.id_column, schema.names) == ("answer", "key", ("x", "word"))
    assert list((trained / "spool").iterdir()) == []


def test_a_large_batch_becomes_a_job(
    client: httpx.Client, state: Workspace, monkeypatch: pytest.MonkeyPatch, trained: Path
) -> None:
    from core.http import batches

    monkeypatch.setattr(batches, "AT_ONCE_BYTES", 10)
    started: list[int] = []
    monkeypatch.setattr(workers, "start_worker", lambda ws: started.append(1))
    csv_type = {**ADMIN, "Content-Type": "text/csv"}
    answer = client.post("/batches", content=CSV, headers=csv_type)
    assert answer.status_code == 202
    assert started == [1]
    job = answer.json()["job"]
    assert answer.headers["location"] == f"/jobs/{job}"
    assert client.get(f"/jobs/{job}", headers=ADMIN).json()["status"] == "queued"
    assert client.get(f"/jobs/{job}/result", headers=ADMIN).status_code == 202
    broken = client.post("/batches", content="nonsense, and no table\n", headers=csv_type).json()["job"]
    subprocess.run(
        [sys.executable, "-m", "core.jobs.worker", "--once"], check=True, capture_output=True, timeout=limit(60)
    )
    result = client.get(f"/jobs/{job}/result", headers=ADMIN)
    assert result.status_code == 200
    assert result.json()["rows"] == 2
    assert client.get(f"/projects/default/jobs/{job}", headers=ADMIN).json()["status"] == "done"
    failed = client.get(f"/jobs/{broken}/result", headers=ADMIN)
    assert failed.status_code == 409
    assert "failed" in failed.json()["detail"]
    assert client.get("/jobs/nothing", headers=ADMIN).status_code == 404
    assert list((trained / "spool").iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "body"), [("ingest", b"feature1,feature2,target\n"), ("score", b"feature1,feature2\n")]
)
def test_a_small_file_that_unpacks_to_much_becomes_a_job(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, mode: str, body: bytes
) -> None:
    from core.http import batches

    monkeypatch.setattr(workers, "start_worker", lambda ws: None)
    line = b"0.25,0.5,1\n" if mode == "ingest" else b"0.25,0.5\n"
    packed = gzip.compress(body + line * (batches.AT_ONCE_BYTES // len(line) + 1))
    assert len(packed) < 100_000
    answer = client.post(f"/batches?mode={mode}", content=packed, headers={**ADMIN, "Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


@pytest.mark.parametrize(
    ("query", "body", "kind", "status"),
    [
        ("", "", "text/csv", 422),
        ("", "a,b\n1\n", "text/csv", 422),
        ("", CSV, "application/json", 415),
        ("", CSV, "application/vnd.apache.parquet", 415),
        ("", "PAR1 not really", "application/vnd.apache.parquet", 415),
        ("?mode=guess", CSV, "text/csv", 422),
        ("?mode=score&target=target", CSV, "text/csv", 422),
        ("?mode=score", "feature1\n0.1\n", "text/csv", 422),
        ("?mode=ingest&targets=y", CSV, "text/csv", 422),
        ("?task=guess", CSV, "text/csv", 422),
        ("?target=other", CSV, "text/csv", 422),
    ],
)
def test_bad_batches_are_refused(shared: httpx.Client, query: str, body: str, kind: str, status: int) -> None:
    answer = shared.post(f"/batches{query}", content=body, headers={**ADMIN, "Content-Type": kind})
    assert answer.status_code == status, answer.text
