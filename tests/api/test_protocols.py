"""Clients of other servers at our routes: MLflow's scoring client and the Open Inference Protocol's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from api_helpers import ADMIN, KEY, ROW, serving, token
from sqlalchemy import select
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from core.http import mlflow_routes
from core.services.ingestion import sealing
from core.services.projects.projects import get_project
from core.settings import get_settings
from core.storage.tables import Prediction
from core.storage.workspace import Workspace, open_workspace

FRAME = pd.DataFrame({"feature1": [0.1, -1.0, 3.0], "feature2": [2.0, 0.5, -3.0]})


def logged(ws: Workspace) -> list[Prediction]:
    """The prediction log."""
    with ws.database.read() as session:
        return list(session.scalars(select(Prediction).order_by(Prediction.id)))


def address(client: httpx.Client) -> str:
    """Host and port, as the protocol's client wants them."""
    return f"{client.base_url.host}:{client.base_url.port}"


def expected(client: httpx.Client) -> list[dict[str, Any]]:
    """What /predict says of the rows."""
    body = {"rows": FRAME.to_dict(orient="records")}
    answered: list[dict[str, Any]] = client.post("/predict", json=body, headers=ADMIN).json()["predictions"]
    return answered


# --- MLflow -----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """The API with /invocations open to this machine."""
    monkeypatch.setenv("CONTINUAL_OPEN_INVOCATIONS", "true")
    get_settings.cache_clear()
    with serving() as client:
        yield client


def test_mlflows_own_client_is_answered_without_a_token_where_that_is_allowed(opened: httpx.Client) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient(opened.base_url.host, opened.base_url.port)
    client.ping()
    answer = client.invoke(FRAME).get_predictions()
    assert answer[0].tolist() == [p["prediction"] for p in expected(opened)]
    assert client.get_version()


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": FRAME.to_dict(orient="split")},
        {"dataframe_records": FRAME.to_dict(orient="records")},
        {"instances": FRAME.to_numpy().tolist()},
        {"inputs": FRAME.to_dict(orient="list")},
    ],
    ids=["split", "records", "instances", "inputs"],
)
def test_all_four_forms_get_the_answers_of_predict(shared: httpx.Client, body: dict[str, Any]) -> None:
    answer = shared.post("/invocations", json=body, headers=ADMIN)
    assert answer.json() == {"predictions": [p["prediction"] for p in expected(shared)]}
    assert shared.post("/projects/default/invocations", json=body, headers=ADMIN).json() == answer.json()


def test_csv_is_answered_as_json_is(shared: httpx.Client) -> None:
    answer = shared.post(
        "/invocations", content=FRAME.to_csv(index=False), headers={**ADMIN, "Content-Type": "text/csv"}
    )
    assert answer.json() == {"predictions": [p["prediction"] for p in expected(shared)]}


def test_without_a_token_it_is_closed_and_says_how_it_opens(shared: httpx.Client) -> None:
    for method, path in (("POST", "/invocations"), ("GET", "/ping"), ("GET", "/version")):
        answer = shared.request(method, path)
        assert answer.status_code == 401
        assert "CONTINUAL_OPEN_INVOCATIONS" in answer.json()["detail"]
    assert shared.get("/ping", headers=ADMIN).content == b""
    assert shared.get("/version", headers=ADMIN).headers["content-type"].startswith("text/plain")


def test_open_it_takes_json_from_near_networks_only(opened: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"instances": [[0.1, 2.0]]}
    assert opened.post("/invocations", json=body).status_code == 200
    form = {"Content-Type": "text/plain"}
    assert opened.post("/invocations", content=b'{"instances": [[0.1, 2.0]]}', headers=form).status_code == 401
    assert opened.post("/invocations", json=body, headers={"Idempotency-Key": "k"}).status_code == 403
    assert opened.post("/predict", json=ROW).status_code == 401
    wrong = {"Authorization": "Bearer cml_wrong"}
    assert opened.post("/invocations", json=body, headers=wrong).status_code == 401
    monkeypatch.setattr(mlflow_routes, "_is_trusted_address", lambda request, networks: False)
    assert "from this address" in opened.post("/invocations", json=body).json()["detail"]


@pytest.mark.parametrize(
    ("host", "networks", "near"),
    [
        ("127.0.0.1", (), True),
        ("::1", (), True),
        ("::ffff:127.0.0.1", (), True),
        ("10.1.2.3", (), False),
        ("10.1.2.3", ("10.1.0.0/16",), True),
        ("10.2.2.3", ("10.1.0.0/16", "192.168.0.7"), False),
        ("testclient", ("0.0.0.0/0",), False),
    ],
)
def test_near_is_this_machine_and_the_networks_that_are_named(host: str, networks: tuple[str, ...], near: bool) -> None:
    request = mlflow_routes.Request({"type": "http", "client": (host, 1), "headers": []})
    settings = get_settings().model_copy(update={"open_from": networks})
    assert mlflow_routes._is_trusted_address(request, settings) is near


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "near"),
    [
        ("127.0.0.1", "203.0.113.7", (), False),  # a proxy of whom nobody said that it may be believed
        ("127.0.0.1", "203.0.113.7", ("127.0.0.1",), False),
        ("127.0.0.1", "127.0.0.1", ("127.0.0.1",), True),
        ("10.0.0.1", "127.0.0.1", ("127.0.0.1",), False),
    ],
)
def test_behind_a_proxy_nobody_is_trusted_address_by_its_address(
    peer: str, forwarded: str, trusted: tuple[str, ...], near: bool
) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())]
    request = mlflow_routes.Request({"type": "http", "client": (peer, 1), "headers": headers})
    settings = get_settings().model_copy(update={"trusted_proxies": trusted})
    assert mlflow_routes._is_trusted_address(request, settings) is near


def test_rows_of_nobody_are_logged_and_never_sealed(opened: httpx.Client) -> None:
    opened.post("/invocations", json={"instances": FRAME.to_numpy().tolist() * 20})
    opened.post("/invocations", json={"instances": [[0.1, 2.0]]})
    ws = open_workspace()
    assert [(p.anonymous, p.rows) for p in logged(ws)] == [(True, 60), (True, 1)]
    assert sealing.seal_log(ws, get_project(ws, "default"), now=logged(ws)[0].created_at, force=True) is None
    assert len(opened.get("/predictions", headers=ADMIN).json()["predictions"]) == 61
    ws.database.dispose()


# --- Open Inference Protocol ------------------------------------------------------------------------------------


@pytest.fixture
def triton(shared: httpx.Client) -> Iterator[InferenceServerClient]:
    """The protocol's stock client; it sends and wants binary tensors unless asked otherwise."""
    client = InferenceServerClient(address(shared))
    yield client
    client.close()


def features(*, binary: bool = True) -> list[InferInput]:
    """One input a feature."""
    made = []
    for name in FRAME.columns:
        values = FRAME[name].to_numpy()
        made.append(InferInput(name, list(values.shape), "FP64").set_data_from_numpy(values, binary_data=binary))
    return made


def test_the_stock_client_finds_server_and_model(triton: InferenceServerClient, shared: httpx.Client) -> None:
    version = str(shared.get("/health").json()["model_version"])
    assert triton.is_server_live() and triton.is_server_ready()
    assert triton.get_server_metadata(headers=dict(ADMIN))["extensions"] == ["binary_tensor_data"]
    assert triton.is_model_ready("default", headers=dict(ADMIN)) and triton.is_model_ready(
        "default", version, headers=dict(ADMIN)
    )
    metadata = triton.get_model_metadata("default", headers=dict(ADMIN))
    assert metadata["versions"] == [version]
    assert [i["name"] for i in metadata["inputs"]] == list(FRAME.columns)


@pytest.mark.parametrize("binary", [True, False])
def test_the_stock_client_gets_the_answers_of_predict(
    triton: InferenceServerClient, shared: httpx.Client, binary: bool
) -> None:
    wanted = expected(shared)
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in ("prediction", "probabilities")]
    for given, name in ((None, "r7"), (outputs, '"binary_data_size":')):
        found = triton.infer(
            "default",
            features(binary=binary),
            outputs=given,
            request_id=name,
            headers=dict(ADMIN),
            request_compression_algorithm="gzip" if binary else "deflate",
            response_compression_algorithm="gzip",
        )
        assert found.get_response()["id"] == name
        assert found.as_numpy("prediction").tolist() == [p["prediction"] for p in wanted]
        chances = [list(p["probabilities"].values()) for p in wanted]
        np.testing.assert_allclose(found.as_numpy("probabilities"), chances, rtol=0, atol=1e-15)


def test_one_matrix_stands_for_all_features(triton: InferenceServerClient, shared: httpx.Client) -> None:
    matrix = InferInput("input", [3, 2], "FP64").set_data_from_numpy(FRAME.to_numpy())
    found = triton.infer("default", [matrix], headers=dict(ADMIN))
    assert found.as_numpy("prediction").tolist() == [p["prediction"] for p in expected(shared)]


def test_its_errors_have_the_protocols_form(triton: InferenceServerClient, shared: httpx.Client) -> None:
    with pytest.raises(InferenceServerException, match="There is no project 'other'"):
        triton.infer("other", features(), headers=dict(ADMIN))
    with pytest.raises(InferenceServerException, match="does not serve"):
        triton.infer("default", features(), model_version="99", headers=dict(ADMIN))
    with pytest.raises(InferenceServerException, match="feature2"):
        triton.infer("default", features()[:1], headers=dict(ADMIN))
    for method, path, code in (
        ("GET", "/v2", 401),
        ("GET", "/v2/nothing", 404),
        ("DELETE", "/v2/models/default/infer", 405),
        ("POST", "/v2/models/default/infer", 401),
        ("GET", "/projects/default/v2/models/other", 401),
    ):
        answer = shared.request(method, path)
        assert answer.status_code == code and list(answer.json()) == ["error"], path
    assert shared.get("/projects/default/v2/models/other", headers=ADMIN).status_code == 404
    assert shared.get("/projects/default/v2/models/default", headers=ADMIN).status_code == 200
    assert shared.post("/v2/models/default/infer", content=b"{", headers=ADMIN).status_code == 400
    odd = {**ADMIN, "Inference-Header-Content-Length": "ten"}
    assert shared.post("/v2/models/default/infer", content=b"{}", headers=odd).status_code == 422


def test_a_token_of_another_scope_or_project_is_refused(client: httpx.Client, state: Workspace) -> None:
    ingest = token(state, "ingest")
    for path in ("/v2", "/v2/models/default"):
        assert client.get(path, headers=ingest).status_code == 403
    assert client.post("/invocations", json={"instances": [[0.1, 2.0]]}, headers=ingest).status_code == 403
    assert KEY not in client.get("/v2", headers=ingest).text


def test_what_is_inferred_is_in_the_log_first(client: httpx.Client, state: Workspace) -> None:
    with InferenceServerClient(address(client)) as triton:
        first, again = (
            triton.infer("default", features(), headers={**ADMIN, "Idempotency-Key": "a"}) for _ in range(2)
        )
    assert len(logged(state)) == 3
    np.testing.assert_array_equal(again.as_numpy("probabilities"), first.as_numpy("probabilities"))


@pytest.mark.parametrize("slug", ["%0A", "a%0Db", "%09"])
def test_an_address_with_line_breaks_gets_the_protocols_own_error(shared: httpx.Client, slug: str) -> None:
    answer = shared.post(f"/projects/{slug}/v2/models/m/infer", content=b"\x01")
    assert answer.status_code == 401
    assert list(answer.json()) == ["error"]
