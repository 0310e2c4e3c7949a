"""/docs and /openapi.json."""

from __future__ import annotations

from typing import Any

import httpx


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
