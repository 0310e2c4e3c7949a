"""POST /batches?mode=score, blocks of the prediction log, limits of tokens, guards and explanations, through the API."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from api_helpers import ADMIN, ROW, arrow, npy, serving, token
from patience import Patience
from sqlalchemy import select

from core.http import batches
from core.services.access import tokens
from core.services.access.tokens import TokenRights
from core.services.ingestion import sealing, stored_batches
from core.services.projects import projects
from core.services.serving.guards import Guards, guards_to_document
from core.storage.tables import Prediction, Project
from core.storage.workspace import Workspace

RNG = np.random.default_rng(3)
FRAME = pd.DataFrame(RNG.normal(size=(60, 2)), columns=["feature1", "feature2"])
KINDS = {
    "text/csv": lambda frame: frame.to_csv(index=False).encode(),
    "application/vnd.apache.parquet": lambda frame: frame.to_parquet(index=False),
    "application/vnd.apache.arrow.stream": arrow,
}


def score(client: httpx.Client, content: bytes, kind: str = "text/csv") -> httpx.Response:
    """Ask for predictions of a table."""
    return client.post("/batches?mode=score", content=content, headers={**ADMIN, "Content-Type": kind})


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_scored_as_predict_scores_its_rows(shared: httpx.Client, kind: str) -> None:
    answer = score(shared, KINDS[kind](FRAME), kind).json()
    rows = shared.post("/predict", json={"rows": FRAME.to_dict(orient="records")}, headers=ADMIN).json()
    for key in ("prediction", "probabilities", "model_version"):
        assert [p[key] for p in answer["predictions"]] == [p[key] for p in rows["predictions"]]
    assert len({p["prediction_id"] for p in answer["predictions"]}) == 60


def test_a_large_table_is_scored_by_a_worker_and_its_rows_are_in_the_log_once(
    client: httpx.Client, state: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "AT_ONCE_BYTES", 100)
    frame = FRAME.assign(_id=[f"s{i}" for i in range(60)], target=1)
    asked = score(client, frame.to_csv(index=False).encode())
    assert asked.status_code == 202
    place = asked.headers["location"]
    patience = Patience(120)
    while (answer := client.get(f"{place}/result", headers=ADMIN)).status_code == 202:
        patience.check("the worker to score the table")
        time.sleep(0.05)
    assert client.get(place, headers=ADMIN).json()["kind"] == "score"
    predictions = answer.json()["predictions"]
    assert [p["row_id"] for p in predictions] == [f"s{i}" for i in range(60)]
    with state.database.read() as session:
        assert session.scalars(select(Prediction.prediction_id).order_by(Prediction.id)).all() == [
            p["prediction_id"] for p in predictions
        ]
    assert client.get(f"{place}/result", headers=token(state, "predict")).status_code == 200


def test_scoring_needs_the_scope_predict_and_storing_the_scope_ingest(client: httpx.Client, state: Workspace) -> None:
    body = FRAME.to_csv(index=False)
    for mode, scope, other in (("score", "predict", "ingest"), ("ingest", "ingest", "predict")):
        kind = {"Content-Type": "text/csv"}
        content = body if mode == "score" else FRAME.assign(target=1).to_csv(index=False)
        path = f"/batches?mode={mode}"
        assert client.post(path, content=content, headers={**token(state, other), **kind}).status_code == 403
        assert client.post(path, content=content, headers={**token(state, scope), **kind}).status_code == 200


def test_a_block_is_read_page_by_page_labelled_and_sealed_as_single_rows_are(
    client: httpx.Client, state: Workspace
) -> None:
    body = npy(FRAME.to_numpy())
    client.post("/predict", json=ROW, headers=ADMIN)
    answer = client.post("/predict", content=body, headers={**ADMIN, "Content-Type": "application/x-npy"}).json()
    client.post("/predict", json=ROW, headers=ADMIN)
    with state.database.read() as session:
        assert session.scalars(select(Prediction.rows).order_by(Prediction.id)).all() == [1, 60, 1]
    ids = [p["prediction_id"] for p in answer["predictions"]]

    seen: list[dict[str, Any]] = []
    cursor, pages = None, 0
    while pages == 0 or cursor:
        page = client.get("/predictions", params={"limit": 7, **({"cursor": cursor} if cursor else {})}, headers=ADMIN)
        seen += page.json()["predictions"]
        cursor, pages = page.json()["next_cursor"], pages + 1
        if pages == 3:  # sealed meanwhile
            project = projects.get_project(state, "default")
            batch = sealing.seal_log(state, project, now=datetime.now(UTC), force=True)
            assert batch is not None and batch.rows == 62
    assert pages == 9
    assert [p["prediction_id"] for p in seen][1:-1] == ids
    assert [p["prediction"] for p in seen][1:-1] == [p["prediction"] for p in answer["predictions"]]

    labels = [
        {"prediction_id": ids[0], "label": 1},
        {"row_id": ids[59], "label": 0},
        {"row_id": f"{ids[0]}9", "label": 0},
    ]
    document = client.post("/labels", json={"labels": labels}, headers=ADMIN).json()["results"]
    assert [r["status"] for r in document] == ["stored", "stored", "waiting"]
    rows = stored_batches.read_rows(state, projects.get_project(state, "default"), n=62)
    np.testing.assert_array_equal(rows[["feature1", "feature2"]].to_numpy()[1:-1], FRAME.to_numpy())


def test_rows_of_a_block_are_labelled_before_it_is_sealed(client: httpx.Client, state: Workspace) -> None:
    kind = {"Content-Type": "application/x-npy"}
    answer = client.post("/predict", content=npy(FRAME.to_numpy()), headers={**ADMIN, **kind}).json()
    ids = [p["row_id"] for p in answer["predictions"]]
    labels = [{"row_id": ids[7], "label": 1}, {"row_id": ids[0].rpartition(".")[0] + ".60", "label": 1}]
    document = client.post("/labels", json={"labels": labels}, headers=ADMIN).json()["results"]
    assert [r["status"] for r in document] == ["stored", "waiting"]
    project = projects.get_project(state, "default")
    due = stored_batches.labels_due(state, project.id)
    assert sealing.seal_log(state, project, now=datetime.now(UTC), force=True) is not None
    assert stored_batches.labels_due(state, project.id) == due - 1


def test_more_than_the_limit_of_a_token_is_a_429_that_says_when(client: httpx.Client, state: Workspace) -> None:
    now = datetime.now(UTC)
    _, secret = tokens.create_token(
        state, "few", TokenRights(scopes=["predict", "read"], rate_limit=3), by="test", now=now
    )
    headers = {"Authorization": f"Bearer {secret}"}
    assert [client.post("/predict", json=ROW, headers=headers).status_code for _ in range(3)] == [200] * 3
    for answer in (
        client.post("/predict", json=ROW, headers=headers),
        client.get("/predictions", headers=headers),
        client.get("/v2", headers=headers),
    ):
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert client.post("/predict", json=ROW, headers=ADMIN).status_code == 200


@pytest.mark.parametrize(
    ("action", "answer"), [("warn", "as the model says"), ("abstain", None), ("override", 1), ("off", "unguarded")]
)
def test_what_a_guard_does_is_reported_counted_and_logged(
    trained: Path, state_of: Any, action: Any, answer: Any
) -> None:
    ws = state_of(trained)
    with ws.database.write() as session:
        row = session.scalars(select(Project)).one()
        row.guards = guards_to_document(Guards(out_of_range=action, override=1 if action == "override" else None))
    far = {"feature1": -900.0, "feature2": 0.0}
    with serving() as client:
        usual = client.post("/predict", json=ROW, headers=ADMIN).json()
        found = client.post("/predict", json=far, headers=ADMIN).json()
        many = client.post("/predict", json={"rows": [far, ROW]}, headers=ADMIN).json()["predictions"]
        metrics = client.get("/metrics", headers=ADMIN).text
        log = client.get("/predictions", headers=ADMIN).json()["predictions"]
    assert "guards" not in usual and "guards" not in many[1]
    assert many[0] == {**found, "prediction_id": many[0]["prediction_id"], "row_id": many[0]["row_id"]}
    assert [p["prediction"] for p in log] == [
        usual["prediction"],
        found["prediction"],
        *(p["prediction"] for p in many),
    ]
    if action == "off":
        assert "guards" not in found and "guard_hits" not in metrics
        return
    hit = found["guards"][0]
    assert (hit["guard"], hit["action"], hit["feature"], hit["seen"]) == ("out_of_range", action, "feature1", -900.0)
    assert f'continual_guard_hits_total{{action="{action}",guard="out_of_range",project="default"}} 2.0' in metrics
    if action == "warn":
        assert found["probability"] is not None
    else:
        assert found["prediction"] == answer and found["probability"] is None and found["probabilities"] is None


@pytest.fixture
def state_of() -> Any:
    """Opens a state folder that the API will open too."""
    from core.settings import Settings
    from core.storage.workspace import open_workspace

    opened: list[Workspace] = []

    def _open(home: Path) -> Workspace:
        opened.append(open_workspace(Settings(CONTINUAL_HOME=home)))
        return opened[-1]

    yield _open
    for ws in opened:
        ws.database.dispose()


def test_an_explanation_adds_up_to_the_answer(shared: httpx.Client) -> None:
    document = shared.post("/explain", json=ROW, headers=ADMIN).json()
    assert [c["feature"] for c in document["contributions"]] == ["feature1", "feature2"]
    assert [c["value"] for c in document["contributions"]] == [0.1, 2.0]
    assert document["base"] + sum(c["contribution"] for c in document["contributions"]) == pytest.approx(
        document["answer"], abs=1e-9
    )
    answered = shared.post("/predict", json=ROW, headers=ADMIN).json()
    assert (document["of"], document["unit"], document["method"]) == (answered["prediction"], "log-odds", "linear")
    assert 1 / (1 + np.exp(-document["answer"])) == pytest.approx(answered["probability"], abs=1e-9)


def test_a_bad_row_is_not_explained(shared: httpx.Client, client: httpx.Client, state: Workspace) -> None:
    answer = shared.post("/explain", json={"feature1": 1, "feature_2": 1}, headers=ADMIN)
    assert answer.status_code == 422
    assert {"field": "feature_2", "seen": "an unknown feature", "expected": "'feature2'"} in answer.json()["errors"]
    assert shared.post("/explain", json=[ROW], headers=ADMIN).status_code == 422
    assert client.post("/explain", json=ROW, headers=token(state, "ingest")).status_code == 403
