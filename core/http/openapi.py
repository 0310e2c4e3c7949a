"""/openapi.json: from the documentation beside each handler to the attributes that FastAPI reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from core.http.dependencies import Scoped
from core.http.documentation import (
    BINARY,
    ERRORS,
    HEADERS,
    IDEMPOTENCY_KEY,
    JSON,
    REF,
    SLUG,
    VERSION,
    Document,
    Schema,
    reference,
)
from core.http.idempotency import IdempotencyKey
from core.http.inference_routes import InferenceError
from core.http.json_body import JsonBody
from core.http.problems import Problem, is_inference
from core.records.documents import JsonObject

TOKEN_ERRORS = (401, 403, 404, 503)  # of every route that needs a token,
BODY_ERRORS = (400, 413, 415, 422)  # of those that read JSON,
PARAMETER_ERRORS = (422,)  # and of those with query parameters
VALIDATION: Literal["validation"] = "validation"


def describe(routes: Sequence[Any]) -> None:
    """Set FastAPI's documentation attributes on each route that has a document."""
    for route in routes:
        document = _document_of(route)
        if document is not None:
            for key, value in _attributes(route, document).items():
                setattr(route, key, value)


def _document_of(route: Any) -> Document | None:
    """The handler's document, completed from its dependencies; None for a route that is not documented."""
    document: Document | None = getattr(getattr(route, "endpoint", None), "document", None)
    if document is None:
        return None
    for dependency in _dependencies(route.dependant):
        if isinstance(dependency, Scoped):
            document = replace(document, scope=dependency.scope or "any", errors=(*document.errors, *TOKEN_ERRORS))
        elif isinstance(dependency, JsonBody):
            examples = {name: {"value": example} for name, example in dependency.examples.items()}
            errors = (*document.errors, *BODY_ERRORS)
            body = {JSON: (dependency.model, examples)}
            document = replace(document, body=body, optional_body=dependency.optional, errors=errors)
        elif dependency is IdempotencyKey:
            document = replace(document, parameters=[*document.parameters, IDEMPOTENCY_KEY])
    if route.dependant.query_params:
        document = replace(document, errors=(*document.errors, *PARAMETER_ERRORS))
    if "{version}" in route.path:  # the same handler as without it
        model, *others = document.parameters
        document = replace(document, summary=f"{document.summary}, by version", parameters=[model, VERSION, *others])
    return document


def _dependencies(dependant: Dependant) -> Iterator[Any]:
    for child in dependant.dependencies:
        yield child.call
        yield from _dependencies(child)


def _attributes(route: APIRoute, document: Document) -> JsonObject:
    """FastAPI's attributes of a route that document it."""
    by_project = route.path.startswith("/projects/")
    scope = "Open." if document.scope is None else f"Scope: {document.scope}."
    extra: JsonObject = {"parameters": [*([SLUG] if by_project else []), *document.parameters]}
    if document.scope is not None:
        extra["security"] = [{"token": []}]
    if document.body:
        extra["requestBody"] = {
            "required": not document.optional_body,
            "content": {
                media: {"schema": _schema(schema)} | ({} if examples is None else {"examples": examples})
                for media, (schema, examples) in document.body.items()
            },
        }
    return {
        "summary": document.summary,
        "description": f"{document.text} {scope}",
        "tags": ["any project" if by_project else "root project"],
        "operation_id": f"{route.name}_of_project" if by_project else route.name,
        "responses": _error_responses(document, inference=is_inference(route.path)) | _responses(document),
        "openapi_extra": extra,
    }


def _error_responses(document: Document, *, inference: bool) -> dict[int | str, JsonObject]:
    form = {"application/problem+json": {"schema": reference(Problem)}}
    if inference:
        form = {JSON: {"schema": reference(InferenceError)}}
    errors = (*document.errors, *((429,) if document.scope else ()), *((408,) if document.body else ()))
    return {
        code: {"description": ERRORS[code], "content": form, "headers": HEADERS.get(code, {})}
        for code in sorted(set(errors))
    }


def _responses(document: Document) -> dict[int | str, JsonObject]:
    responses: dict[int | str, JsonObject] = {}
    for code, (schema, example) in document.answers.items():
        media = schema if isinstance(schema, str) else JSON
        description = {200: "Done", 202: "Accepted: still in progress"}.get(code, ERRORS.get(code, ""))
        responses[code] = {"description": description}
        if media:
            content = {media: {"schema": _schema(schema), "example": example}}
            responses[code]["content"] = content | {m: {"schema": BINARY} for m in document.also}
    return responses


def _schema(schema: Schema) -> JsonObject:
    """The schema of a body or an answer: one model, any of several, or text of a media type."""
    if isinstance(schema, tuple):
        return {"anyOf": [reference(one) for one in schema]}
    if isinstance(schema, str):
        return {"type": "string"}
    return schema if isinstance(schema, dict) else dict(reference(schema))


def without_repetition(document: JsonObject) -> JsonObject:
    """The document, without the titles and descriptions that FastAPI repeats in the schemas of parameters."""
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                for key in ("title", "description"):
                    parameter["schema"].pop(key, None)
    return document


def components(routes: Sequence[Any]) -> JsonObject:
    """Schemas and the bearer scheme."""
    models: list[Any] = [Problem, InferenceError]
    for route in routes:
        document = _document_of(route)
        if document is not None:
            models += _models(schema for schema, _ in [*document.answers.values(), *document.body.values()])
    adapters = [(model.__name__, VALIDATION, TypeAdapter(model)) for model in dict.fromkeys(models)]
    _, definitions = TypeAdapter.json_schemas(adapters, ref_template=REF)
    return {
        "schemas": definitions["$defs"],
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`cml_...` or the API_KEY."}},
    }


def _models(schemas: Iterable[Schema]) -> Iterator[Any]:
    for schema in schemas:
        if isinstance(schema, tuple):
            yield from schema
        elif not isinstance(schema, str | dict):
            yield schema
