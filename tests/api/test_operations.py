"""The OpenAPI document names every route as before: clients are made from its operation ids and statuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from api import create_app

WRITTEN = Path(__file__).with_name("openapi.txt")

# Method, path, operation id, statuses. Each stands below /projects/{slug} too, but for the probes of the process.
OPERATIONS = """
GET /health health 200 503
GET /health/live live 200
GET /health/ready ready 200 503
GET /model-status model_status 200 404 503
POST /predict predict 200 400 401 403 404 408 409 413 415 422 429 503
POST /explain explain 200 400 401 403 404 408 409 413 415 422 429 503
POST /labels labels 200 400 401 403 404 408 409 413 415 422 429 503
POST /generate generate 200 400 401 403 404 408 409 413 415 422 429 503
POST /retrain retrain 200 202 400 401 403 404 408 413 415 422 429 503
POST /batches batches 200 202 401 403 404 408 409 413 415 422 429 503
GET /jobs/{job_id} job 200 401 403 404 429 503
GET /jobs/{job_id}/result job_result 200 202 401 403 404 409 429 503
GET /predictions predictions 200 401 403 404 422 429 503
GET /metrics metrics 200 401 403 404 429 503
POST /invocations invocations 200 400 401 403 404 408 409 413 415 422 429 503
GET /ping ping 200 401 403 404 409 429 503
GET /version version 200 401 403 404 429 503
GET /v2 server_metadata 200 401 403 429 503
GET /v2/health/live server_live 200
GET /v2/health/ready server_ready 200 503
GET /v2/models/{model} model_metadata 200 401 403 404 409 429 503
GET /v2/models/{model}/versions/{version} model_version_metadata 200 401 403 404 409 429 503
GET /v2/models/{model}/ready model_ready 200 401 403 404 409 429 503
GET /v2/models/{model}/versions/{version}/ready model_version_ready 200 401 403 404 409 429 503
POST /v2/models/{model}/infer infer 200 400 401 403 404 408 409 413 415 422 429 503
POST /v2/models/{model}/versions/{version}/infer infer_version 200 400 401 403 404 408 409 413 415 422 429 503
""".strip().splitlines()


def test_paths_operation_ids_and_statuses_are_those_that_clients_know() -> None:
    expected = set(OPERATIONS)
    for operation in OPERATIONS:
        method, path, name, *statuses = operation.split(" ")
        if not path.startswith("/health/"):
            expected.add(" ".join([method, f"/projects/{{slug}}{path}", f"{name}_of_project", *statuses]))
    reported = {
        " ".join([method.upper(), path, route["operationId"], *sorted(route["responses"])])
        for path, methods in create_app().openapi()["paths"].items()
        for method, route in methods.items()
    }
    assert reported == expected


def _lines(document: dict[str, Any]) -> list[str]:
    """A line for each route of the root, which those of a project differ from by their address alone, and for each schema."""
    reported = {
        f"{method.upper()} {path}": route
        for path, methods in document["paths"].items()
        if not path.startswith("/projects/")
        for method, route in methods.items()
    }
    reported |= document["components"]["schemas"]
    return [f"{name} {json.dumps(reported[name], sort_keys=True)}" for name in sorted(reported)]


def test_what_is_reported_of_routes_and_schemas_is_as_it_was_written_down() -> None:
    """Where a change is meant: `PYTHONPATH=. python tests/api/test_operations.py` writes it down, and the commit shows the lines."""
    assert _lines(create_app().openapi()) == WRITTEN.read_text("utf-8").splitlines()


def test_a_route_of_a_project_is_reported_as_that_of_the_root() -> None:
    paths = create_app().openapi()["paths"]
    for path, methods in paths.items():
        for method, route in methods.items():
            below = paths.get(f"/projects/{{slug}}{path}", {}).get(method)
            if below is not None:
                more = [
                    parameter for parameter in below.pop("parameters") if parameter not in route.get("parameters", [])
                ]
                assert [parameter["name"] for parameter in more] == ["slug"]
                assert (below.pop("tags"), below.pop("operationId")) == (
                    ["any project"],
                    f"{route['operationId']}_of_project",
                )
                assert below == {k: v for k, v in route.items() if k not in ("parameters", "tags", "operationId")}


if __name__ == "__main__":
    WRITTEN.write_text("\n".join(_lines(create_app().openapi())) + "\n", "utf-8")
