"""Who may do what: token, scope, route and project; whoever may not learns nothing of what exists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from api_helpers import ADMIN, ROW, is_problem, token

from core.services.access import tokens
from core.services.access.tokens import TokenRights
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace

CLOSED = [
    ("POST", "/predict"),
    ("POST", "/labels"),
    ("POST", "/generate"),
    ("POST", "/retrain"),
    ("POST", "/batches"),
    ("GET", "/predictions"),
    ("GET", "/metrics"),
    ("GET", "/jobs/x"),
    ("GET", "/jobs/x/result"),
    ("POST", "/explain"),
    ("POST", "/invocations"),
    ("GET", "/ping"),
    ("GET", "/version"),
    ("GET", "/v2"),
    ("GET", "/v2/models/default"),
    ("GET", "/v2/models/default/versions/1/ready"),
    ("POST", "/v2/models/default/infer"),
    ("POST", "/batches?mode=score"),
]
BAD_HEADERS = [
    {},
    {"Authorization": "Bearer wrong-token-wrong-token"},
    {"Authorization": "Bearer"},
    {"Authorization": "Basic YTpi"},
    {"Authorization": "cml_x"},
    {"Authorization": "Bearer \xff\xfe"},
    {"Authorization": "Bearer " + "x" * 5000},
]


@pytest.mark.parametrize(("method", "path"), [*CLOSED, *((m, "/projects/default" + p) for m, p in CLOSED)])
def test_closed_routes_ask_for_a_token(shared: httpx.Client, method: str, path: str) -> None:
    for headers in BAD_HEADERS:
        encoded = {k: v.encode("latin-1") for k, v in headers.items()}
        answer = shared.request(method, path, headers=encoded)
        is_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_scopes_open_their_routes_only(client: httpx.Client, state: Workspace) -> None:
    wanted = {
        ("POST", "/predict"): "predict",
        ("POST", "/labels"): "ingest",
        ("POST", "/generate"): "ingest",
        ("POST", "/batches"): "ingest",
        ("POST", "/retrain"): "admin",
        ("GET", "/predictions"): "read",
        ("GET", "/metrics"): "read",
        ("POST", "/batches?mode=score"): "predict",
        ("POST", "/explain"): "predict",
        ("POST", "/invocations"): "predict",
        ("POST", "/v2/models/default/infer"): "predict",
        ("GET", "/v2/models/default"): "predict",
        ("GET", "/ping"): "predict",
        ("GET", "/version"): "predict",
    }
    for scope in tokens.SCOPES:
        headers = {**token(state, scope), "Content-Type": "application/json"}
        for (method, path), needed in wanted.items():
            answer = client.request(method, path, headers=headers, content=b"[" if method == "POST" else None)
            if scope in (needed, "admin"):
                assert answer.status_code in (200, 400, 415), (scope, path, answer.text)
            else:
                assert needed in is_problem(answer, 403)["detail"]


def test_expired_and_revoked_tokens_are_401(client: httpx.Client, state: Workspace) -> None:
    now = datetime.now(UTC)
    _, old = tokens.create_token(
        state,
        "old",
        TokenRights(scopes=["read"], expires_at=now - timedelta(days=1)),
        by="test",
        now=now - timedelta(days=2),
    )
    for method, path in CLOSED:
        detail = is_problem(client.request(method, path, headers={"Authorization": f"Bearer {old}"}), 401)["detail"]
        assert "expired" in detail
    info, secret = tokens.create_token(state, "new", TokenRights(scopes=["read"]), by="test", now=now)
    assert info.id is not None
    tokens.revoke_token(state, info.id, by="test", now=now)
    is_problem(client.get("/predictions", headers={"Authorization": f"bearer {secret}"}), 401)


def test_a_token_of_one_project_neither_reaches_nor_names_another(client: httpx.Client, state: Workspace) -> None:
    other = projects.create_project(state, "Hidden thing", Origin(source="api"), by="test", now=datetime.now(UTC))
    bound = token(state, "admin", project_id=projects.get_project(state, "default").id)
    assert client.post("/predict", json=ROW, headers=bound).status_code == 200
    routes = ("predict", "explain", "invocations", "labels", "generate", "retrain", "batches")
    for path in [f"/projects/{slug}/{route}" for slug in ("hidden-thing", "nowhere") for route in routes]:
        answer = client.post(path, json=ROW, headers=bound)
        assert "hidden-thing" not in is_problem(answer, 403)["detail"]
    assert "hidden-thing" not in client.get("/metrics", headers=bound).text
    assert "hidden-thing" in client.get("/metrics", headers=ADMIN).text
    assert other.id != projects.get_project(state, "default").id


def test_without_default_several_projects_have_no_root(empty_client: httpx.Client) -> None:
    from core.storage.workspace import open_workspace

    ws = open_workspace()
    now = datetime.now(UTC)
    projects.create_project(ws, "One", Origin(source="generator"), by="test", now=now)
    assert empty_client.post("/predict", json=ROW, headers=ADMIN).status_code == 409  # the only one is the root
    projects.create_project(ws, "Two", Origin(source="generator"), by="test", now=now)
    bound = token(ws, "admin", project_id=projects.get_project(ws, "one").id)
    for path in ("/projects/three/model-status", "/model-status"):
        detail = is_problem(empty_client.get(path, headers=ADMIN), 404)["detail"]
        assert "one, two" in detail
        for headers in ({}, {"Authorization": "Bearer cml_wrong"}, {"Authorization": "Basic YTpi"}, bound):
            detail = is_problem(empty_client.get(path, headers=headers), 404)["detail"]
            assert "one" not in detail.replace("none", "") and "two" not in detail, headers
    assert "one, two" in is_problem(empty_client.post("/predict", json=ROW, headers=ADMIN), 404)["detail"]
    assert empty_client.post("/generate", headers=ADMIN).status_code == 404
    assert empty_client.get("/health").json()["model_version"] is None
    projects.create_project(ws, "default", Origin(source="generator"), by="test", now=now)
    assert empty_client.post("/generate", json={"rows": 10}, headers=ADMIN).json()["project"] == "default"
    ws.database.dispose()


def test_a_token_whose_project_is_gone_reads_no_metrics(
    client: httpx.Client, state: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = token(state, "read", project_id=projects.get_project(state, "default").id)
    assert client.get("/metrics", headers=bound).status_code == 200
    monkeypatch.setattr("core.services.incidents.status.project_refs", lambda ws: [])
    assert "no longer exists" in is_problem(client.get("/metrics", headers=bound), 403)["detail"]
