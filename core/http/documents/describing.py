"""From what is told about each route to what FastAPI and /openapi.json take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from core.http.documents import batches, health, inference, jobs, labels, mlflow_forms, predictions
from core.http.documents.common import BINARY, ERRORS, HEADERS, JSON, REF, SLUG, Document, Problem, reference
from core.http.documents.inference import InferenceError
from core.http.documents.jobs import CycleAnswer
from core.http.documents.predictions import Prediction, Predictions

NOUNS = (health, predictions, labels, batches, jobs, mlflow_forms, inference)
DOCUMENTS: dict[str, Document] = {name: document for noun in NOUNS for name, document in noun.DOCUMENTS.items()}
SCHEMAS: tuple[type[BaseModel], ...] = (Problem, *(schema for noun in NOUNS for schema in noun.SCHEMAS))


def describe(routes: Sequence[Any]) -> None:
    """Write what is told about each route into it, where FastAPI looks for it."""
    for route in routes:
        if getattr(route, "name", None) in DOCUMENTS:
            for key, value in _told(route.name, by_project=route.path.startswith("/projects/")).items():
                setattr(route, key, value)


def _told(name: str, *, by_project: bool) -> dict[str, Any]:
    """FastAPI's attributes of a route that document it."""
    document = DOCUMENTS[name]
    scope = "Open." if document.scope is None else f"Scope: {document.scope}."
    form = {"application/problem+json": {"schema": reference(Problem)}}
    if name in inference.DOCUMENTS:
        form = {JSON: {"schema": reference(InferenceError)}}
    errors = (*document.errors, *((429,) if document.scope else ()), *((408,) if document.body else ()))
    responses: dict[int | str, dict[str, Any]] = {
        code: {"description": ERRORS[code], "content": form, "headers": HEADERS.get(code, {})}
        for code in sorted(errors)
    }
    for code, (schema, example) in document.answers.items():
        media = schema if isinstance(schema, str) else JSON
        shape: dict[str, Any] = {"type": "string"} if isinstance(schema, str) else dict(reference(schema))
        if name == "predict":
            shape = {"anyOf": [reference(Prediction), reference(Predictions)]}
        elif name in ("batches", "job_result") and code == 200:
            shape = {"anyOf": [shape, reference(CycleAnswer), reference(Predictions)]}
        words = {200: "Done", 202: "Accepted: it goes on"}.get(code, ERRORS.get(code, ""))
        responses[code] = {"description": words}
        if media:
            content = {media: {"schema": shape, "example": example}} | {m: {"schema": BINARY} for m in document.also}
            responses[code]["content"] = content
    extra: dict[str, Any] = {"parameters": [*([SLUG] if by_project else []), *document.parameters]}
    if document.scope is not None:
        extra["security"] = [{"token": []}]
    if document.body:
        extra["requestBody"] = {
            "required": not document.optional_body,
            "content": {
                media: {"schema": schema} if examples is None else {"schema": schema, "examples": examples}
                for media, (schema, examples) in document.body.items()
            },
        }
    return {
        "summary": document.summary,
        "description": f"{document.text} {scope}",
        "tags": ["any project" if by_project else "root project"],
        "operation_id": f"{name}_of_project" if by_project else name,
        "responses": responses,
        "openapi_extra": extra,
    }


def components() -> dict[str, Any]:
    """Schemas and the bearer scheme."""
    _, definitions = models_json_schema([(model, "validation") for model in SCHEMAS], ref_template=REF)
    return {
        "schemas": definitions["$defs"],
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`cml_...` or the API_KEY."}},
    }
