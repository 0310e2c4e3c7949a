"""JSON answers: instants as ISO text, what is absent as null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from core.text.reasons import in_words


def answer_json(document: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of compact JSON."""
    return Response(orjson.dumps(in_words(document)), status, dict(headers or {}), "application/json")
