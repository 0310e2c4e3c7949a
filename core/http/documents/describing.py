"""From what is told about each route to what FastAPI and /openapi.json take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from fastapi.dependencies.models import Dependant
from pydantic import TypeAdapter

from core.http.dependencies import Scoped
from core.http.documents import batches, inference, mlflow_forms, predictions
from core.http.documents.common import (
    BINARY,
    ERRORS,
    HEADERS,
    JSON,
    REF,
    REPEAT,
    SLUG,
    Document,
    Problem,
    reference,
)
from core.http.documents.inference import InferenceError
from core.http.json_body import JsonBody
from core.http.repeats import Repeat

NOUNS = (predictions, batches, mlflow_forms, inference)
DOCUMENTS: dict[str, Document] = {name: document for noun in NOUNS for name, document in noun.DOCUMENTS.items()}
OF_TOKENS = (401, 403, 404, 503)  # errors of every route that needs a token,
OF_BODIES = (400, 413, 415, 422)  # and of those that read JSON
OF_PARAMETERS = (422,)
VALIDATION: Literal["validation"] = "validation"


def describe(routes: Sequence[Any]) -> None:
    """Write what is told about each route into it, where FastAPI looks for it."""
    for route in routes:
        document = _document_of(route)
        if document is not None:
            for key, value in _told(route.name, document, by_project=route.path.startswith("/projects/")).items():
                setattr(route, key, value)


def _document_of(route: Any) -> Document | None:
    """The words beside the handler and what its dependencies tell, or the document of the route's name."""
    written: Document | None = getattr(getattr(route, "endpoint", None), "document", None)
    if written is None:
        return DOCUMENTS.get(getattr(route, "name", ""))
    document = written
    for dependency in _dependencies(route.dependant):
        if isinstance(dependency, Scoped):
            document = replace(document, scope=dependency.scope or "any", errors=(*document.errors, *OF_TOKENS))
        elif isinstance(dependency, JsonBody):
            examples = {name: {"value": example} for name, example in dependency.examples.items()}
            body = {JSON: (reference(dependency.model), examples)}
            errors = (*document.errors, *OF_BODIES)
            document = replace(document, body=body, optional_body=dependency.optional, errors=errors)
        elif dependency is Repeat:
            document = replace(document, parameters=[*document.parameters, REPEAT])
    if route.dependant.query_params:
        document = replace(document, errors=(*document.errors, *OF_PARAMETERS))
    return document


def _dependencies(dependant: Dependant) -> Iterator[Any]:
    for below in dependant.dependencies:
        yield below.call
        yield from _dependencies(below)


def _told(name: str, document: Document, *, by_project: bool) -> dict[str, Any]:
    """FastAPI's attributes of a route that document it."""
    scope = "Open." if document.scope is None else f"Scope: {document.scope}."
    form = {"application/problem+json": {"schema": reference(Problem)}}
    if name in inference.DOCUMENTS:
        form = {JSON: {"schema": reference(InferenceError)}}
    errors = (*document.errors, *((429,) if document.scope else ()), *((408,) if document.body else ()))
    responses: dict[int | str, dict[str, Any]] = {
        code: {"description": ERRORS[code], "content": form, "headers": HEADERS.get(code, {})}
        for code in sorted(set(errors))
    }
    for code, (schema, example) in document.answers.items():
        media = schema if isinstance(schema, str) else JSON
        shape = _shape(schema)
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


def without_repetition(document: dict[str, Any]) -> dict[str, Any]:
    """The document, its parameters' schemas without the name and description that stand beside them."""
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                for key in ("title", "description"):
                    parameter["schema"].pop(key, None)
    return document


def _shape(schema: Any) -> dict[str, Any]:
    """What stands for an answer's schema: a media type's text, one model, or one of several."""
    if isinstance(schema, tuple):
        return {"anyOf": [reference(one) for one in schema]}
    return {"type": "string"} if isinstance(schema, str) else dict(reference(schema))


def components(routes: Sequence[Any]) -> dict[str, Any]:
    """Schemas and the bearer scheme."""
    schemas: list[Any] = [Problem, *(schema for noun in NOUNS for schema in noun.SCHEMAS)]
    for route in routes:
        written = getattr(getattr(route, "endpoint", None), "document", None)
        if written is not None:
            for schema, _ in written.answers.values():
                schemas += schema if isinstance(schema, tuple) else [] if isinstance(schema, str) else [schema]
            schemas += [below.model for below in _dependencies(route.dependant) if isinstance(below, JsonBody)]
    adapters = [(schema.__name__, VALIDATION, TypeAdapter(schema)) for schema in dict.fromkeys(schemas)]
    _, definitions = TypeAdapter.json_schemas(adapters, ref_template=REF)
    return {
        "schemas": definitions["$defs"],
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`cml_...` or the API_KEY."}},
    }
