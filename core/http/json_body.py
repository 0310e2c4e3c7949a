"""JSON bodies by their pydantic model: the one place of their fields and limits, for the check and for the documentation.

FastAPI would read and decode a body before anybody asked who sends it, and before any of our limits; a dependency of ours
does it in its turn. Size, nesting and number of values are checked before anything is decoded (`core.http.bodies`).
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
from core.records import JsonObject

M = TypeVar("M", bound="Body")
ENOUGH = 20  # problems of entries that are looked for in one body


class Body(BaseModel):
    """What a body is made of: no other fields, no value taken for one of another type."""

    # Built when the first body comes: an API that nobody sends labels starts without it.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class JsonBody(Generic[M]):
    """Dependency that reads a body as this model.

    Args:
        refused: how the text of a refusal begins.
        advice: how it ends.
        examples: name -> body, for the documentation.
        optional: whether no body at all is taken for `{}`.
    """

    def __init__(
        self,
        model: type[M],
        *,
        refused: str,
        advice: str = "",
        examples: Mapping[str, JsonObject],
        optional: bool = False,
    ) -> None:
        self.model, self.examples, self.optional = model, examples, optional
        self._refused, self._advice = refused, advice

    async def __call__(self, request: Request) -> M:
        """The body of a request.

        Raises:
            UnsupportedFormat, TooLarge, TooSlow, NotJson: before it is looked at as a document.
            BadInput: it is not as the model says.
        """
        bodies.require_kind(request.headers, "json")
        content = await bodies.read_bytes(request)
        request.state.body = content  # what an Idempotency-Key stands for
        document = {} if self.optional and not content.strip() else bodies.decode(content)
        given = bodies.an_object(document, tuple(self.model.model_fields))
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
            raise refusal(self._refused, problems, self._advice) from None

    @cached_property
    def _schema(self) -> JsonObject:
        return self.model.model_json_schema()


def _too_many(problem: FieldProblem) -> TooLarge:
    return TooLarge(f"{problem.field} is {problem.seen}, expected {problem.expected}. Send it in parts.", (problem,))


def _until_enough(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Pydantic notes every error of a list; a body of a hundred thousand wrong entries would fill the memory with them."""
    noted: dict[str, int] = info.context or {}
    if noted.get("problems", 0) >= ENOUGH:
        return value  # the body is refused already
    try:
        return handler(value)
    except ValidationError:
        noted["problems"] = noted.get("problems", 0) + 1
        raise


UNTIL_ENOUGH = WrapValidator(_until_enough)  # of the entries of a long list
