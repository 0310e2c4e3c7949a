"""JSON bodies as pydantic models, which define their fields and limits for validation and documentation alike.

FastAPI would read and decode a body before the caller is authenticated and before our limits apply; this dependency
reads it after both. Size, nesting and number of values are checked before anything is decoded (`core.http.json_decoding`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core.core_schema import ValidationInfo
from starlette.requests import Request

from core.errors import FieldProblem, TooLarge
from core.http import bodies
from core.http.json_decoding import decode_aside
from core.records import JsonObject

M = TypeVar("M", bound="Body")
FIELD_PROBLEM = "field_problem"  # type of pydantic errors with `seen` and `expected` in their context
MAX_PROBLEMS = 20  # invalid list entries after which the validation of a body stops


class Body(BaseModel):
    """Base of body models: no unknown fields, no type coercion."""

    # Built on first use, so that the API starts faster.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class JsonBody(Generic[M]):
    """Dependency that reads and validates a body as this model.

    Args:
        message: first words of the error message.
        hint: its last sentence.
        examples: name -> body, for the documentation.
        optional: whether an empty body stands for `{}`.
    """

    def __init__(
        self,
        model: type[M],
        *,
        message: str,
        hint: str = "",
        examples: Mapping[str, JsonObject],
        optional: bool = False,
    ) -> None:
        self.model, self.examples, self.optional = model, examples, optional
        self._message, self._hint = message, hint

    async def __call__(self, request: Request) -> M:
        """The body of a request.

        Raises:
            UnsupportedFormat, TooLarge, TooSlow, NotJson: it cannot be read or decoded.
            BadInput: it does not match the model.
        """
        bodies.require_kind(request.headers, "json")
        content = await bodies.read_bytes(request)
        request.state.body = content  # part of the fingerprint of an Idempotency-Key
        document = {} if self.optional and not content.strip() else await decode_aside(content)
        given = bodies.require_object(document, tuple(self.model.model_fields))
        return await asyncio.to_thread(self._checked, given)

    def _checked(self, document: Any) -> M:
        try:
            return self.model.model_validate(document, context={"problems": 0})
        except ValidationError as error:
            from core.data.cells import refusal
            from core.http.validation_errors import field_problems

            problems = field_problems(error, self._schema)
            if any(e["type"] == "too_long" for e in error.errors(include_url=False, include_input=False)):
                raise _too_many(problems[0]) from None
            raise refusal(self._message, problems, self._hint) from None

    @cached_property
    def _schema(self) -> JsonObject:
        return self.model.model_json_schema()


def _too_many(problem: FieldProblem) -> TooLarge:
    return TooLarge(
        f"{problem.field} is {problem.seen}, expected {problem.expected}. Split it into several requests.", (problem,)
    )


def _stop_at_max_problems(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Pydantic collects every error of a list; those of a hundred thousand invalid entries would exhaust the memory."""
    context: dict[str, int] = info.context or {}
    if context.get("problems", 0) >= MAX_PROBLEMS:
        return value  # the body is rejected already
    try:
        return handler(value)
    except ValidationError:
        context["problems"] = context.get("problems", 0) + 1
        raise


STOP_AT_MAX_PROBLEMS = WrapValidator(_stop_at_max_problems)  # annotation for entries of long lists
