"""Each route as a client sees it."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from api_helpers import ADMIN, KEY, ROW, arrow, npy, serving, token
from patience import limit

from core.services.access import tokens
from core.services.automation import jobs, workers
from core.services.incidents.status import SCHEDULER
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import ROOT, get_settings
from core.storage.workspace import Workspace

# --- open routes ------------------------------------------------------------------------------------------------


def test_an_empty_installation_is_well_and_says_that_nothing_is_trained(empty_client: httpx.Client) -> None:
    health = empty_client.get("/health")
    assert health.status_code == 200
    document = health.json()
    assert document.pop("uptime_seconds") >= 0
    assert document == {
        "status": "ok",
        "reason": None,
        "database": "ok",
        "model_version": None,
        "scheduler_age_seconds": None,
    }
    assert b'"status":"ok"' in health.content
    status = empty_client.get("/model-status").json()
    assert status["model_trained"] is False
    assert status["model_version"] is None
    assert empty_client.get("/health/live").json() == {"status": "ok"}
    assert empty_client.get("/health/ready").status_code == 200


def test_health_degrades_when_a_scheduler_that_once_beat_is_late(client: httpx.Client, state: Workspace) -> None:
    now = datetime.now(UTC)
    workers.beat(state, SCHEDULER, owner="test", now=now)
    young = client.get("/health").json()
    assert (young["status"], young["model_version"]) == ("ok", 1)
    assert 0 <= young["scheduler_age_seconds"] < 5
    workers.beat(state, SCHEDULER, owner="test", now=datetime(2026, 1, 1, tzinfo=UTC))
    late = client.get("/health")
    assert late.status_code == 200
    assert late.json()["status"] == "degraded"
    assert late.json()["reason"] == "The scheduler has sent no heartbeat for more than three intervals."


def test_health_is_down_when_the_database_is_gone(client: httpx.Client, trained: Path) -> None:
    (trained / "continual.db").rename(trained / "away.db")
    health = client.get("/health")
    assert health.status_code == 503
    assert (health.json()["status"], health.json()["database"]) == ("down", "down")
    assert str(trained) not in health.text
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
    (trained / "away.db").rename(trained / "continual.db")
    assert client.get("/health").json()["status"] == "ok"


def test_model_status_tells_the_measured_score_and_whether_this_process_can_serve(
    client: httpx.Client, state: Workspace
) -> None:
    status = client.get("/model-status").json()
    assert (status["model_trained"], status["model_version"], status["threshold"]) == (True, 1, 0.8)
    assert status["metric"] == "accuracy"
    points = monitoring.performance_history(state, projects.get_project(state, "default").id, limit=1)
    assert status["performance"] == (points[-1].scores["accuracy"].value if points else None)
    by_slug = client.get("/projects/default/model-status").json()
    assert by_slug == status


def test_docs_load_nothing_from_elsewhere(shared: httpx.Client) -> None:
    page = shared.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text and "https://" not in page.text and "//" not in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for asset, kind in (("docs.js", "text/javascript"), ("docs.css", "text/css")):
        assert f"docs/{asset}" in page.text
        found = shared.get(f"/docs/{asset}")
        assert found.status_code == 200
        assert found.headers["content-type"].startswith(kind)
        assert "http" not in found.text
    assert shared.get("/docs/docs.html").status_code == 404


def test_every_route_is_documented_with_schemas_and_examples(shared: httpx.Client) -> None:
    document = shared.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    paths = set(document["paths"])
    roots = {p for p in paths if not p.startswith("/projects/")}
    assert {p.removeprefix("/projects/{slug}") for p in paths - roots} == roots - {"/health/live", "/health/ready"}
    seen = set()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            assert route["summary"] and route["description"]
            assert route["operationId"] not in seen
            seen.add(route["operationId"])
            for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
                assert name in {p["name"] for p in route["parameters"]}, (path, method)
            if not path.endswith("/ping"):  # its body is empty
                ok = next(iter(route["responses"]["200"]["content"].values()))
                assert ok["example"] is not None and ok["schema"]
            if method == "post":
                json_body = route["requestBody"]["content"].get("application/json", {"examples": True})
                assert json_body["examples"]
    for reference in set(_references(document)):
        assert reference.removeprefix("#/components/schemas/") in schemas


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [r for v in value.values() for r in _references(v)]
    return [r for v in value for r in _references(v)] if isinstance(value, list) else []


# --- predict ----------------------------------------------------------------------------------------------------


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


def test_a_damaged_model_is_a_503_and_nobody_is_told_where_it_lies(trained: Path) -> None:

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


# --- labels -----------------------------------------------------------------------------------------------------


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
        told = client.post("/labels", json={"labels": labels, "replace": True}, headers=keyed)
        assert [r["status"] for r in told.json()["results"]] == ["waiting", "replaced", "waiting"]
    assert told.headers["Idempotency-Replayed"] == "true"
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


# --- generate ---------------------------------------------------------------------------------------------------


def test_generate_makes_the_project_default_once_with_the_original_policy(empty_client: httpx.Client) -> None:
    first = empty_client.post("/generate", json={"rows": 50}, headers=ADMIN)
    assert first.status_code == 200
    assert first.json()["rows"] == 50
    second = empty_client.post("/generate", content=b"", headers=ADMIN).json()
    assert second["rows"] == 1000
    assert second["batch"] != first.json()["batch"]
    from core.storage.workspace import open_workspace

    ws = open_workspace()
    (project,) = projects.list_projects(ws)
    assert (project.slug, project.policy.name, project.rows) == ("default", "original", 1050)
    assert project.schema is not None
    assert project.schema.names == ("feature1", "feature2")
    ws.database.dispose()


def test_a_refused_first_generate_leaves_no_project(empty_client: httpx.Client) -> None:
    assert empty_client.post("/generate", json={"rows": 0}, headers=ADMIN).status_code == 422
    assert empty_client.post("/generate", json={"rows": 10, "noise": 7}, headers=ADMIN).status_code == 422
    assert empty_client.post("/predict", json=ROW, headers=ADMIN).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rows": "many"}, "rows"),
        ({"rows": 1_000_001}, "rows"),
        ({"rows": True}, "rows"),
        ({"rows": 1.5}, "rows"),
        ({"noise": "x"}, "noise"),
        ({"balance": 2}, "balance"),
        ({"drift": [1]}, "drift"),
        ({"seeds": 1}, "seeds"),
        ([], "body"),
        ("x", "body"),
    ],
)
def test_generate_says_which_field_is_wrong(shared: httpx.Client, body: Any, field: str) -> None:
    answer = shared.post("/generate", json=body, headers=ADMIN)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_generated_rows_do_not_enter_a_project_of_other_origin(client: httpx.Client, state: Workspace) -> None:
    projects.create_project(state, "Own", Origin(source="api"), by="test", now=datetime.now(UTC))
    answer = client.post("/projects/own/generate", headers=ADMIN)
    assert answer.status_code == 409
    assert client.post("/projects/nowhere/generate", headers=ADMIN).status_code == 404


# --- batches ----------------------------------------------------------------------------------------------------

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


# --- retrain ----------------------------------------------------------------------------------------------------


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


# --- the log ----------------------------------------------------------------------------------------------------


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


def test_metrics_name_projects_versions_and_routes(shared: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.post("/predict", json=ROW, headers=ADMIN)
    shared.get("/nowhere/at/all")
    answer = shared.get("/metrics", headers=ADMIN)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert 'continual_model_version{project="default"} 1.0' in lines
    assert any(line.startswith('continual_predictions_total{project="default",version="1"} ') for line in lines)
    assert any('route="unmatched"' in line and 'status="404"' in line for line in lines)
    assert any(
        line.startswith("continual_http_request_duration_seconds_bucket{") and 'route="/predict"' in line
        for line in lines
    )
    assert "nowhere" not in answer.text and "NaN" not in answer.text
    assert shared.get("/metrics").status_code == 401


def test_metrics_may_be_open(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("CONTINUAL_OPEN_METRICS", "true")
    get_settings.cache_clear()
    with serving() as client:
        assert client.get("/metrics").status_code == 200


# --- starting ---------------------------------------------------------------------------------------------------


def test_the_api_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys, api; print([m for m in ('pandas', 'sklearn', 'mlflow', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_empty_state_folder_is_migrated_and_tokens_work_without_an_api_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.storage.workspace import open_workspace

    get_settings.cache_clear()
    with serving() as client:
        assert client.get("/health").json()["status"] == "ok"
        assert client.post("/generate", headers=ADMIN).status_code == 401
        ws = open_workspace()
        assert client.post("/generate", json={"rows": 20}, headers=token(ws, "ingest")).status_code == 200
        assert tokens.list_tokens(ws)[0].last_used_at is not None
        ws.database.dispose()
    assert KEY not in (tmp_path / "home" / "continual.db").read_bytes().decode("latin-1")
