"""Invalid query parameters as problem JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from core.http import problems
from core.records import JsonObject

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


async def reject(request: Request, error: Exception) -> Response:
    """Exception handler for query parameters, all that FastAPI itself validates; bodies are validated by `json_body`."""
    from core.data.cells import refusal
    from core.http.validation_errors import problems_of

    assert isinstance(error, RequestValidationError)
    schema = {"properties": {p.alias: _schema(p.field_info) for p in request.scope["route"].dependant.query_params}}
    errors = [cast("ErrorDetails", {**e, "loc": e["loc"][1:]}) for e in error.errors()]  # without the word "query"
    invalid = problems_of(errors, schema)
    return problems.answer(refusal("Invalid query parameters", invalid), request.scope["path"])


def _schema(declared: Any) -> JsonObject:
    return TypeAdapter(Annotated[declared.annotation, declared]).json_schema()
